"""Finding configuration files, and saying what is wrong with one."""

from __future__ import annotations

import atexit
import difflib
import shutil
import tempfile
from pathlib import Path

from pydantic import BaseModel, ValidationError

from storecast.errors import ConfigError
from storecast.store import uri as uris

_CHECKOUT = Path(__file__).parent.parent / "configs"
_INSTALLED = Path(__file__).parent / "_configs"


def config_folder(kind: str) -> Path:
    """The folder of a kind of configs: "datasets", "model_configs", "training_configs" or "monitoring"."""
    return (_INSTALLED if _INSTALLED.exists() else _CHECKOUT) / kind


def config_file(name: str, kind: str) -> Path:
    """A YAML file by path or URI, or by the name of one that ships with the package.

    Raises:
        ConfigError: there is none.
        StoreError: the URI's storage cannot be reached.
    """
    if not uris.is_local(name):
        return _fetched(name)
    if Path(name).is_file():
        return Path(name)
    folder = config_folder(kind)
    shipped = folder / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    names = sorted(p.stem for p in folder.glob("*.yaml"))
    near = difflib.get_close_matches(Path(name).stem, names, n=1)
    raise ConfigError(
        "there is no such file",
        where=name,
        expected=f"a YAML file, or one of the names {', '.join(names)}",
        cure=f"did you mean {near[0]!r}?" if near else "check the path",
    )


def _fetched(uri: str) -> Path:
    """A copy, on this machine, of a file in an object store; taken anew each time: it may change."""
    if not uris.exists(uri):
        raise ConfigError("there is no such file", where=uri, expected="a YAML file", cure="check the URI")
    folder = Path(tempfile.mkdtemp(prefix="storecast-config-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / uris.name_of(uri)
    copy.write_text(uris.read_text(uri))
    return copy


def explain(error: ValidationError, *, where: str, model: type[BaseModel]) -> ConfigError:
    """Pydantic's findings as one ConfigError; an unknown key comes with the nearest valid one."""
    lines, cures = [], []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "the file"
        if item["type"] == "extra_forbidden":
            valid = sorted(f.alias or n for n, f in _owner(model, item["loc"]).model_fields.items())
            near = difflib.get_close_matches(str(item["loc"][-1]), valid, n=1)
            lines.append(f"unknown key {key!r}")
            cures.append(f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}")
        else:
            lines.append(f"{key}: {item['msg']}, found {item['input']!r}"[:300])
    return ConfigError("; ".join(lines), where=where, cure=" ".join(cures))


def _owner(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that holds the last key of `loc`, as far as plain nesting leads."""
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return model
        model = inner
    return model
