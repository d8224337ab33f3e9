"""What `helm uninstall` leaves: volumes, and nothing else."""

from __future__ import annotations

from cluster import RELEASE, Platform, until

WHAT = (
    "pods,jobs,cronjobs,deployments,statefulsets,services,secrets,configmaps,serviceaccounts,roles,rolebindings,"
    "networkpolicies,poddisruptionbudgets,persistentvolumeclaims,ingresses"
)


def test_uninstalling_leaves_nothing_but_volumes_and_stops_what_runs(platform: Platform) -> None:
    run = platform.start("demo", seed=107, training="smoke")
    platform.stage_begins(run, "ingest")
    with platform.timeline.step("helm uninstall during a run"):
        platform.helm("uninstall", RELEASE, "--wait")

        def left() -> list[str]:
            names = [f"{i['kind']}/{i['metadata']['name']}" for i in platform.get(WHAT)]
            kept = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
            return [n for n in names if not n.startswith("PersistentVolumeClaim/") and n not in kept]

        until("nothing but volumes left", lambda: not left(), 30, every=2)
    assert not [c for c in platform.get("priorityclasses") if RELEASE in c["metadata"]["name"]]
    assert platform.get("persistentvolumeclaims")
