#!/usr/bin/python
"""Ansible module: read the secrets that a host already has. Use it with no_log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_secrets
short_description: Read the secrets that a host already has
description:
  - Returns the text of those secret files that are there. Changes nothing.
  - The answer holds secrets, so the task must say C(no_log).
options:
  path:
    description: The folder of the secret files.
    type: path
    required: true
  names:
    description: The files' names.
    type: list
    elements: str
    required: true
author: the maintainers of this repository
"""

RETURN = r"""
found:
  description: The secrets by name.
  type: dict
  returned: always
files:
  description: What the folder and each of the files is, as stack_survey says it.
  type: dict
  returned: always
changed_at:
  description: When each file was last changed, in seconds since the epoch.
  type: dict
  returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_state import state_of


def read(path):
    """The text of a secret file; empty when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    # Judged by Ansible, not by us: when the task forgot it, nothing is handed out.
    if not module.no_log:
        module.fail_json(msg="the task that reads secrets must say no_log: true")
    paths = {name: os.path.join(module.params["path"], name) for name in module.params["names"]}
    values = {name: read(path) for name, path in paths.items()}
    found = {name: value for name, value in values.items() if value}
    module.exit_json(
        changed=False,
        found=found,
        files={path: state_of(path) for path in (module.params["path"], *paths.values())},
        changed_at={name: os.stat(paths[name]).st_mtime for name in found},
    )


if __name__ == "__main__":
    main()
