"""The demo flow: synthetic sales into the workspace, then a training run on them."""

from __future__ import annotations

from prefect import flow

from pipelines.pods import PodOptions, executor_for
from pipelines.progress import shown_on_the_run
from pipelines.training import training_flow


@flow(name="demo", flow_run_name="demo with seed {seed}", persist_result=False)
def demo_flow(
    seed: int = 7, training: str = "demo", workspace: str = "", pods: PodOptions | None = None
) -> str:
    """Try the platform without data: the sales of a synthetic retailer, all models, a release.

    Args:
        seed: The same seed gives the same sales.
        training: Training config, by name or file.
        workspace: Where data sets and releases lie; empty: as the settings say.
        pods: How stages run as pods of the work pools; nothing: they run in the flow's own process.
    """
    with shown_on_the_run():
        raw = (
            executor_for(pods)
            .submit("synthetic", "synthetic", {"seed": str(seed), "workspace": workspace})
            .result()
        )
        outcome = training_flow("synthetic", raw, training, workspace, pods, actuals="")
    return outcome.current.uri if outcome.current else ""
