"""The service by itself, as its image starts it: `python -m serving --host 0.0.0.0`. Settings: `STORECAST_*`.

Exit code 2 if the settings are wrong; they say how to mend them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from serving import start
from storecast.errors import StorecastError
from storecast.settings import load_settings


def main(arguments: Sequence[str]) -> int:
    """Become the service, or say why not."""
    parser = argparse.ArgumentParser("python -m serving", description="Forecasts of the current release.")
    parser.add_argument("--host", default=start.HOST, help="address to listen on; 0.0.0.0 for all")
    parser.add_argument("--port", type=int, default=start.PORT, help="port to listen on")
    chosen = parser.parse_args(arguments)
    try:
        start.run(load_settings(), chosen.host, chosen.port)
    except StorecastError as error:
        print(error, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
