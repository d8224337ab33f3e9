"""YAML into pydantic models, with errors that name the file, the key, the line and the nearest valid key."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from storecast.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


def load_yaml_model(path: str | Path, model: type[Model]) -> Model:
    """Read one YAML file into `model`.

    Raises:
        ConfigError: the file is missing, is not YAML, is not a mapping, names a key twice, or does not fit
            the model. The message has one line per fault: key, line, what was expected, what was found.
    """
    file = Path(path)
    text = _read(file)
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            "is not valid YAML", where=str(file), found=str(error), cure="correct the line named above"
        ) from error
    if not isinstance(content, dict) or tree is None:
        raise ConfigError(
            "is not a mapping of keys to values",
            where=str(file),
            expected="lines of the form `key: value`",
            found=f"a {type(content).__name__}" if content is not None else "an empty file",
            cure=f"start with the required keys: {', '.join(_required(model))}",
        )
    _refuse_repeated_keys(tree, file)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _config_error(file, model, error, _lines(tree)) from error


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = sorted(p.name for p in file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
        raise ConfigError(
            "there is no such file",
            where=str(file),
            found=f"in that folder: {', '.join(near)}" if near else "",
            cure="give the path of a YAML file",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "cannot be read as UTF-8 text",
            where=str(file),
            found=str(error),
            cure="give the path of a YAML file saved as UTF-8",
        ) from error


def _config_error(
    file: Path, model: type[BaseModel], error: ValidationError, lines: dict[Location, int]
) -> ConfigError:
    faults = [_fault(model, details, lines) for details in error.errors()]
    return ConfigError(
        "\n  ".join(["does not fit what a " + model.__name__ + " needs:", *faults]),
        where=str(file),
        cure="correct the keys named above",
    )


def _fault(model: type[BaseModel], details: ErrorDetails, lines: dict[Location, int]) -> str:
    location = tuple(part for part in details["loc"])
    line = next((lines[location[:n]] for n in range(len(location), 0, -1) if location[:n] in lines), 1)
    key = ".".join(str(part) for part in location) or "(the whole file)"
    if details["type"] == "extra_forbidden":
        valid = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"line {line}: {key}: unknown key{hint} (valid: {', '.join(valid)})"
    if details["type"] == "missing":
        return f"line {line}: {key}: required key is missing"
    expected = details["msg"].removeprefix("Value error, ")
    return f"line {line}: {key}: {expected} (found {_short(details['input'])})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _required(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.is_required()]


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    """Valid keys of the (nested) model that the location leads to."""
    current: type[BaseModel] = model
    for part in location:
        if isinstance(part, str) and part in current.model_fields:
            inner = next(_models_in(current.model_fields[part].annotation), None)
            current = inner or current
    return list(current.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _lines(node: yaml.Node, location: Location = ()) -> dict[Location, int]:
    """Line of each key and list item, 1-based."""
    found: dict[Location, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*location, str(key.value))
            found[here] = key.start_mark.line + 1
            found.update(_lines(value, here))
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            here = (*location, position)
            found[here] = value.start_mark.line + 1
            found.update(_lines(value, here))
    return found


def _refuse_repeated_keys(node: yaml.Node, file: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigError(
                    f"key {key.value!r} occurs twice",
                    where=f"{file}, line {line}",
                    expected="each key once",
                    found=f"it stands on line {seen[key.value]} already",
                    cure="remove one of the two",
                )
            seen[key.value] = line
            _refuse_repeated_keys(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(value, file)
