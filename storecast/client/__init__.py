"""A client of the service: forecasts and what-ifs, typed, with retries, blocking or async.

    with Client("http://localhost:3000", key) as client:
        answer = client.forecasts([{"store_nbr": "1", "family": "GROCERY I"}], quantiles=[0.1, 0.9])
        answer.series[0].columns["yhat"]

Requests that were turned away (429, 502, 503, 504) and those that found no connection or lost it are sent
again, after the time that the service asks for or one that doubles. One that asks for more than a minute has
refused, and a slow answer is not asked for twice. Errors are `ServiceError`, with what the service said.
"""

from storecast.client.answers import Changed, Forecasts, Key, Series, ServiceError, WhatIf
from storecast.client.calls import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Changed",
    "Client",
    "Forecasts",
    "Key",
    "Series",
    "ServiceError",
    "WhatIf",
]
