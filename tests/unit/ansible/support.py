"""The folder ansible/, its plugins loaded from their files, its YAML."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import yaml

ANSIBLE = Path(__file__).resolve().parents[3] / "ansible"
# As `module_utils` in ansible.cfg: our modules find what they share there.
ansible.module_utils.__path__.append(str(ANSIBLE / "plugins" / "module_utils"))
ROLES = sorted(path for path in (ANSIBLE / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted(ANSIBLE.glob("*.yml"))


def plugin(path: str) -> ModuleType:
    """Load `filter/stack.py` or `modules/stack_files.py` from its file, as Ansible does."""
    file = ANSIBLE / "plugins" / path
    spec = importlib.util.spec_from_file_location(f"plugin_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))
