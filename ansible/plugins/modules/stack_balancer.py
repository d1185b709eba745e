#!/usr/bin/python
"""Ansible module: tell a balancer whom it may send requests to, without a client losing one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_balancer
short_description: Tell a balancer whom it may send requests to, without a client losing one
description:
  - Writes the file of the members, has nginx test it, and reloads nginx. A file that nginx refuses is put back.
  - nginx closes idle connections when it is reloaded, whether or not a request is on its way. So O(flag) is there for
    O(let_go) seconds before, and while it is, each answer tells its client to connect anew (C(Connection: close)).
  - Afterwards waits until the workers that were told of the old members have ended, that is until the requests that
    they had are answered, for O(drain) seconds at most.
  - A run that died in the middle left O(flag) behind; the next one then reloads nginx whatever the file says.
options:
  path:
    description: The file of the members.
    type: path
    required: true
  content:
    description: What it is to hold.
    type: str
    required: true
  instead:
    description: What it is to hold when none of O(others) answers, so that nobody is kept out whom nobody can stand in for.
    type: str
    default: ''
  others:
    description: Addresses of the members that stay, asked before one is kept out. Empty asks nobody.
    type: list
    elements: str
    default: []
  port:
    description: The members' port.
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
    """The text of a file; empty when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def write(path, content):
    """Replace a file by rename(2), so that nobody reads half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".members.")
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
        status = read(f"/proc/{name}/stat").rpartition(")")[2].split()
        if len(status) > 1 and status[1] == master:
            title = read(f"/proc/{name}/cmdline")
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


def reload(module, before):
    """Test and reload nginx; put the members back when it refuses."""
    wanted = module.params
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    status, out, err = module.run_command([nginx, "-t"])
    if status != 0:
        write(wanted["path"], before)
        os.unlink(wanted["flag"])
        module.fail_json(msg=f"nginx refuses {wanted['path']}, so the old one was put back:\n{(err or out).strip()}")
    time.sleep(wanted["let_go"])
    master = read(PIDFILE).strip()
    old = set().union(*workers(master))
    status, out, err = module.run_command(["systemctl", "reload-or-restart", wanted["service"]])
    if status != 0:
        module.fail_json(msg=f"nginx cannot be reloaded:\n{(err or out).strip()}")
    wait_until(lambda: not old & workers(master)[0], 10)
    # New clients meet new workers only; the old ones go on telling theirs to leave.
    wait_until(lambda: not old & set().union(*workers(master)), wanted["drain"])
    os.unlink(wanted["flag"])
    return len(old & set().union(*workers(master)))


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "instead": {"type": "str", "default": ""},
            "others": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int", "default": 80},
            "flag": {"type": "path", "required": True},
            "let_go": {"type": "float", "default": 2},
            "drain": {"type": "float", "default": 30},
            "service": {"type": "str", "default": "nginx"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    alone = bool(wanted["others"]) and not any(answers(address, wanted["port"]) for address in wanted["others"])
    content = wanted["instead"] if alone else wanted["content"]
    before = read(wanted["path"])
    interrupted = os.path.exists(wanted["flag"])
    changed = before != content or interrupted
    result = {"changed": changed, "alone": alone}
    if changed:
        header = wanted["path"]
        result["diff"] = {"before": before, "after": content, "before_header": header, "after_header": header}
    if changed and not module.check_mode:
        with open(wanted["flag"], "w", encoding="utf-8"):
            pass
        write(wanted["path"], content)
        result["left"] = reload(module, before)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
