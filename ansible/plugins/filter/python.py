"""Filters about Python packages."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible.errors import AnsibleFilterError


def wheel_pattern(requirements: str, interpreter: str) -> str:
    """The file name, as a glob, of the wheel that a lock file's one package gets under an interpreter."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", requirements, flags=re.MULTILINE)
    if len(pins) != 1:
        raise AnsibleFilterError(f"a lock file of exactly one package is compiled, this one has {len(pins)}")
    name, version = pins[0]
    minor = re.search(r"python3\.(\d+)$", interpreter)
    return f"{re.sub('[-_.]+', '_', name)}-{version}-{f'cp3{minor.group(1)}-' if minor else ''}*.whl"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"wheel_pattern": wheel_pattern}
