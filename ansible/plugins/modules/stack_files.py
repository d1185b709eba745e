#!/usr/bin/python
"""Ansible module: folders, files and links that belong together, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_files
short_description: Folders, files and links that hold together or not at all
description:
  - Brings a set of folders, files and links to the wanted content, owner and mode in one round trip.
  - Each file is replaced by rename(2), so that nobody ever reads half of one.
  - When O(validate) is given and something changed, that command judges the whole set; if it refuses, everything
    is put back as it was and the task fails with what the command said.
options:
  directories:
    description: Folders, each with C(path) and optionally C(owner), C(group), C(mode).
    type: list
    elements: dict
    default: []
  files:
    description: Files, each with C(path), C(content) and optionally C(owner), C(group), C(mode).
    type: list
    elements: dict
    default: []
  links:
    description: Symbolic links, each with C(path) and C(target).
    type: list
    elements: dict
    default: []
  absent:
    description: Paths of files and links that must not be there.
    type: list
    elements: path
    default: []
  validate:
    description: A command and its arguments. It is passed over as long as the host has no such command.
    type: list
    elements: str
    default: []
author: the maintainers of this repository
"""

RETURN = r"""
changed_paths:
  description: What was, or in check mode would be, changed.
  type: list
  elements: str
  returned: always
"""

import grp
import os
import pwd
import shutil
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule


class Change:
    """One path that was changed, and how to put it back."""

    def __init__(self, path, before, after):
        self.path = path
        self.before = before
        self.after = after


class Missing(Exception):
    """An account that is not there (yet)."""


def account(names, lookup, field):
    """The number of an account by its name; None when no name was given."""
    if names is None:
        return None
    try:
        return getattr(lookup(names), field)
    except KeyError:
        raise Missing(names) from None


def wanted_owner(item):
    """(uid, gid) that an item asks for, root when it asks for none."""
    uid = account(item.get("owner", "root"), pwd.getpwnam, "pw_uid")
    gid = account(item.get("group", item.get("owner", "root")), grp.getgrnam, "gr_gid")
    return uid, gid


def mode_of(item, fallback):
    """The mode as a number; YAML may have made an octal string of it."""
    mode = item.get("mode", fallback)
    return int(mode, 8) if isinstance(mode, str) else mode


def attributes_differ(path, uid, gid, mode):
    """Whether owner, group or mode of an existing path are not the wanted ones."""
    now = os.lstat(path)
    return (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) != (uid, gid, mode)


class Set:
    """The wanted set, applied item by item; remembers each change."""

    def __init__(self, module):
        self.module = module
        self.changes = []
        self.made = []

    def owner(self, item):
        try:
            return wanted_owner(item)
        except Missing as error:
            if self.module.check_mode:
                return None  # an earlier task would have made the account
            self.module.fail_json(msg="{}: there is no account or group {}".format(item["path"], error))

    def note(self, path, before="", after=""):
        self.changes.append(Change(path, before, after))

    def directory(self, item):
        path, mode = item["path"], mode_of(item, "0755")
        owner = self.owner(item)
        exists = os.path.isdir(path)
        if exists and owner and not attributes_differ(path, owner[0], owner[1], mode):
            return
        self.note(path + "/", "" if exists else "absent\n", "" if exists else "folder\n")
        if self.module.check_mode:
            return
        if not exists:
            os.makedirs(path, 0o755)
            self.made.append(path)
        os.chown(path, *owner)
        os.chmod(path, mode)
        self.module.set_default_selinux_context(path, False)

    def file(self, item):
        path, mode, content = item["path"], mode_of(item, "0644"), item["content"].encode("utf-8")
        owner = self.owner(item)
        before = self.read(path)
        if before == content and owner and not attributes_differ(path, owner[0], owner[1], mode):
            return
        self.note(path, before, content)
        if not self.module.check_mode:
            self.replace(path, content, owner, mode)

    def read(self, path):
        """The bytes of a regular file; None where there is none."""
        if os.path.islink(path) or not os.path.exists(path):
            return None
        if not os.path.isfile(path):
            self.module.fail_json(msg=f"{path} is there and is no file")
        with open(path, "rb") as file:
            return file.read()

    def replace(self, path, content, owner, mode):
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o755)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchown(file.fileno(), *owner)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        self.module.set_default_selinux_context(path, False)

    def link(self, item):
        path, target = item["path"], item["target"]
        if os.path.islink(path) and os.readlink(path) == target:
            return
        self.note(path, os.readlink(path) + "\n" if os.path.islink(path) else "absent\n", target + "\n")
        if self.module.check_mode:
            return
        temporary = path + ".new"
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.replace(temporary, path)

    def gone(self, path):
        if not os.path.lexists(path):
            return
        self.note(path, self.read(path) if not os.path.islink(path) else os.readlink(path) + "\n", "absent\n")
        if not self.module.check_mode:
            os.unlink(path)

    def diff(self):
        return [
            {
                "before": text(change.before),
                "after": text(change.after),
                "before_header": change.path,
                "after_header": change.path,
            }
            for change in self.changes
        ]


class Backup:
    """Everything a refused set must be put back to."""

    def __init__(self, paths):
        self.kept = {}
        for path in paths:
            if os.path.islink(path):
                self.kept[path] = ("link", os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    self.kept[path] = ("file", file.read(), os.stat(path))
            else:
                self.kept[path] = ("absent",)

    def restore(self, module, made):
        for path, kept in self.kept.items():
            if os.path.isdir(path) and not os.path.islink(path):
                continue
            if os.path.lexists(path):
                os.unlink(path)
            if kept[0] == "link":
                os.symlink(kept[1], path)
            elif kept[0] == "file":
                with open(path, "wb") as file:
                    file.write(kept[1])
                os.chown(path, kept[2].st_uid, kept[2].st_gid)
                os.chmod(path, stat.S_IMODE(kept[2].st_mode))
                module.set_default_selinux_context(path, False)
        for folder in reversed(made):
            if not os.listdir(folder):
                os.rmdir(folder)


def text(content):
    """What a diff shows of some content."""
    if content is None:
        return ""
    return content if isinstance(content, str) else content.decode("utf-8", "replace")


def judge(module, backup, made):
    """Run the validating command; put everything back when it refuses."""
    command = module.params["validate"]
    program = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") if command else None
    if program is None:
        return
    status, out, err = module.run_command([program, *command[1:]])
    if status != 0:
        backup.restore(module, made)
        module.fail_json(
            msg="`{}` refused the new files, so the old ones were put back:\n{}".format(
                " ".join(command), (err or out).strip()
            ),
            refused=sorted(backup.kept),
        )


def main():
    items = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "directories": items,
            "files": items,
            "links": items,
            "absent": {"type": "list", "elements": "path", "default": []},
            "validate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    touched = [item["path"] for item in wanted["files"] + wanted["links"]] + wanted["absent"]
    backup = Backup(touched if wanted["validate"] else [])
    work = Set(module)
    for item in wanted["directories"]:
        work.directory(item)
    for item in wanted["files"]:
        work.file(item)
    for item in wanted["links"]:
        work.link(item)
    for path in wanted["absent"]:
        work.gone(path)
    if work.changes and not module.check_mode:
        judge(module, backup, work.made)
    module.exit_json(
        changed=bool(work.changes),
        changed_paths=[change.path for change in work.changes],
        diff=work.diff(),
    )


if __name__ == "__main__":
    main()
