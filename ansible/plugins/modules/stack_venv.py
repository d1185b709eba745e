#!/usr/bin/python
"""Ansible module: a virtual environment that holds what a lock file names."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_venv
short_description: A virtual environment that holds what a lock file names
description:
  - Asks the environment itself which versions it holds, without the network, and runs pip only when one differs.
  - pip checks every download against the lock file's hashes.
options:
  path:
    description: The folder of the environment.
    type: path
    required: true
  python:
    description: The interpreter it is made with.
    type: str
    required: true
  requirements:
    description: The text of the lock file; each line pins one version, without environment markers.
    type: str
    required: true
  index_url:
    description: A package index of your own.
    type: str
    default: ''
  trusted_host:
    description: A host whose certificate pip does not check.
    type: str
    default: ''
  proxy:
    description: The proxy for downloads.
    type: str
    default: ''
author: the maintainers of this repository
"""

RETURN = r"""
differs:
  description: What was not as the lock file says.
  type: list
  elements: str
  returned: always
tag:
  description: The tag that wheels for its interpreter carry, such as cp312; empty when that is not installed.
  type: str
  returned: always
"""

import json
import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule

# Run by the environment's own interpreter.
ASK = """
import importlib.metadata, json, re, sys
name = lambda dist: re.sub("[-_.]+", "-", dist.metadata["Name"]).lower()
print(json.dumps({"base": sys.base_prefix, "version": sys.version, "tag": "cp%d%d" % sys.version_info[:2],
                  "held": {name(dist): dist.version for dist in importlib.metadata.distributions()}}))
"""


def pins(module, text):
    """{name: version} that a lock file names."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)\s*(;?)", line)
        if match and match.group(3):
            module.fail_json(msg=f"environment markers are not understood here: {line}")
        if match:
            found[re.sub("[-_.]+", "-", match.group(1)).lower()] = match.group(2)
    if not found:
        module.fail_json(msg="the lock file names no package")
    return found


def ask(module, python):
    """What an interpreter says of itself; None when it does not run."""
    if "/" in python and not os.path.exists(python):
        return None
    status, out, _err = module.run_command([python, "-c", ASK])
    return json.loads(out) if status == 0 else None


def differences(wanted, made_of, now):
    """One phrase for each thing that is not as the lock file says."""
    if now is None:
        return ["there is no environment"]
    if made_of and now["version"] != made_of["version"]:
        return ["made with Python {}, not {}".format(now["version"].split()[0], made_of["version"].split()[0])]
    return [
        "{} is {}, not {}".format(name, now["held"].get(name, "missing"), version)
        for name, version in sorted(wanted.items())
        if now["held"].get(name) != version
    ]


def must(module, command, environment):
    """Run a command; fail with its last words."""
    status, out, err = module.run_command(command, environ_update=environment)
    if status != 0:
        module.fail_json(msg="`{}` failed:\n{}".format(" ".join(command), (err or out).strip()[-3000:]))


def install(module, remake):
    """Make the environment when needed and let pip bring it to the lock file."""
    wanted = module.params
    environment = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for option, name in (("index_url", "PIP_INDEX_URL"), ("trusted_host", "PIP_TRUSTED_HOST"), ("proxy", "PIP_PROXY")):
        if wanted[option]:
            environment[name] = wanted[option]
    if remake:
        must(module, [wanted["python"], "-m", "venv", "--clear", wanted["path"]], environment)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(wanted["requirements"])
        file.flush()
        python = os.path.join(wanted["path"], "bin", "python")
        must(module, [python, "-m", "pip", "install", "--require-hashes", "--no-deps", "-r", file.name], environment)
    # Bytecode is written now, by root: the account that runs it may not write here.
    must(module, [python, "-m", "compileall", "-q", os.path.join(wanted["path"], "lib")], environment)


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "python": {"type": "str", "required": True},
            "requirements": {"type": "str", "required": True},
            "index_url": {"type": "str", "default": ""},
            "trusted_host": {"type": "str", "default": ""},
            "proxy": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted = pins(module, module.params["requirements"])
    python = os.path.join(module.params["path"], "bin", "python")
    made_of = ask(module, module.params["python"])
    now = ask(module, python)
    differs = differences(wanted, made_of, now)
    if differs and not module.check_mode:
        if made_of is None:
            module.fail_json(msg="there is no {} on this host".format(module.params["python"]))
        install(module, remake=now is None or now["version"] != made_of["version"])
        left = differences(wanted, made_of, ask(module, python))
        if left:
            module.fail_json(msg="after the installation still: {}".format("; ".join(left)))
    module.exit_json(changed=bool(differs), differs=differs, tag=made_of["tag"] if made_of else "")


if __name__ == "__main__":
    main()
