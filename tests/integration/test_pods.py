"""Stages as pods, against a real Prefect API; a stand-in for the cluster does what the test says."""

from __future__ import annotations

import _thread
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running

from components.stage import open_store
from orchestrator import api, details, failures, pod_failures, runs
from orchestrator.pod_failures import GIVEN_UP, NotStartedError, OutOfMemoryError, StageFailedError
from pipelines import old_runs, partitioned, pods
from pipelines.executor import Argument, call_stage
from pipelines.loop import watch_flow
from pipelines.loop_records import Records
from pipelines.partitioned import partitioned_flow
from pipelines.pods import PodOptions, Pods
from pipelines.register import DEAD_RUNS, deployments, register
from pipelines.register_loop import ON_EVENT
from pipelines.stage_flow import stage_flow
from pipelines.steps import Outcome
from pipelines.training import training_flow
from pipelines.tuning import tuning_flow
from pipelines.work_pools import PlatformConfig
from storecast.errors import RunError, StoreError
from storecast.loop.decisions import Decision, DecisionLog
from storecast.metrics import METRICS
from storecast.monitor.health import Health
from storecast.settings import Settings
from storecast.store import uri as uris
from storecast.synthetic import write_raw

STARTED = ("train/train", "demo/demo", "tune/tune", "partitioned/partitioned", "stage/cpu", "stage/gpu")
STARTED += ("watch/watch", "retrain/retrain")
POLL_SECONDS = 0.2
"""Oftener, and the API has no time for anything else."""
OOM = "Container 'stage' was killed due to out-of-memory (OOMKilled): it exceeded its limit"


@pytest.fixture(scope="module")
def platform(prefect_api: None, tmp_path_factory: pytest.TempPathFactory) -> PlatformConfig:
    """An installation, registered with a Prefect API of its own."""
    config = PlatformConfig.model_validate(
        {
            "namespace": "shop",
            "workspace": str(tmp_path_factory.mktemp("store") / "bucket"),
            "pools": {
                "cpu": {"image": "storecast/component:1", "concurrency": 4},
                "gpu": {"image": "storecast/train-gpu:1", "gpu": {"count": 1}},
            },
        }
    )
    register(config)
    return config


def read(client: SyncPrefectClient) -> list[FlowRun]:
    """The scheduled runs of stages."""
    scheduled = FlowRunFilterStateType(any_=[StateType.SCHEDULED])
    wanted = FlowRunFilter(state=FlowRunFilterState(type=scheduled))
    return client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=100)


class Cluster:
    """What happens to the stages' runs: by label, one script per attempt; without one they do well."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Callable[[SyncPrefectClient, FlowRun], None]]] = {}
        self.otherwise = does_well
        self.seen: list[tuple[str, str]] = []
        self.stop = threading.Event()

    def work(self) -> None:
        """Take every scheduled run of a stage, until stopped; an error of the stand-in ends the test."""
        try:
            self._work()
        except BaseException:
            _thread.interrupt_main()
            raise

    def _work(self) -> None:
        known: set[object] = set()
        with get_client(sync_client=True) as client:
            while not self.stop.wait(POLL_SECONDS):
                new = [r for r in read(client) if r.id not in known]
                for run in new:
                    known.add(run.id)
                    self.seen.append((run.name, str(run.work_pool_name)))
                    scripts = self.scripts.get(run.name, [])
                    (scripts.pop(0) if scripts else self.otherwise)(client, run)


def does_well(client: SyncPrefectClient, run: FlowRun) -> None:
    """The pod starts, and the stage makes something."""
    client.set_flow_run_state(run.id, Running(), force=True)
    uris.write_text(run.parameters["result"], f"made/{run.name}")
    client.set_flow_run_state(run.id, Completed(), force=True)


def works_on_partitions(client: SyncPrefectClient, run: FlowRun) -> None:
    """The pod starts, and makes what its stage makes where partitions are concerned."""
    asked = run.parameters
    if not asked["stage"].startswith("partition"):
        does_well(client, run)
        return
    client.set_flow_run_state(run.id, Running(), force=True)
    uris.write_text(asked["result"], call_stage(asked["stage"], asked["label"], asked["arguments"]))
    client.set_flow_run_state(run.id, Completed(), force=True)


def is_killed(client: SyncPrefectClient, run: FlowRun) -> None:
    client.set_flow_run_state(run.id, Crashed(message="No active or succeeded pods found"), force=True)


def runs_out_of_memory(client: SyncPrefectClient, run: FlowRun) -> None:
    """The run's own process reports first, what Kubernetes says comes after it."""
    client.set_flow_run_state(run.id, Crashed(message="it exited with -9"), force=True)
    now = datetime.now(UTC)
    client.create_logs([LogCreate(name="observer", level=40, message=OOM, timestamp=now, flow_run_id=run.id)])


