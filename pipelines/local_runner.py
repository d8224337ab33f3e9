"""Runs that people start on the local stack, as processes of this machine: python -m pipelines.local_runner

It makes the deployments `train/train`, `demo/demo`, `tune/tune` and `partitioned/partitioned` and starts what
is asked of them, one run at a time: a run uses all cores. Prefect's own runner, which the server at
PREFECT_API_URL tells what to do.
"""

from __future__ import annotations

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from orchestrator import api
from pipelines import lost_runs
from pipelines.demo import demo_flow
from pipelines.partitioned import partitioned_flow
from pipelines.training import training_flow
from pipelines.tuning import tuning_flow
from storecast.settings import load_settings

AT_ONCE = 1


def deployments() -> list[RunnerDeployment]:
    """What can be started."""
    as_module = EntrypointType.MODULE_PATH
    return [
        RunnerDeployment.from_flow(flow, name=flow.name, description=about, entrypoint_type=as_module)
        for flow, about in (
            (training_flow, "Train and release a forecast."),
            (demo_flow, "Try the platform on synthetic sales."),
            (tuning_flow, "Choose a model's parameters."),
            (partitioned_flow, "Train a panel in partitions."),
        )
    ]


def main() -> None:
    """Serve the deployments until this process is told to stop."""
    with api.connected() as client:
        api.wait_for_api(client)
    lost_runs.mark(load_settings())
    serve(*deployments(), pause_on_shutdown=False, print_starting_message=False, limit=AT_ONCE)


if __name__ == "__main__":
    main()
