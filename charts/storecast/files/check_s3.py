"""The object store takes, gives back and deletes an object, with the credentials that run pods have."""

from __future__ import annotations

import os
import sys
import uuid

import fsspec

if __name__ == "__main__":
    workspace = os.environ["STORECAST_WORKSPACE"]
    store, root = fsspec.core.url_to_fs(workspace)
    path = f"{root}/work/helm-test/{uuid.uuid4().hex}"
    store.pipe_file(path, b"storecast")
    text = store.cat_file(path)
    store.rm_file(path)
    if text != b"storecast":
        sys.exit(f"{workspace} gave back {len(text)} other bytes than were written")
    print(f"{workspace} takes, gives back and deletes an object")
