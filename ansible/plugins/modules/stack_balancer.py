#!/usr/bin/python
"""Ansible module: give nginx new files, on a balancer or an app host, without a client losing a request."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_balancer
short_description: Give nginx new files, on a balancer or an app host, without a client losing a request
description:
  - Writes and removes files, has nginx test them, and reloads nginx. When nginx refuses them all are put back.
  - nginx closes idle connections when it is reloaded, whether or not a request is on its way. So O(flag) is there for
    O(let_go) seconds before, and while it is, each answer tells its client to connect anew.
  - Afterwards waits until the workers that have the old files have ended, that is until the requests that they had are
    answered, for O(drain) seconds at most.
  - A run that died in the middle left O(flag) behind; the next one then reloads nginx whatever the files say.
options:
  files:
    description: Files, each with C(path) and C(content).
    type: list
    elements: dict
    default: []
  absent:
    description: Paths of files that must not be there.
    type: list
    elements: path
    default: []
  instead:
    description: What O(files) is when none of O(others) answers, so that no host is kept out that nobody stands in for.
    type: list
    elements: dict
    default: []
  others:
    description: Addresses of the app hosts that stay, asked before one is kept out. Empty asks nobody.
    type: list
    elements: str
    default: []
  port:
    description: Their port.
    type: int
    default: 80
  flag:
    description: The file that has nginx let its clients go.
    type: path
    required: true
  let_go:
    description: Seconds for which it does so.
    type: float
    default: 2
  drain:
    description: Seconds to wait at most for the requests of the old workers.
    type: float
    default: 30
  service:
    description: nginx's unit.
    type: str
    default: nginx
author: the maintainers of this repository
"""

RETURN = r"""
alone:
  description: None of O(others) answered, so O(instead) was written.
  type: bool
  returned: always
left:
  description: Old workers that still had requests when the time was over.
  type: int
  returned: when changed
"""

import http.client
import os
import shutil
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule

POLL = 0.05  # seconds between two looks
PIDFILE = "/run/nginx.pid"


def read(path):
    """The text of a file; None when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def write(path, content):
    """Replace a file by rename(2), so that nobody reads half of it; remove it when there is nothing to write."""
    if content is None:
        if os.path.exists(path):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def answers(address, port):
    """Whether a member says anything but that it cannot."""
    connection = http.client.HTTPConnection(address, port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def workers(master):
    """The pids of nginx's workers that take new connections, and of those that only finish what they have."""
    taking, finishing = set(), set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        status = (read(f"/proc/{name}/stat") or "").rpartition(")")[2].split()
        if len(status) > 1 and status[1] == master:
            title = read(f"/proc/{name}/cmdline") or ""
            (finishing if "shutting down" in title else taking).add(name)
    return taking, finishing


def wait_until(met, seconds):
    """Wait until a condition is met, or the time is over; returns whether it was."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def load(module, before):
    """Test the files and reload nginx; put them back when it refuses. Returns how many old workers are left."""
    wanted = module.params
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    status, out, err = module.run_command([nginx, "-t"])
    if status != 0:
        for path, content in before.items():
            write(path, content)
        write(wanted["flag"], None)
        module.fail_json(msg=f"nginx refuses the new files, so the old ones were put back:\n{(err or out).strip()}")
    time.sleep(wanted["let_go"])
    master = (read(PIDFILE) or "").strip()
    old = set().union(*workers(master))
    status, out, err = module.run_command(["systemctl", "reload-or-restart", wanted["service"]])
    if status != 0:
        module.fail_json(msg=f"nginx cannot be reloaded:\n{(err or out).strip()}")
    wait_until(lambda: not old & workers(master)[0], 10)
    write(wanted["flag"], None)  # new workers take every new connection; the old ones close theirs as they finish
    wait_until(lambda: not old & set().union(*workers(master)), wanted["drain"])
    return len(old & set().union(*workers(master)))


def main():
    files = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "files": files,
            "instead": files,
            "absent": {"type": "list", "elements": "path", "default": []},
            "others": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int", "default": 80},
            "flag": {"type": "path", "required": True},
            "let_go": {"type": "float", "default": 2},
            "drain": {"type": "float", "default": 30},
            "service": {"type": "str", "default": "nginx"},
        },
        supports_check_mode=True,
    )
    given = module.params
    os.umask(0o022)  # nginx's workers read what is below the folders that are made here
    alone = bool(given["others"]) and not any(answers(address, given["port"]) for address in given["others"])
    wanted = {file["path"]: file["content"] for file in (given["instead"] if alone else given["files"])}
    wanted.update(dict.fromkeys(given["absent"]))
    before = {path: read(path) for path in wanted}
    differ = [path for path in wanted if before[path] != wanted[path]]
    changed = bool(differ) or os.path.exists(given["flag"])
    left = 0
    if changed and not module.check_mode:
        write(given["flag"], "")
        for path in wanted:
            write(path, wanted[path])
        left = load(module, before)
    diff = [
        {"before": before[path] or "", "after": wanted[path] or "", "before_header": path, "after_header": path}
        for path in differ
    ]
    module.exit_json(changed=changed, alone=alone, left=left, diff=diff)


if __name__ == "__main__":
    main()
