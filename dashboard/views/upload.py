"""New raw files into the workspace, where a run finds them. The ingest stage says what is right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dashboard import audit, backends
from dashboard.views import common
from storecast.configs import config_file, config_folder
from storecast.dataset_config import DatasetConfig, fits, load_dataset_config
from storecast.errors import DataError
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.datasets import content_hash, describe_files


def draw() -> None:
    """The form; what was uploaded is offered to a run."""
    who = common.here()
    if not who.acts:
        st.info("You may look. Files are uploaded by people with the role operator.")
        return
    names = sorted(path.stem for path in config_folder("datasets").glob("*.yaml"))
    left, right = st.columns([1, 2], gap="large")
    with left:
        name = st.selectbox("Data set config", names, index=0)
        config = load_dataset_config(config_file(name, "datasets"))
        wanted = _wanted(config)
        st.caption("Its files: " + ", ".join(wanted))
    with right:
        files = st.file_uploader("Raw files", accept_multiple_files=True, key="upload files")
        kept = st.button("Keep them", type="primary", disabled=not files)
    if kept and files:
        with st.spinner("Writing to the workspace"):
            about = {"dataset": name, "files": ", ".join(file.name for file in files)}
            uri = audit.perform(who, "upload", about, lambda: _keep(name, files, wanted))
        st.session_state["data uri"], st.session_state["data config"] = uri, name
    if kept_at := st.session_state.get("data uri"):
        st.success(f"The files are at `{kept_at}`", icon=":material/check_circle:")
        common.link("Training", "Start a run on them", ":material/model_training:")


def _wanted(config: DatasetConfig) -> list[str]:
    """Names of the files that a config reads."""
    names = [*config.train, *config.future]
    names += [file for table in config.tables for file in table.files]
    names += config.holidays.files if config.holidays else []
    return list(dict.fromkeys(names))


def _keep(name: str, files: Sequence[UploadedFile], wanted: Sequence[str]) -> str:
    """Write the files whole into a folder that their content names; its URI.

    Raises:
        DataError: a file has a name that the config does not read.
    """
    strange = [file.name for file in files if not any(fits(file.name, w) for w in wanted)]
    if strange:
        raise DataError(
            "the data set's config reads no such file",
            found=", ".join(strange),
            expected=", ".join(wanted),
            cure="rename it, or choose another config",
        )
    store = backends.store()
    with store.building(f"upload-{name}") as folder:
        for file in files:
            (folder / Path(file.name).name).write_bytes(file.getbuffer())
        key = content_hash(describe_files(folder))[:12]
        for path in folder.iterdir():
            parquet.encrypt_file(path)
        uri = uris.join(store.root, "uploads", name, key)
        last = sorted(path.name for path in folder.iterdir())[-1]
        if not uris.exists(uris.join(uri, last)):
            uris.publish(folder, uri, last=last)
    return uri
