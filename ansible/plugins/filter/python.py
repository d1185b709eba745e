"""Filters about Python packages."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import Any


def wheel_patterns(requirements: str, tag: str) -> list[str]:
    """The file names, as globs, of the wheels of a lock file's packages for a Python such as cp312 (empty: any)."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", requirements, flags=re.MULTILINE)
    return [f"{re.sub('[-_.]+', '_', name)}-{version}-{tag and tag + '-'}*.whl" for name, version in pins]


def wheels_missing(patterns: list[str], names: list[str]) -> list[str]:
    """Those of the patterns of `wheel_patterns` that none of a folder's names matches."""
    return [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]


def wheels_needed(hosts: list[str], hostvars: Mapping[str, Any], requirements: str) -> bool:
    """Whether any of the hosts lacks a wheel, as the survey found it and for the Python that it has by now."""
    for host in hosts:
        survey = hostvars[host]["preflight_survey"]
        tag = hostvars[host].get("supervisor_venv", {}).get("tag") or survey["interpreter_tag"]
        if wheels_missing(wheel_patterns(requirements, tag), survey["held"]["wheels"]):
            return True
    return False


def venv_holds(requirements: str, survey: Mapping[str, Any]) -> bool:
    """Whether the survey has found a virtual environment of the host's Python with each version of a lock file.

    With conditions in the lock file nobody can tell here; `stack_venv` refuses them by name.
    """
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)\s*(;?)", requirements, flags=re.MULTILINE)
    venv = survey.get("venv") or {}
    if not pins or not venv or venv["version"] != survey["interpreter_version"]:
        return False
    held = venv["held"]
    return all(not more and held.get(re.sub("[-_.]+", "-", name).lower()) == pin for name, pin, more in pins)


FILTERS = (wheel_patterns, wheels_missing, wheels_needed, venv_holds)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {function.__name__: function for function in FILTERS}
