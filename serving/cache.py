"""Ready answers of GET /v1/forecasts, of one release."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving import routes
from serving.answers import Messages
from serving.table import ReleaseTable

CACHE_BYTES = 32 * 2**20


@dataclass
class Cache:
    """Ready messages of GET /v1/forecasts by query string, of one release."""

    table: ReleaseTable
    plain: dict[bytes, Messages] = field(default_factory=dict)
    packed: dict[bytes, Messages] = field(default_factory=dict)
    size: int = 0

    def messages(self, query: bytes, gzip: bool) -> Messages:
        """The answer to a query; made when first asked for.

        Raises:
            Problem: the query is wrong.
        """
        kept = self.packed if gzip else self.plain
        made = kept.get(query)
        if made is None:
            answer = routes.forecasts_of_query(self.table, query)
            made = (answer.compressed() if gzip else answer).messages()
            if self.size > CACHE_BYTES:
                self.plain.clear()
                self.packed.clear()
                self.size = 0
            kept[query] = made
            self.size += len(made[1]["body"]) + len(query) + 1_000
        return made
