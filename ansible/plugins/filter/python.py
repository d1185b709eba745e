"""Filters about Python packages."""

from __future__ import annotations

import re
from collections.abc import Callable


def wheel_patterns(requirements: str, tag: str) -> list[str]:
    """The file names, as globs, of the wheels of a lock file's packages for a Python such as cp312 (empty: any)."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", requirements, flags=re.MULTILINE)
    return [f"{re.sub('[-_.]+', '_', name)}-{version}-{tag and tag + '-'}*.whl" for name, version in pins]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"wheel_patterns": wheel_patterns}
