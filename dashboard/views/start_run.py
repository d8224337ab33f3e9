"""The form that starts a run: what it works on, the fields of a training config, and how pods are used."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

import streamlit as st
import yaml
from pydantic import ValidationError

from dashboard import audit, backends, forms
from dashboard.boundary import text_of
from dashboard.views import common, partitions, tuning
from orchestrator import details, runs
from storecast.configs import config_folder, explain
from storecast.errors import ConfigError, StorecastError
from storecast.store import uri as uris
from storecast.training_config import TrainingConfig, load_training_config

DEMO, TRAIN, TUNE = "Demo on synthetic sales", "Training on your data", "Tuning of a model"
FLOWS = {DEMO: "demo", TRAIN: "train", TUNE: "tune"}
FIRST_CONFIG = {"demo": "demo", "train": "full", "tune": "full"}


def draw() -> None:
    """The form; a run that was started is the one that is shown below it."""
    who = common.here()
    with st.container(border=True):
        kind = st.segmented_control("Start", list(FLOWS), default=_first(), required=True)
        flow = FLOWS[str(kind)]
        schema, defaults = details.form_of(flow)
        given = _seed() if kind == DEMO else _data()
        if kind == TUNE:
            given |= tuning.fields(schema)
        training, changed = _training(flow)
        cut = partitions.fields(at_once="pods" in defaults) if kind == TRAIN else {}
        pods = _pods(schema, defaults)
        pressed = st.button(
            "Start the tuning" if kind == TUNE else "Start the run",
            type="primary",
            icon=":material/play_arrow:",
            disabled=not who.acts,
            help=None if who.acts else "You may look. Ask an operator, or for the role operator.",
        )
        if pressed:
            _start(partitions.FLOW if cut else flow, given | cut, training, changed, pods)


def _first() -> str:
    return TRAIN if st.session_state.get("data uri") else DEMO


def _seed() -> dict[str, Any]:
    seed = st.number_input(
        "Seed", min_value=0, value=7, help="The same seed gives the same sales.", width=200
    )
    return {"seed": int(seed)}


def _data() -> dict[str, Any]:
    left, right = st.columns(2)
    names = _shipped("datasets")
    known = st.session_state.get("data config", names[0])
    dataset = left.selectbox(
        "Data set config",
        dict.fromkeys([known, *names]),
        accept_new_options=True,
        help="A name that ships, or a file or URI of your own (docs/adding-a-dataset.md).",
    )
    data = right.text_input(
        "Raw files",
        st.session_state.get("data uri", ""),
        placeholder="folder or URI, such as s3://bucket/raw",
        help="As the runner or the pods see it. Files can be uploaded on the page Data.",
    )
    return {"dataset": dataset, "data": data}


def _training(flow: str) -> tuple[str, dict[str, Any] | None]:
    """The config's name, and what was entered where it is to differ."""
    names = [*_shipped("training_configs"), *backends.tuned_configs()]
    name = st.selectbox(
        "Training config",
        names,
        index=names.index(FIRST_CONFIG[flow]),
        format_func=_config_name,
        key=f"training {flow}",
        width=400,
        help="Its profile of the model is tuned, on folds before those that it scores."
        if flow == "tune"
        else None,
    )
    with st.expander("Change the config for this run", icon=":material/tune:"):
        base = load_training_config(name).model_dump(mode="json")
        models = _shipped("model_configs")
        entered = forms.draw(
            TrainingConfig.model_json_schema(), base, f"config {flow} {name}", {"models": models}
        )
    return name, entered if entered != base else None


def _config_name(name: str) -> str:
    """A training config's name; of one that a tuning has left, what it was tuned for."""
    if not name.endswith(".yaml"):
        return name
    dataset, training = name.split("/")[-3:-1]  # tuned/DATASET/TRAINING/training.yaml
    return f"{training}, tuned on {dataset}"


def _pods(schema: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What is to differ from how the platform uses its pools; {} where runs have no pods."""
    if "pods" not in defaults:
        return {}
    found = (schema.get("definitions") or schema.get("$defs") or {}).get("PodOptions", {})
    with st.expander("Change how pods are used", icon=":material/dns:"):
        entered = forms.draw(
            {**found, "definitions": schema.get("definitions", {})}, defaults["pods"], "pods"
        )
    return {name: value for name, value in entered.items() if value != defaults["pods"].get(name)}


def _start(
    flow: str, given: dict[str, Any], training: str, changed: dict[str, Any] | None, pods: dict[str, Any]
) -> None:
    if flow != "demo" and not str(given["data"]).strip():
        st.error("Name the raw files: a folder or URI. The page Data takes uploads.")
        return
    who = common.here()
    try:
        wanted = {**given, "training": _kept(changed) if changed else training}
        about = {name: str(value) for name, value in {"flow": flow, **wanted}.items()}
        with st.spinner("Starting"):
            run = audit.perform(
                who, "start run", about, lambda: runs.start(flow, wanted, pods, _key(wanted, pods))
            )
    except StorecastError as error:
        st.error(text_of(error))
        return
    st.session_state["begun"] = run.id
    st.session_state.pop("start", None)
    st.toast(f"Started {run.name}", icon=":material/play_arrow:")


def _key(*given: Mapping[str, Any]) -> str:
    """The same until it is known that the run was started: a second click starts no second run."""
    asked = json.dumps(given, sort_keys=True, default=str)
    if st.session_state.get("start", ("", ""))[0] != asked:
        st.session_state["start"] = (asked, secrets.token_hex(8))
    return str(st.session_state["start"][1])


def _kept(entered: dict[str, Any]) -> str:
    """URI of a changed config in the workspace, named by its content.

    Raises:
        ConfigError: it is not valid, and what is wrong.
    """
    try:
        config = TrainingConfig.model_validate(entered)
    except ValidationError as error:
        raise explain(error, where="the changed config", model=TrainingConfig) from error
    if not config.models:
        raise ConfigError("a run needs models", where="models")
    content = config.model_dump(mode="json")
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    uri = uris.join(backends.store().root, "uploads", "training_configs", f"{config.name}-{key}.yaml")
    uris.write_text(uri, yaml.safe_dump(content, sort_keys=False))
    return uri


def _shipped(kind: str) -> list[str]:
    return sorted(path.stem for path in config_folder(kind).glob("*.yaml"))
