"""Filters over deploy/: the values and templates that Ansible uses are the ones that everything else uses."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

CHECKOUT = Path(__file__).resolve().parents[3]
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))

from deploy import maintenance  # noqa: E402
from deploy.render import TEMPLATES, render, render_template  # noqa: E402
from deploy.site import Site  # noqa: E402
from deploy.stack import Layer, StackError, load  # noqa: E402

_loaded: dict[str, dict[str, Any]] = {}


def plain(value: Any) -> Any:
    """Ansible's own kinds of strings, lists and mappings as Python's."""
    return json.loads(json.dumps(value))


def stack_load(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The stack that a host gets with these overrides; the same overrides are loaded once."""
    key = json.dumps(overrides, sort_keys=True)
    if key not in _loaded:
        try:
            _loaded[key] = load("host", layers=[Layer("the inventory", json.loads(key))])
        except StackError as error:
            raise AnsibleFilterError(str(error)) from error
    return _loaded[key]


def stack_render(stack: Mapping[str, Any], source: str) -> str:
    """The text of one template, such as `nginx/nginx.conf.j2`."""
    return render_template(plain(stack), source)


def stack_file(stack: Mapping[str, Any], source: str, mode: str = "0644") -> dict[str, str]:
    """One template as stack_files takes it: rendered, with the path where deploy/render.py puts it."""
    values = plain(stack)
    template = next((template for template in TEMPLATES if template.source == source), None)
    if template is None:
        raise AnsibleFilterError(f"deploy/render.py knows no template {source}")
    path = template.destination.format(**values)
    return {"path": path, "content": render_template(values, source), "mode": mode}


def stack_balancer_files(overrides: Mapping[str, Any]) -> list[dict[str, str]]:
    """Everything of a balancer that runs no app: its site and its own error pages, as stack_files takes them."""
    values = plain(overrides)
    root = stack_load(values)["paths"]["root"]
    stack = load("host", layers=[Layer("the inventory", values)], release={"id": "lb", "root": f"{root}/lb"})
    return [{"path": str(path), "content": text} for path, text in render(stack, "lb").items()]


def stack_maintenance(stack: Mapping[str, Any], wish: Mapping[str, Any]) -> dict[str, Any]:
    """What switches maintenance on or off, as stack_files takes it, and by what a site shows that it heeds it.

    Args:
        stack: the host's.
        wish: `state` (on or off), `message`, `until` and `allow`, as `stack maintenance` takes them.

    Raises:
        AnsibleFilterError: naming what does not fit.
    """
    values, asked = plain(stack), plain(wish)
    found: dict[str, Any] = {
        "site": str(Site(values).path),
        "included": f"{maintenance.folder_of(values)}/server",
        "files": [],
        "absent": maintenance.switches(values),
    }
    if asked["state"] == "off":
        return found
    if asked["state"] != "on":
        raise AnsibleFilterError(f"maintenance_state is {asked['state']!r}: say -e maintenance_state=on, or off")
    try:
        wanted = maintenance.wanted(asked["message"], asked["until"], asked["allow"])
    except ValueError as error:
        raise AnsibleFilterError(str(error).replace("--", "maintenance_")) from error
    files = [{"path": str(path), "content": text} for path, text in maintenance.files(values, wanted).items()]
    return {**found, "files": files, "absent": []}


def stack_yaml(overrides: Mapping[str, Any]) -> str:
    """The overrides as the text of a host's stack.yml."""
    return "# What this host's inventory says over deploy/stack.yml. Written by Ansible.\n" + yaml.safe_dump(
        plain(overrides), sort_keys=True, allow_unicode=True
    )


def stack_source(path: str) -> str:
    """The text of a file of this checkout."""
    return (CHECKOUT / path).read_text("utf-8")


def stack_secret_values(
    names: list[str], variables: Mapping[str, Any], hosts: list[str], hostvars: Mapping[str, Any]
) -> dict[str, str]:
    """One value for each secret: the vault's, else the one that a host already has, else a new one.

    Args:
        names: of the secrets.
        variables: the `vault_*` variables by the secret's name; an empty one does not count. That of `x_next` stands
            for that of `x` once a rotation has brought it to the hosts. The account that a rotation has put below a
            password stays there.
        hosts: whose `secrets_found` are looked at, the first that has one decides for all.
        hostvars: Ansible's.
    """
    values = {}
    for name in names:
        found = [hostvars[host].get("secrets_found", {}).get("found", {}).get(name) for host in hosts]
        known = next((str(value) for value in found if value), "")
        first, newline, account = known.partition("\n")
        given = str(variables.get(name) or "")
        if not given or first == variables.get(f"{name}_next"):
            values[name] = known or given or secrets.token_urlsafe(36)
        else:
            values[name] = f"{given}{newline}{account}"
    return values


