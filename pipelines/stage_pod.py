"""What a stage's pod runs: Prefect's engine, in the pod's only process.

    PREFECT__FLOW_RUN_ID=... python -m pipelines.stage_pod

The worker's own command, `prefect flow-run execute`, puts two more processes around the engine, and each of
them imports Prefect anew: of the nine seconds of a processor that a pod took beside its stage, five went
there. What they do is little for a stage: they end a run that is cancelled, which is done here, and hand a
run whose pod is told to go to another pod, which its driver does (`pipelines.pods`) once the engine has
marked it as crashed. Drivers keep the worker's command.
"""

from __future__ import annotations

import os
import runpy
import threading
import time
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.states import Cancelled

WATCH_SECONDS = 10.0
"""How often a run asks whether it is cancelled."""


def main() -> None:
    """Run the flow run that PREFECT__FLOW_RUN_ID names, and end this process once it is cancelled."""
    run = UUID(os.environ["PREFECT__FLOW_RUN_ID"])
    if _cancelled(run):  # and all that the thread needs is imported, which two threads must not do at a time
        return
    threading.Thread(target=_watch, args=(run,), name="cancellation", daemon=True).start()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def _watch(run: UUID) -> None:
    """Wait until somebody cancels the run; then it is cancelled, and this process ends at once."""
    while True:
        time.sleep(WATCH_SECONDS)
        if _cancelled(run):
            os._exit(0)


def _cancelled(run: UUID) -> bool:
    """Whether the run was to be cancelled, which it is then; no while the API does not answer."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(run).state
            if state is None or not state.is_cancelling():
                return bool(state and state.is_cancelled())
            client.set_flow_run_state(run, Cancelled(message="cancelled, and its process ended"), force=True)
    except (httpx.HTTPError, PrefectException):
        return False
    return True


if __name__ == "__main__":
    main()
