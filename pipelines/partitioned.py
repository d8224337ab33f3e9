"""The partitioned flow: a panel too large for one machine, cut into data sets, a training run for each.

A partition's run is the training flow as it is. One that fails stops no other; the same call goes on with
those that are not done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from components.partition import data_of
from components.stage import open_store, progress
from pipelines.executor import Argument, Executor
from pipelines.pods import MOST_WAITING, PodOptions, executor_for
from pipelines.progress import shown_on_the_run
from pipelines.steps import Outcome
from pipelines.training import show_comparison, training_flow
from storecast.configs import config_file
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.errors import ReleaseError, RunError
from storecast.partition.arrivals import Partition, deal
from storecast.partition.places import MOST, kept
from storecast.store import uri as uris
from storecast.store.datasets import Dataset, DatasetStore
from storecast.store.releases import Release, ReleaseStore

T = TypeVar("T")


@dataclass(frozen=True)
class Partitioned:
    """What the partitions came to.

    Attributes:
        partition: the partitions.
        outcomes: what each run came to, by the partition's name.
        report: their scores as those of one panel.
        joined: their releases as one; None where some have none, or cannot be one.
        apart: why they are not one; "" where they are.
    """

    partition: Dataset
    outcomes: Mapping[str, Outcome]
    report: Dataset
    joined: Release | None
    apart: str


@flow(
    name="partitioned",
    flow_run_name="{dataset} in partitions with {training}",
    persist_result=False,
    task_runner=cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=MOST_WAITING)),
)
def partitioned_flow(
    dataset: str = "store_sales",
    data: str = "",
    training: str = "full",
    series: Annotated[int, Field(ge=1)] = MOST,
    by: str = "",
    workspace: str = "",
    pods: PodOptions | None = None,
    at_once: Annotated[int, Field(ge=1)] = 1,
) -> Partitioned:
    """Cut a panel into partitions, and train, evaluate and release each.

    Args:
        dataset: Data set config, by name or file.
        data: Folder or URI of the raw files.
        training: Training config, by name or file.
        series: Series that a partition may have.
        by: Column whose values stay together, a key or a static column; empty: the coarsest key.
        workspace: Where data sets and releases lie; empty: as the settings say.
        pods: How stages run as pods of the work pools; nothing: they run in the flow's own process.
        at_once: Partitions under way at a time, each with its pods; in the flow's own process it is one.
    """
    store, executor = open_store(workspace), executor_for(pods)
    with shown_on_the_run():
        given = {"dataset": dataset, "data": data, "series": str(series), "by": by, "workspace": workspace}
        cut = store.open(executor.submit("partition", "partition", given).result())
        name, told = str(cut.manifest["config"]["name"]), cut.counts["partitions"]
        if kept(store, name):  # before the first release it may be cut otherwise
            hand_out(store, load_dataset_config(config_file(dataset, "datasets")), data, cut)
        labels = {p["name"]: f"partition {n} of {len(told)}: {p['name']}" for n, p in enumerate(told, 1)}

        def train(partition: str) -> Outcome:
            config, raw = data_of(cut.uri, partition)
            own = training_flow.with_options(flow_run_name=f"{partition} with {training}")
            with progress.stage(labels[partition]):
                return own(config, raw, training, workspace, pods)

        done, failed = each_partition(train, list(labels), at_once if pods else 1)
        scores = [scored(store, done[partition]) if partition in done else "" for partition in labels]
        if not done:
            raise failure(name, failed)
        about = {"partition": cut.uri, "evaluation": scores, "workspace": workspace}
        report = store.open(executor.submit("partitions_report", "partitions report", about).result())
        joined, apart = None, "not every partition has a release"
        current = [done[one].current for one in labels if one in done]
        if len(current) == len(told) and all(current):
            parts: dict[str, Argument] = {"partition": cut.uri, "report": report.uri, "workspace": workspace}
            parts["release"] = [each.uri for each in current if each is not None]
            try:
                joined, apart = join(executor, ReleaseStore(store, name), parts), ""
            except ReleaseError as error:
                apart = str(error)
    show_comparison(store.path(report))
    create_markdown_artifact(key="partitions", markdown=_lines(done, failed, joined, apart))
    if failed:
        raise failure(name, failed)
    return Partitioned(cut, done, report, joined, apart)


def scored(store: DatasetStore, outcome: Outcome) -> str:
    """The evaluation of what a partition serves after its run; of the run, where it serves nothing."""
    return (evaluation_of(store, outcome.current) if outcome.current else "") or outcome.evaluation.uri


def evaluation_of(store: DatasetStore, release: Release) -> str:
    """The evaluation that a release's scores come from; "" where it is no more."""
    made = store.find("evaluate", str(release.lineage()["evaluation"]["key"]))
    return made.uri if made else ""


