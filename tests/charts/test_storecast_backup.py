"""The platform's chart: backups of Prefect's database, and how one is put back."""

from __future__ import annotations

import pytest

from tests.charts.helm import HelmError, pod_spec, render
from tests.charts.storecast_chart import GIVEN, environment, installed, migration_name, own

RESTORE = "postgresql.restore.from=2026-11-23T02-15-00Z"


def test_prefects_database_is_dumped_every_night_onto_a_volume_that_outlives_the_release() -> None:
    chart = render("storecast")
    job = chart.one("CronJob", "prefect-backup")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["suspend"] is False
    assert job["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] > 0
    pod = pod_spec(job)
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [chart.one("PersistentVolumeClaim", "prefect-backup")["metadata"]["name"]]
    [container] = pod["containers"]
    assert container["command"] == ["bash", "/etc/storecast/scripts/backup.sh"]
    assert environment(container)["PGPASSWORD"] == {
        "secretKeyRef": {"name": "storecast-postgresql", "key": "password"}
    }
    assert {"backup.sh", "restore.sh"} <= set(chart.one("ConfigMap", "storecast-scripts")["data"])


def test_the_volume_of_the_backups_is_made_at_once_so_that_helm_can_wait_for_it() -> None:
    names = [job["metadata"]["name"] for job in own(render("storecast")).of("Job")]
    assert [name for name in names if "-prefect-backup-volume-" in name]


def test_while_a_backup_is_restored_nothing_else_writes_to_the_database() -> None:
    chart = installed(own(render("storecast", *GIVEN, RESTORE)))
    assert chart.one("Deployment", "prefect-server")["spec"]["replicas"] == 0
    assert chart.one("CronJob", "prefect-backup")["spec"]["suspend"] is True
    [job] = chart.of("Job")
    assert job["metadata"]["name"].startswith("storecast-prefect-restore-")
    [container] = pod_spec(job)["containers"]
    assert container["command"] == ["bash", "/etc/storecast/scripts/restore.sh"]
    assert environment(container)["FROM"] == "2026-11-23T02-15-00Z"


def test_after_a_restore_tables_are_migrated_and_pools_registered_again() -> None:
    # Both Jobs are taken away while a backup is restored; made again, they run again.
    before, restoring = render("storecast", *GIVEN), render("storecast", *GIVEN, RESTORE)
    names = {job["metadata"]["name"] for job in restoring.of("Job")}
    assert migration_name(before) not in names
    assert not [name for name in names if "-register-" in name]


def test_a_restore_without_backups_is_refused() -> None:
    with pytest.raises(HelmError, match=r"set postgresql\.backup\.enabled=true"):
        render("storecast", RESTORE, "postgresql.backup.enabled=false")


def test_an_external_database_is_backed_up_by_those_who_run_it() -> None:
    settings = ("postgresql.enabled=false", "externalPostgresql.existingSecret=database")
    for chosen in (settings, (*settings, RESTORE), ("postgresql.backup.enabled=false",)):
        chart = own(render("storecast", *chosen))
        assert not chart.of("CronJob", "PersistentVolumeClaim")
        assert chart.one("Deployment", "prefect-server")["spec"]["replicas"] == 1


def test_a_password_that_changed_is_set_in_a_database_that_is_there() -> None:
    def database(password: str) -> dict[str, object]:
        chart = render("storecast", *GIVEN, f"postgresql.password={password}")
        spec: dict[str, object] = chart.one("StatefulSet", "storecast-postgresql")["spec"]["template"]
        return spec

    assert database("one-password") == database("one-password") != database("another-password")
