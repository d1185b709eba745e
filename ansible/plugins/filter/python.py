"""Filters about Python packages."""

from __future__ import annotations

import re
from collections.abc import Callable


def wheel_patterns(requirements: str, interpreter: str) -> list[str]:
    """The file names, as globs, of the wheels that a lock file's packages get under an interpreter."""
    minor = re.search(r"python3\.(\d+)$", interpreter)
    tag = f"cp3{minor.group(1)}-" if minor else ""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", requirements, flags=re.MULTILINE)
    return [f"{re.sub('[-_.]+', '_', name)}-{version}-{tag}*.whl" for name, version in pins]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"wheel_patterns": wheel_patterns}
