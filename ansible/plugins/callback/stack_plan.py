"""Ansible callback: makes plan.yml look instead of act, and ends it with one screen and an exit status for cron."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: stack_plan
type: aggregate
short_description: Makes plan.yml look instead of act, and ends it with one screen
description:
  - Does nothing for any other playbook.
  - Switches check mode and diffs on before the first play of plan.yml; its first task refuses to go on without them.
  - "Exit status: 0 nothing to do, 2 something to do, 1 it could not be found out, 4 a host does not answer."
requirements: [enabled in ansible.cfg]
author: the maintainers of this repository
"""

PLAYBOOK = "plan.yml"
LINES = 30  # shown for each task


class CallbackModule(CallbackBase):
    """Collects what would change, in the order in which it would."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stack_plan"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._active = False
        self._failed = False
        self._batches: list[str] = []
        self._changes: dict[str, list[str]] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Switch check mode on, before any task asks for it."""
        self._active = Path(playbook._file_name).name == PLAYBOOK
        if self._active:
            context.CLIARGS = context.CLIARGS.union({"check": True, "diff": True})
            # Ansible has no other door to these; were this one closed, the first task of plan.yml would refuse to act.
            variables = playbook.get_plays()[0].get_variable_manager()
            variables._options_vars.update(ansible_check_mode=True, ansible_diff_mode=True)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a task that would change something."""
        if not self._active:
            return
        answer = result.result
        if answer.get("changed"):
            if answer.get("would_release"):
                self._batches.append(result.host.get_name())
            lines = self._changes.setdefault(result.host.get_name(), [])
            shown = list(_words(answer))
            lines.append(result.task.get_name())
            lines += [f"  {line}" for line in shown[:LINES]]
            lines += [f"  and {len(shown) - LINES} more"] if len(shown) > LINES else []

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Note that the plan is not whole."""
        self._failed |= not ignore_errors

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the screen, and end with what it says."""
        if not self._active or stats.dark:
            return
        if self._failed:
            self._display.display("\nPLAN: it could not be found out; see the failed task above. Exit status 1.")
            raise SystemExit(1)
        if not self._changes:
            self._display.display("\nPLAN: nothing to do. Exit status 0.")
            return
        self._display.display("\nPLAN: a deploy would do this. Exit status 2.")
        for host, lines in self._changes.items():
            self._display.display("\n".join([f"  {host}", *(f"    {line}" for line in lines)]))
        if self._batches:
            self._display.display(f"  released in this order: {', '.join(self._batches)}")
        raise SystemExit(2)


def _words(answer: dict[str, Any]) -> list[str]:
    """What of a module's answer says what would change."""
    if answer.get("would_release"):
        lines = [f"{answer['current'] or 'no release'} -> {answer['would_release']}"]
        lines += [f"migration {name}" for name in answer["migrations"]]
        return [*lines, *answer["differs"]]
    if answer.get("changed_paths"):
        return list(answer["changed_paths"])
    diffs = answer.get("diff") or []
    headers = [part.get("after_header") for part in (diffs if isinstance(diffs, list) else [diffs]) if part]
    if any(headers):
        return [str(header) for header in headers if header]
    return [str(answer.get("msg", ""))] if answer.get("msg") else []
