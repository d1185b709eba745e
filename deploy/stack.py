"""Load deploy/stack.yml, merge what overrides it, and refuse what does not fit.

The merged result is a nested dict. Templates, tests, the launcher's settings and Ansible all read this one
object; `derive` adds the names that follow from the values.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.derive import derive, settings
from deploy.rules import broken_rules

HERE = Path(__file__).resolve().parent
PROFILES = ("local", "test", "host")

# A key that moved: old dotted name -> new dotted name. Its use is refused by naming the new one.
RENAMED: dict[str, str] = {
    "api.access_log": "log.access",
    "log.rotate_days": "log.days",
    "log.rotate_size": "log.size",
}

# Mappings whose keys are the user's own.
FREE_FORM = ("app.settings",)

# What `stack scale` changes, in a file of its own beside the host's stack.yml.
SCALE_FILE = "scale.yml"
SCALED = ("ports", "instances")  # of section api

Stack = dict[str, Any]


class StackError(Exception):
    """The stack's values do not fit together. `problems` holds one sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass
class Layer:
    """One source of overrides: what it is called in messages, and its nested values."""

    source: str
    values: Mapping[str, Any] = field(default_factory=dict)


def load(
    profile: str = "host",
    *,
    layers: Sequence[Layer] = (),
    checkout: Path | None = None,
    release: Mapping[str, str] | None = None,
) -> Stack:
    """Return the merged, checked stack with its derived names.

    Args:
        profile: `local`, `test` or `host`.
        layers: further overrides, the later ones winning.
        checkout: the folder that `{checkout}` stands for; the one holding deploy/ when not given.
        release: `id` and `root` of the release that is rendered; the pseudo release of a checkout, or
            `current` of a host, when not given.

    Raises:
        StackError: naming every key that does not fit, with what to do.
    """
    merged, _ = load_with_origin(profile, layers=layers)
    root = checkout or HERE.parent
    expanded: Stack = _expand(merged, {"{name}": str(merged["stack"]["name"]), "{checkout}": str(root)})
    problems = broken_rules(expanded)
    if problems:
        raise StackError(problems)
    stack = derive(expanded, profile=profile, release=release)
    stack["nginx"]["error_codes"] = list(read_yaml(HERE.parent / "nginx" / "errors" / "texts.yml"))
    reserved = settings({**stack, "app": {**stack["app"], "settings": {}}})
    taken = [key for key in stack["app"]["settings"] if f"APP_{key.upper()}" in reserved]
    if taken:
        raise StackError([f"app.settings.{key}: APP_{key.upper()} is the bundle's own; take another" for key in taken])
    return stack


def load_with_origin(profile: str, *, layers: Sequence[Layer] = ()) -> tuple[Stack, dict[str, str]]:
    """Merge without deriving; also return, for each dotted key, the source its value came from."""
    schema = read_yaml(HERE / "stack.yml")
    merged: Stack = {}
    origin: dict[str, str] = {}
    problems: list[str] = []
    for layer in (Layer("deploy/stack.yml", schema), *profile_layers(profile), *layers):
        problems += _merge(merged, layer, schema, origin)
    if problems:
        raise StackError(problems)
    return merged, origin


def profile_layers(profile: str) -> list[Layer]:
    """The layers of a profile, the one it `extends` first."""
    if profile not in PROFILES:
        raise StackError([f"no profile {profile!r}: it is one of {', '.join(PROFILES)}"])
    values = dict(read_yaml(HERE / "profiles" / f"{profile}.yml"))
    base = values.pop("extends", None)
    return [*(profile_layers(base) if base else []), Layer(f"deploy/profiles/{profile}.yml", values)]


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a mapping from a YAML file; an empty file is an empty mapping."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise StackError([f"{path.name} is no YAML: {error}"]) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise StackError([f"{path.name} holds no mapping of keys"])
    return values


def scale_layer(config: Path) -> list[Layer]:
    """The layer of a host that was scaled, none of one that was not.

    Args:
        config: the host's stack.yml; `stack scale` writes beside it.

    Raises:
        StackError: the file holds anything else than what can be scaled.
    """
    path = config.with_name(SCALE_FILE)
    values = read_yaml(path) if path.is_file() else {}
    if not values:
        return []
    if set(values) != {"api"} or not isinstance(values["api"], dict) or set(values["api"]) - set(SCALED):
        raise StackError([f"{path} may hold api.{' and api.'.join(SCALED)} only; `stack scale --reset` takes it away"])
    return [Layer(str(path), values)]


def set_layer(assignments: Iterable[str], source: str = "--set") -> Layer:
    """Turn `nginx.http_port=9090` lines into a layer; the value is read as YAML.

    Raises:
        StackError: when a line has no `=` or no dotted key before it.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for line in assignments:
        key, equals, text = line.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+(\.[A-Za-z0-9_]+)+", key.strip()):
            problems.append(f"{source}: {line!r} is not of the form section.key=value")
            continue
        *path, last = key.strip().split(".")
        node = values
        for part in path:
            node = node.setdefault(part, {})
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        node[last] = "" if value is None else value
    if problems:
        raise StackError(problems)
    return Layer(source, values)


def env_file_layer(path: Path) -> Layer:
    """Read a `.env` file of `section.key=value` lines; blank lines and comments do not count."""
    if not path.is_file():
        return Layer(path.name)
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return set_layer([line for line in lines if line and not line.startswith("#")], source=path.name)


def _merge(
    into: dict[str, Any], layer: Layer, schema: Mapping[str, Any], origin: dict[str, str], prefix: str = ""
) -> list[str]:
    problems: list[str] = []
    for key, value in layer.values.items():
        dotted = f"{prefix}{key}"
        if dotted in RENAMED:
            problems.append(f"{dotted} ({layer.source}) is now called {RENAMED[dotted]}")
        elif key not in schema:
            near = difflib.get_close_matches(str(key), [str(k) for k in schema], n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else ""
            problems.append(f"{dotted} ({layer.source}) is no key of deploy/stack.yml{hint}")
        elif isinstance(schema[key], dict) and dotted not in FREE_FORM:
            if isinstance(value, Mapping):
                inner = Layer(layer.source, value)
                problems += _merge(into.setdefault(key, {}), inner, schema[key], origin, f"{dotted}.")
            else:
                problems.append(f"{dotted} ({layer.source}) is a section of keys, not {value!r}")
        else:
            wrong = _type_problem(value, schema[key])
            if wrong:
                problems.append(f"{dotted} ({layer.source}) is {value!r}: it must be {wrong}")
            into[key] = value
            origin[dotted] = layer.source
    return problems


def _type_problem(value: Any, example: Any) -> str:
    """What the value must be when it is not of the example's type; empty when it is."""
    if isinstance(example, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(example, int | float):
        return "" if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    if isinstance(example, list):
        kind: type = type(example[0]) if example else str
        good = isinstance(value, list) and all(type(item) is kind for item in value)
        return "" if good else f"a list of {'numbers' if kind is int else 'strings'}"
    if isinstance(example, dict):
        scalars = isinstance(value, dict) and not any(isinstance(v, dict | list) for v in value.values())
        return "" if scalars else "a mapping of plain values"
    return "" if isinstance(value, str) else "a string, in quotes where YAML reads it as something else"


def _expand(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, names) for inner in value]
    if isinstance(value, str):
        for name, meaning in names.items():
            value = value.replace(name, meaning)
    return value