def finds_bad_data(client: SyncPrefectClient, run: FlowRun) -> None:
    text = "Flow run encountered an exception: DataError: train.csv: a column is missing"
    client.set_flow_run_state(run.id, Failed(message=text), force=True)


def cannot_start(client: SyncPrefectClient, run: FlowRun) -> None:
    client.set_flow_run_state(run.id, Pending(), force=True)


@pytest.fixture
def cluster(platform: PlatformConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(pods, "RETRY_DELAYS", [0.0, 0.0])
    monkeypatch.setattr(pods, "POLL_SECONDS", POLL_SECONDS)
    monkeypatch.setattr(pod_failures, "LATE_SECONDS", 5.0)
    made = Cluster()
    thread = threading.Thread(target=made.work)
    thread.start()
    yield made
    made.stop.set()
    thread.join()


def run_stages(platform: PlatformConfig, gpu: bool = False, **options: Any) -> list[str]:
    """A flow of three stages, the last of which needs the others; their URIs."""

    @flow(name="three", persist_result=False)
    def three() -> list[str]:
        executor = Pods(PodOptions(**options))
        here: dict[str, Argument] = {"workspace": platform.workspace}
        first = executor.submit("features", "first", here)
        second = executor.submit("features", "second", here)
        last = executor.submit("train", "last", {**here, "fit": [first, second]}, gpu=gpu)
        uris_backwards = [made.result() for made in (last, second, first)]
        return uris_backwards[::-1]

    return three()


def test_stages_run_side_by_side_and_those_that_need_others_after_them(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    assert run_stages(platform) == ["made/first", "made/second", "made/last"]
    labels = [label for label, _ in cluster.seen]
    assert (set(labels[:2]), labels[2]) == ({"first", "second"}, "last")


@flow(name="train", persist_result=False)
def short_training(dataset: str, data: str, training: str, workspace: str, pods: PodOptions) -> Outcome:
    """A training run of one stage; both partitions' begin before either ends."""
    del training
    name = uris.name_of(data)
    Pods(pods).submit("train", f"train {name}", {"panel": dataset, "workspace": workspace}).result()

    def build(folder: Path, work: Path) -> dict[str, Any]:
        del work
        scores = dict.fromkeys(METRICS, 0.5) | {"cutoff": "2023-07-15", "n": 32, "left_out": 0}
        (folder / "scores.json").write_text(json.dumps([{**scores, "model": m} for m in ("blend", "naive")]))
        return {}

    store = open_store(workspace)
    made = store.materialise("evaluate", inputs={}, config={"of": name}, code="", build=build)
    return Outcome(made, made, made, made, made, None, None)


def test_partitions_are_trained_side_by_side_as_runs_below_their_own(
    platform: PlatformConfig, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raw(tmp_path / "raw", n_stores=2, n_families=2, n_days=100)
    monkeypatch.setattr(partitioned, "training_flow", short_training)
    both = threading.Barrier(2, timeout=60)

    def once_both_are_there(client: SyncPrefectClient, run: FlowRun) -> None:
        threading.Thread(target=lambda: (both.wait(), works_on_partitions(client, run))).start()

    cluster.otherwise = works_on_partitions
    cluster.scripts |= {f"train synthetic-00{n}": [once_both_are_there] for n in (1, 2)}
    done = partitioned_flow(
        "synthetic", str(tmp_path / "raw"), "quick", 2, "", platform.workspace, PodOptions(), 2
    )
    assert sorted(done.outcomes) == ["synthetic-001", "synthetic-002"]
    assert done.report.counts["evaluated"] == 2
    assert (done.joined, done.apart) == (None, "not every partition has a release")
    mine = next(run for run in runs.latest() if run.name == "synthetic in partitions with quick")
    with get_client(sync_client=True) as client:
        below = {run.name for run in runs.below(client, UUID(mine.id))}
    assert {f"synthetic-00{n} with quick" for n in (1, 2)} <= below
    assert {f"train synthetic-00{n}" for n in (1, 2)} <= below


def test_a_partition_that_fails_stops_no_other_and_the_run_says_which(
    platform: PlatformConfig, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raw(tmp_path / "raw", n_stores=2, n_families=2, n_days=100, seed=8)
    monkeypatch.setattr(partitioned, "training_flow", short_training)
    cluster.otherwise = works_on_partitions
    cluster.scripts["train synthetic-001"] = [finds_bad_data]
    with pytest.raises(RunError, match=r"1 partition of synthetic failed(.|\n)*synthetic-001: .*train\.csv"):
        partitioned_flow("synthetic", str(tmp_path / "raw"), "quick", 2, "", platform.workspace, PodOptions())
    assert "train synthetic-002" in [label for label, _ in cluster.seen]


def test_all_runs_below_a_run_are_found_however_many(
    platform: PlatformConfig, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stages(platform)
    mine = next(run for run in recent("three"))
    with get_client(sync_client=True) as client:
        whole = [run.id for run in runs.below(client, mine)]
        monkeypatch.setattr(api, "PAGE", 1)
        assert [run.id for run in runs.below(client, mine)] == whole
    assert len(whole) == 3


def test_once_a_run_is_cancelled_no_stage_of_it_begins(platform: PlatformConfig, cluster: Cluster) -> None:
    def somebody_cancels(client: SyncPrefectClient, run: FlowRun) -> None:
        runs.cancel(str(recent("three")[0]))
        client.set_flow_run_state(run.id, Cancelled(), force=True)

    cluster.scripts = {"first": [somebody_cancels], "second": [somebody_cancels]}
    with pytest.raises(Exception, match=r"cancelled"):
        run_stages(platform, at_once=1)
    assert len(cluster.seen) == 1


def test_no_stage_of_a_partition_begins_once_the_run_above_it_is_to_be_cancelled(
    platform: PlatformConfig, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with get_client(sync_client=True) as client:
        above = str(client.create_flow_run(partitioned_flow, state=Running()).id)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", above)  # as in the pod that was started for it
    assert run_stages(platform)[0] == "made/first"
    runs.cancel(above)
    before = len(cluster.seen)
    with pytest.raises(StageFailedError, match="cancelled"):
        run_stages(platform)
    assert len(cluster.seen) == before


def test_the_progress_of_a_stage_is_its_own_where_two_partitions_have_stages_of_that_name(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    def has_done(percent: float) -> Callable[[SyncPrefectClient, FlowRun], None]:
        def work(client: SyncPrefectClient, run: FlowRun) -> None:
            made = {"type": "progress", "description": run.name, "data": percent, "flow_run_id": str(run.id)}
            client.request("POST", "/artifacts/", json=made).raise_for_status()
            does_well(client, run)

        return work

    cluster.scripts["first"] = [has_done(40.0), has_done(90.0)]

    @flow(name="two of three", persist_result=False)
    def both() -> None:
        run_stages(platform)
        run_stages(platform)

    both()
    found = details.details(str(recent("two of three")[0]))
    assert [stage.progress for stage in found.stages if stage.stage == "first"] == [40.0, 90.0]


def recent(name: str) -> list[UUID]:
    """The runs of a flow, the latest first."""
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[name])),
            sort=FlowRunSort.START_TIME_DESC,
            limit=5,
        )
    return [run.id for run in found]


def test_a_gpu_stage_runs_on_pool_gpu_and_others_on_pool_cpu(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    run_stages(platform, gpu=True)
    assert set(cluster.seen) == {("first", "cpu"), ("second", "cpu"), ("last", "gpu")}


def test_a_killed_pod_is_followed_by_another(platform: PlatformConfig, cluster: Cluster) -> None:
    cluster.scripts["first"] = [is_killed]
    assert run_stages(platform)[0] == "made/first"
    assert [label for label, _ in cluster.seen].count("first") == 2


def test_a_pod_that_runs_out_of_memory_is_not_tried_again_the_same_way(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    cluster.scripts["first"] = [runs_out_of_memory]
    with pytest.raises(OutOfMemoryError, match=r"ran out of memory(.|\n)*give it more"):
        run_stages(platform)
    assert [label for label, _ in cluster.seen].count("first") == 1


def test_wrong_data_fail_the_run_at_once_with_the_stages_own_words(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    cluster.scripts["first"] = [finds_bad_data]
    with pytest.raises(StageFailedError, match=r"train\.csv: a column is missing"):
        run_stages(platform)
    assert [label for label, _ in cluster.seen].count("first") == 1


def test_a_pod_that_cannot_start_fails_by_the_deadline(
    platform: PlatformConfig, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.scripts["last"] = [cannot_start]
    with pytest.raises(NotStartedError, match=r"did not start within 1 s(.|\n)*gpu_fallback"):
        run_stages(platform, gpu=True, pending_seconds=1)


def test_a_pod_that_waits_for_room_that_its_own_run_takes_is_not_given_up(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    first_works, waiting = threading.Event(), list[FlowRun]()

    def works(client: SyncPrefectClient, run: FlowRun) -> None:
        client.set_flow_run_state(run.id, Running(), force=True)
        waiting.append(run)
        first_works.set()

    def finds_no_room(client: SyncPrefectClient, run: FlowRun) -> None:
        cannot_start(client, run)
        waiting.append(run)
        threading.Timer(4.0, both_end).start()

    def both_end() -> None:
        with get_client(sync_client=True) as client:
            for run in waiting:
                does_well(client, run)

    cluster.scripts |= {"first": [works], "second": [finds_no_room]}

    @flow(name="two", persist_result=False)
    def two() -> list[str]:
        executor = Pods(PodOptions(pending_seconds=2))
        first = executor.submit("features", "first", {"workspace": platform.workspace})
        assert first_works.wait(30)
        second = executor.submit("features", "second", {"workspace": platform.workspace})
        return [first.result(), second.result()]

    assert two() == ["made/first", "made/second"]


def test_where_the_run_says_so_a_stage_without_a_gpu_runs_on_the_cpu(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    cluster.scripts["last"] = [cannot_start]
    assert run_stages(platform, gpu=True, pending_seconds=1, gpu_fallback=True)[2] == "made/last"
    assert [pool for label, pool in cluster.seen if label == "last"] == ["gpu", "cpu"]


def test_a_run_waits_for_a_gpu_in_vain_once_and_not_at_every_stage(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    cluster.scripts["one fold"] = [cannot_start]

    @flow(name="folds", persist_result=False)
    def folds() -> list[str]:
        executor = Pods(PodOptions(pending_seconds=1, gpu_fallback=True))
        here: dict[str, Argument] = {"workspace": platform.workspace}
        first = executor.submit("train", "one fold", here, gpu=True)
        second = executor.submit("train", "the next", {**here, "previous": first}, gpu=True)
        return [first.result(), second.result()]

    assert folds() == ["made/one fold", "made/the next"]
    assert cluster.seen == [("one fold", "gpu"), ("one fold", "cpu"), ("the next", "cpu")]


def test_pods_that_failed_are_listed_with_the_cause_and_what_to_do(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    cluster.scripts["first"] = [runs_out_of_memory]
    with pytest.raises(OutOfMemoryError):
        run_stages(platform)
    lost = Crashed(message="exit -9")
    runs_that_ended = [
        (stage_flow, "slow", Cancelled(message=GIVEN_UP)),
        (stage_flow, "by hand", Cancelled()),
        (stage_flow, "lost", lost),
        (watch_flow, "the watch", lost),
        (training_flow, "the run", Failed(message="a stage failed")),
    ]
    with get_client(sync_client=True) as client:
        for of, name, state in runs_that_ended:
            client.create_flow_run(of, name=name, state=state)
    found = {failure.label: failure for failure in reversed(failures.latest(100))}
    assert "by hand" not in found, "a person's cancelling is no failure"
    assert "the run" not in found, "a run that failed by a stage is told by the stage"
    memory = found["first"]
    assert (memory.what, memory.pool, memory.state) == (
        "the pod was killed because it ran out of memory", "cpu", "Crashed"
    )  # fmt: skip
    assert memory.found == OOM
    assert "give it more" in memory.cure
    assert memory.within
    assert "gpu_fallback" in found["slow"].cure
    assert "no word from Kubernetes" in found["slow"].found
    assert (found["the watch"].within, found["the watch"].found) == ("", "exit -9")
    assert "goes on where it stopped" in found["lost"].cure
    assert len(failures.latest(2)) == 2


def test_a_tuning_in_pods_works_side_by_side_on_the_pool_of_its_model(
    platform: PlatformConfig, cluster: Cluster
) -> None:
    with pytest.raises(StoreError, match="made/tune lstm"):  # the stand-in makes nothing
        tuning_flow(
            *("lstm", "synthetic", "s3://raw"),
            jobs=2,
            storage="sqlite:////tmp/shared.db",
            workspace=platform.workspace,
            pods=PodOptions(),
        )
    assert set(cluster.seen) == {("ingest", "cpu"), ("tune lstm", "gpu"), ("tune lstm, worker 2", "gpu")}


def test_registering_again_changes_nothing(platform: PlatformConfig) -> None:
    def state() -> dict[str, Any]:
        with get_client(sync_client=True) as client:
            pools = {name: client.read_work_pool(name).base_job_template for name in platform.pools}
            names = [client.read_deployment_by_name(name).name for name in STARTED]
            rules = client.request("POST", "/automations/filter", json={}).json()
            queue = client.read_work_queue_by_name("stages", work_pool_name="cpu")
        return {
            "pools": pools,
            "deployments": names,
            "rules": [rule["name"] for rule in rules],
            "limit": queue.concurrency_limit,
        }

    before = state()
    register(platform)
    assert state() == before
    assert before["deployments"] == ["train", "demo", "tune", "partitioned", "cpu", "gpu", "watch", "retrain"]
    assert sorted(before["rules"]) == [DEAD_RUNS, ON_EVENT]
    assert before["limit"] == 4


def test_shards_pods_memory_and_image_are_a_typed_form(platform: PlatformConfig) -> None:
    train = next(d for d in deployments(platform) if d.name == "train")
    schema = train._parameter_openapi_schema.model_dump()
    options = schema["definitions"]["PodOptions"]["properties"]
    assert {"shard_size", "at_once", "cpu", "gpu", "gpu_fallback", "pending_seconds"} == set(options)
    assert set(schema["definitions"]["PodResources"]["properties"]) == {"image", "cpu", "memory"}


def test_the_workspace_is_made_where_it_is_missing(platform: PlatformConfig) -> None:
    assert Path(platform.workspace).is_dir()


def test_what_a_run_says_of_its_pods_is_put_over_what_the_platform_says(platform: PlatformConfig) -> None:
    del platform
    run = runs.start("demo", {"training": "smoke"}, {"gpu_fallback": True})
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(run.id))
        client.delete_flow_run(found.id)
    assert found.parameters["training"] == "smoke"
    assert found.parameters["pods"]["gpu_fallback"] is True
    assert found.parameters["pods"]["pending_seconds"] == 300


def test_a_run_silent_for_three_heartbeats_is_marked_as_crashed(platform: PlatformConfig) -> None:
    register(platform.model_copy(update={"heartbeat_seconds": 60}))
    automation = Automation.read(name=DEAD_RUNS)
    assert automation.trigger.within == timedelta(seconds=180)
    assert automation.actions[0].message == "no heartbeat for 180 s: its pod is gone"


def test_the_loop_watches_on_the_schedule_that_the_installation_names(platform: PlatformConfig) -> None:
    loop = {
        "dataset": "store_sales",
        "data": "s3://raw",
        "cron": "0 6 * * *",
        "timezone": "America/Guayaquil",
    }
    register(PlatformConfig.model_validate({**platform.model_dump(), "loop": loop}))
    with get_client(sync_client=True) as client:
        watch = client.read_deployment_by_name("watch/watch")
        (schedule,) = watch.schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 6 * * *", "America/Guayaquil")
        assert watch.parameters["data"] == "s3://raw"
        assert watch.parameters["by_event"] is True
        register(platform)
        assert client.read_deployment_by_name("watch/watch").schedules == [], "no loop, no schedule"


def test_an_event_of_the_loop_starts_a_training_on_the_platform(platform: PlatformConfig) -> None:
    del platform
    health = Health("shop", "r1", "2024-01-01", ())
    decision = Decision.of(health, "train", "schedule", "It is time.", datetime.now(UTC))
    records = Records(DecisionLog("memory://loop-event", "shop"), Settings())
    asked = {"dataset": "synthetic", "data": "s3://raw", "policy": "default", "workspace": "s3://bucket"}
    records.retrain(decision, asked)
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        retrain = client.read_deployment_by_name("retrain/retrain")
        wanted = DeploymentFilter(id=DeploymentFilterId(any_=[retrain.id]))
        while not (
            found := client.read_flow_runs(deployment_filter=wanted, limit=5, sort=FlowRunSort.START_TIME_ASC)
        ):
            assert time.monotonic() < deadline, "the automation has started nothing"
            time.sleep(0.2)
    assert {name: found[0].parameters[name] for name in asked} == asked
    assert found[0].parameters["decision"] == decision.id


def test_flow_runs_that_ended_long_ago_are_deleted_and_those_under_way_are_not(
    platform: PlatformConfig,
) -> None:
    @flow(name="nothing")
    def nothing() -> None:
        """Make a flow run."""

    with get_client(sync_client=True) as client:
        ended = client.create_flow_run(nothing, state=Completed())
        under_way = client.create_flow_run(nothing, state=Running())
        assert old_runs.count_before(datetime.now(UTC) - timedelta(days=1)) == 0
        soon = datetime.now(UTC) + timedelta(days=1)
        count = old_runs.count_before(soon)
        assert old_runs.delete_before(soon) == count > 0
        left = {run.id for run in client.read_flow_runs(sort=FlowRunSort.END_TIME_DESC, limit=200)}
    assert ended.id not in left
    assert under_way.id in left
