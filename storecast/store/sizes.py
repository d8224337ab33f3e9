"""How much lies in a workspace, by kind of data: its folders, and of data sets each stage's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from storecast.store import uri as uris

DATASETS = "datasets"


@dataclass(frozen=True)
class Size:
    """So many files of so many bytes together."""

    files: int = 0
    bytes: int = 0


def sizes(root: str) -> dict[str, Size]:
    """Files and bytes of each kind, the largest first.

    A kind is a folder of the workspace, such as "releases"; of the data sets, what one stage has made, such
    as "datasets/train"; and a file that lies beside the folders, such as "mlflow.db".

    Args:
        root: URI of the workspace; nothing is there yet: {}.

    Raises:
        StoreError: storage of this kind is not available.
        OSError: it cannot be reached.
    """
    fs, base = uris.filesystem(root)
    found = fs.find(base, detail=True) if fs.exists(base) else {}
    kinds: dict[str, Size] = defaultdict(Size)
    for path, info in found.items():
        first, *rest = path[len(base) :].lstrip("/").split("/")
        kind = f"{first}/{rest[0]}" if first == DATASETS and len(rest) > 1 else first
        kinds[kind] = Size(kinds[kind].files + 1, kinds[kind].bytes + int(info["size"] or 0))
    return dict(sorted(kinds.items(), key=lambda kind: (-kind[1].bytes, kind[0])))
