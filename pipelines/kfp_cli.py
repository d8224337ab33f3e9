"""`storecast kfp compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from storecast import __version__

kfp = typer.Typer(no_args_is_help=True, help="The training run as a Kubeflow pipeline.")
console = Console()


@kfp.command("compile")
def compile_to(
    output: Annotated[Path, typer.Option("--output", "-o", help="YAML file to write.")],
    training: Annotated[str, typer.Option(help="Training config that the images hold.")] = "full",
    image: Annotated[str, typer.Option(help="Image of the stages.")] = f"storecast/component:{__version__}",
    train_image: Annotated[
        str, typer.Option(help="Image of the stages that train faster on a GPU.")
    ] = f"storecast/train-gpu:{__version__}",
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of such a stage; 0: it trains without.")] = 1,
    series: Annotated[
        int, typer.Option(min=0, help="About how many series there are: shards become steps. 0: they do not.")
    ] = 0,
    retries: Annotated[int, typer.Option(min=0, help="How often a step is tried again.")] = 2,
    environment: Annotated[
        str, typer.Option(help="ConfigMap and Secret of this name give the steps' environment.")
    ] = "",
    s3_secret: Annotated[str, typer.Option(help="Secret of the S3 keys, if not that one.")] = "",
    mlflow_secret: Annotated[
        str, typer.Option(help="Secret of MLflow's user and password, or token, if not that one.")
    ] = "",
    store_keys: Annotated[
        str, typer.Option(help="Secret whose store.keys encrypt Parquet files; default: they are plain.")
    ] = "",
) -> None:
    """Write the training run as a KFP v2 pipeline of the same stages, in containers."""
    from pipelines.kfp_pipeline import Containers, compile_pipeline
    from pipelines.plan import plan_training

    plan = plan_training(training, series)
    names = (environment, s3_secret, mlflow_secret, store_keys)
    compile_pipeline(plan, Containers(image, train_image, retries, gpus, *names), output)
    console.print(f"{output}: {len(plan.steps)} steps", highlight=False, soft_wrap=True)