def each_partition(
    work: Callable[[str], T], names: Sequence[str], at_once: int
) -> tuple[dict[str, T], dict[str, Exception]]:
    """What comes of each partition, or why nothing did: one that fails stops no other."""
    done: dict[str, T] = {}
    failed: dict[str, Exception] = {}

    def attempt(name: str) -> None:
        try:
            done[name] = work(name)
        except Exception as error:  # one stops no other: all are told at the end  # noqa: BLE001
            get_run_logger().warning("partition %s failed: %s", name, error)
            failed[name] = error

    if at_once == 1:
        for name in names:
            attempt(name)
        return done, failed
    with ThreadPoolExecutor(at_once) as threads:  # each in this flow's context, as a run below it
        for under_way in [threads.submit(copy_context().run, attempt, name) for name in names]:
            under_way.result()
    return done, failed


def failure(dataset: str, failed: Mapping[str, Exception]) -> RunError:
    """The error that names the partitions that have failed."""
    lines = [f"{name}: {str(error).splitlines()[0]}" for name, error in sorted(failed.items())]
    return RunError(
        f"{len(failed)} partition{'s' if len(failed) > 1 else ''} of {dataset} failed; the others are done",
        found="; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else ""),
        cure="mend what is wrong and start the same run again: it goes on with those that are not done",
    )


def hand_out(store: DatasetStore, config: DatasetConfig, data: str, cut: Dataset) -> None:
    """Deal what has arrived for a data set to its partitions; what one does not take is logged."""
    told = cut.counts["partitions"]
    files = [config_file(data_of(cut.uri, str(about["name"]))[0], "datasets") for about in told]
    partitions = [
        Partition(int(about["number"]), int(about["series"]), load_dataset_config(file))
        for about, file in zip(told, files, strict=True)
    ]
    for note in deal(store, config, data, partitions):
        get_run_logger().warning(note)


def join(executor: Executor, releases: ReleaseStore, given: Mapping[str, Argument]) -> Release:
    """The releases of all partitions as one, made the current one of the data set that was cut.

    One that becomes current while they are made one stays.

    Raises:
        ReleaseError: they cannot be one.
    """
    before = releases.current()
    made = executor.submit("join", "join", given).result()
    joined = releases.get(uris.name_of(made))
    if not releases.was_current(joined.id):  # one that was rolled back stays so
        why = {"release": made, "why": "the partitions' current releases", "workspace": given["workspace"]}
        why["instead_of"] = before.id if before else ""
        executor.submit("activate", "activate", why).result()
    return joined


def _lines(
    done: Mapping[str, Outcome], failed: Mapping[str, Exception], joined: Release | None, apart: str
) -> str:
    lines = [
        f"- {name}: " + (f"`{outcome.current.id}`" if outcome.current else "nothing was released")
        for name, outcome in sorted(done.items())
    ]
    lines += [f"- {name}: {outcome.behind}" for name, outcome in sorted(done.items()) if outcome.behind]
    lines += [f"- {name}: failed: {str(error).splitlines()[0]}" for name, error in sorted(failed.items())]
    lines += ["", f"As one: `{joined.id}` at `{joined.uri}`" if joined else f"Not as one: {apart}"]
    return "\n".join(["## The partitions' releases", "", *lines])
