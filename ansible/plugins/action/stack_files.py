"""Ansible action: stack_files asks the host only when the survey has not shown that there is nothing to do.

The survey of the preflight, a moment ago in the same run, says of each path that provisioning writes what it is, and
stack_secrets of each secret. Where all paths of a task are among them and are as the task wants them, the module would
find nothing to do. With any doubt it runs: a path that was not looked at, another host, packages installed since.

A path that one run writes more than once must not be among them, or the survey tells of it what is no longer so:
rotate-secrets.yml keeps what it finds under another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase

ABSENT = {"kind": "absent"}


class ActionModule(ActionBase):
    """Compare with the survey, else run the module."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the module would say."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        installed = known.get("packages_result") or {}
        surveyed: dict[str, Any] = {}
        for found in ("preflight_survey", "secrets_found"):
            surveyed |= (known.get(found) or {}).get("files") or {}
        doubt = self._task.delegate_to is not None or installed.get("changed")
        if not doubt and as_wanted(self._task.args, surveyed):
            return {**answer, "changed": False, "changed_paths": [], "diff": []}
        return {**answer, **self._execute_module(task_vars=task_vars)}


def as_wanted(arguments: Mapping[str, Any], surveyed: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether each path that a task names was surveyed and is what the task wants."""
    return all(surveyed.get(path) == state for path, state in wanted(arguments))


def wanted(arguments: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each path of a task with its state, in the survey's words; defaults are those of the module."""
    for item in arguments.get("directories") or []:
        yield item["path"], {"kind": "folder", **owned(item, "0755")}
    for item in arguments.get("files") or []:
        digest = hashlib.sha256(item["content"].encode("utf-8")).hexdigest()
        yield item["path"], {"kind": "file", **owned(item, "0644"), "sha256": digest}
    for item in arguments.get("links") or []:
        yield item["path"], {"kind": "link", "target": item["target"]}
    for path in arguments.get("absent") or []:
        yield path, ABSENT


def owned(item: Mapping[str, Any], mode: str) -> dict[str, str]:
    """Owner, group and mode of a file or folder."""
    owner = item.get("owner", "root")
    given = item.get("mode", mode)
    number = int(given, 8) if isinstance(given, str) else given
    return {"owner": owner, "group": item.get("group", owner), "mode": f"{number:04o}"}
