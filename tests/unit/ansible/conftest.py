"""What the tests of ansible/ share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from .support import plugin

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run one of our modules with arguments, as Ansible would, and return its answer."""

    def run(name: str, check: bool = False, no_log: bool = False, **arguments: Any) -> dict[str, Any]:
        module = plugin(f"modules/{name}.py")
        options = {"_ansible_check_mode": check, "_ansible_no_log": no_log}
        with patch_module_args({**arguments, **options}), pytest.raises(SystemExit):
            module.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return run
