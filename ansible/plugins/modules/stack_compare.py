#!/usr/bin/python
"""Ansible module: what releasing another commit would change on a host; changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_compare
short_description: What releasing another commit would change on a host
description:
  - Holds the files of the current release against those of another one. Changes nothing.
options:
  current:
    description: The pointer to the current release.
    type: path
    required: true
  release:
    description: The id of the other one.
    type: str
    required: true
  files:
    description: The sha256 of each of its files.
    type: dict
    required: true
  migrations:
    description: Its migrations in their order, each with C(revision), C(kind) (expand or contract) and C(file).
    type: list
    elements: dict
    default: []
  migrates:
    description: This host would migrate the database; one of a fleet does.
    type: bool
    default: true
  contract:
    description: Contract migrations would run as well, where the current release holds them too.
    type: bool
    default: false
author: the maintainers of this repository
"""

RETURN = r"""
current:
  description: What is current; empty when nothing is.
  type: str
  returned: always
would_release:
  description: The id that would be current.
  type: str
  returned: always
differs:
  description: Files that are new, other ones or gone, each with how.
  type: list
  elements: str
  returned: always
migrations:
  description:
    - What would be done about migrations, each with its kind and what becomes of it. The database is not asked, so what
      the current release does not hold counts as not run.
  type: list
  elements: str
  returned: always
"""

import hashlib
import json
import os

from ansible.module_utils.basic import AnsibleModule


def manifest(folder):
    """The files that the current release was made of; none when there is no release."""
    try:
        with open(os.path.join(folder, "RELEASE"), encoding="utf-8") as file:
            return json.load(file)["files"]
    except (OSError, ValueError, KeyError):
        return {}


def changed_by_hand(folder, files):
    """Files that are not what the release was made of any more: a release mends them."""
    found = []
    for name, expected in sorted(files.items()):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                same = hashlib.sha256(file.read()).hexdigest() == expected
        except OSError:
            same = False
        if not same:
            found.append(name)
    return found


def migrations(wanted, had, first, contract):
    """What becomes of each migration that the current release does not hold, and of contract ones that it does.

    The rules are those of deploy/migrating.py: a contract migration runs one release later, when it is asked for.
    """
    found, waits = [], False
    for one in wanted:
        name = f"{os.path.basename(one['file'])[:-3]} ({one['kind']})"
        new = one["file"] not in had
        if one["kind"] != "contract" or first:
            found += [f"{name} is refused: it comes after one that waits" if waits else name] if new else []
        elif new:
            waits = True
            found.append(f"{name} waits for a later release, with release_contract=true")
        elif contract:
            found.append(f"{name} unless it has run")
    return found


def main():
    module = AnsibleModule(
        argument_spec={
            "current": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "files": {"type": "dict", "required": True},
            "migrations": {"type": "list", "elements": "dict", "default": []},
            "migrates": {"type": "bool", "default": True},
            "contract": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    folder, wanted = given["current"], given["files"]
    current = os.path.basename(os.readlink(folder)) if os.path.islink(folder) and os.path.isdir(folder) else ""
    had = manifest(folder) if current else {}
    differs = [f"mended {name}" for name in changed_by_hand(folder, had)] if current else []
    if current != given["release"]:
        differs += [f"new {name}" for name in sorted(set(wanted) - set(had))] if had else []
        differs += [f"gone {name}" for name in sorted(set(had) - set(wanted))]
        differs += [f"changed {name}" for name in sorted(set(had) & set(wanted)) if had[name] != wanted[name]]
    moves = given["migrates"] and (current != given["release"] or given["contract"])
    lines = migrations(given["migrations"], had, not current, given["contract"]) if moves else []
    module.exit_json(
        changed=current != given["release"] or bool(differs),
        current=current,
        would_release=given["release"],
        differs=differs,
        migrations=lines,
        diff={
            "before": f"release {current or 'none'}\n",
            "after": "\n".join([f"release {given['release']}", *differs, *(f"migration {line}" for line in lines), ""]),
            "before_header": folder,
            "after_header": folder,
        },
    )


if __name__ == "__main__":
    main()
