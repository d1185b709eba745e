"""What a path is: the words in which modules tell it to plugins/action/stack_files.py."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat


def name_of(lookup, number):
    """The name of an account or group; its number when it has none."""
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def state_of(path):
    """Kind, owner, group, mode, and SHA-256 or target of a path; its kind alone when it is absent."""
    if os.path.islink(path):
        return {"kind": "link", "target": os.readlink(path)}
    if not os.path.exists(path):
        return {"kind": "absent"}
    status = os.stat(path)
    state = {
        "kind": "folder" if os.path.isdir(path) else "file" if os.path.isfile(path) else "other",
        "owner": name_of(pwd.getpwuid, status.st_uid),
        "group": name_of(grp.getgrgid, status.st_gid),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
    }
    if state["kind"] == "file":
        with open(path, "rb") as file:
            state["sha256"] = hashlib.sha256(file.read()).hexdigest()
    return state