def stack_given_secrets(names: list[str], variables: Mapping[str, Any]) -> dict[str, str]:
    """The secrets that only a vault can give; `variables` are those of stack_secret_values.

    Raises:
        AnsibleFilterError: naming the variables that are missing.
    """
    missing = [f"vault_{name}" for name in names if not variables.get(name)]
    if missing:
        raise AnsibleFilterError(f"{', '.join(missing)}: put the value into the inventory's vault.yml (ansible-vault)")
    return {name: str(variables[name]).strip() for name in names}


def stack_secret_files(
    values: Mapping[str, str], folder: str, owner: str, names: list[str] | None = None
) -> list[dict[str, str]]:
    """The secret files as stack_files takes them: read by their owner and nobody else.

    Args:
        values: by the secret's name.
        folder: where the files lie.
        owner: who reads them.
        names: the secrets that this host has; None is all of them.
    """
    return [
        {"path": f"{folder}/{name}", "content": f"{value}\n", "owner": owner, "mode": "0600"}
        for name, value in plain(values).items()
        if names is None or name in names
    ]


def command_files(stack: Mapping[str, Any]) -> list[dict[str, str]]:
    """The commands that people type, as stack_files takes them; the plain names belong to the primary stack."""
    values = plain(stack)
    name, venv = values["stack"]["name"], values["supervisor"]["venv"]
    control = f'exec {venv}/bin/supervisorctl -c {values["supervisor"]["config"]} "$@"\n'
    engine = (
        f"export STACK_CONFIG={values['paths']['etc']}/stack.yml PYTHONDONTWRITEBYTECODE=1\n"
        f"export PYTHONPATH={values['paths']['root']}/current\n"
        f'exec {venv}/bin/python -P -m deploy.cli "$@"\n'
    )
    commands = {f"{name}ctl": control, f"{name}-stack": engine}
    if values["stack"]["primary"]:
        commands |= {"supervisorctl": control, "stack": engine}
    head = f"#!/bin/sh\n# Written by Ansible for {name}.\n"
    return [
        {"path": f"/usr/local/bin/{command}", "content": head + text, "mode": "0755"}
        for command, text in commands.items()
    ]


def provisioned_paths(stack: Mapping[str, Any], more: list[str]) -> list[str]:
    """What provisioning writes on a host, apart from secrets: the survey looks at all of it at once.

    A path that is missing here costs its task a round trip of its own, and nothing else.

    Args:
        stack: the host's.
        more: further paths, that are the distribution's.
    """
    values = plain(stack)
    paths, plugin = values["paths"], values["supervisor"]["plugin"]
    found = [paths["root"], *(f"{paths['root']}/{name}" for name in ("incoming", "releases", "wheels"))]
    found += [paths["etc"], f"{paths['etc']}/stack.yml", paths["log"], paths["data"], paths["nginx_cache"]]
    found += [values["supervisor"]["programs"], f"{plugin}/deploy/__init__.py", f"{plugin}/deploy/sockets.py"]
    found += [one.destination.format(**values) for one in TEMPLATES if one.part in ("system", "host")]
    return [*found, *(file["path"] for file in command_files(values)), *more]


def command_links(stack: Mapping[str, Any], folder: str) -> list[dict[str, str]]:
    """Links to these commands from a folder where sudo finds them; none when it needs no folder."""
    files = command_files(stack) if folder else []
    return [{"path": f"{folder}/{Path(file['path']).name}", "target": file["path"]} for file in files]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            function.__name__: function
            for function in (
                stack_load,
                stack_render,
                stack_file,
                stack_balancer_files,
                stack_maintenance,
                stack_yaml,
                stack_source,
                stack_secret_values,
                stack_given_secrets,
                stack_secret_files,
                command_files,
                command_links,
                provisioned_paths,
            )
        }
