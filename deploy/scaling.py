"""Another number of ports or instances on a host: the same commit as a release of its own, with other values.

What was asked for lies in scale.yml beside the host's stack.yml, which is Ansible's. It wins over that, so that the
next deploy does not undo it without a word: each release says what it kept. A value that stack.yml has too is not kept.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from deploy import durable, preflight, tree, venvs
from deploy.around import Around
from deploy.attempt import attempt
from deploy.layout import Host
from deploy.release import Options, bring, prune
from deploy.render import write_file
from deploy.rules import listening_ports
from deploy.stack import SCALED, StackError
from deploy.steps import Outcome, ReleaseError, Say
from deploy.tree import Load
from deploy.undo import Place

HEAD = "# Written by `stack scale`; it wins over stack.yml beside it. `stack scale --reset` takes it away.\n"


def kept(base: Mapping[str, Any], scaled: Mapping[str, Any], path: Path) -> list[str]:
    """What scaling made of the values, one sentence for each: said by each release."""
    return [
        f"api.{key} is {scaled['api'][key]} by {path}, not {base['api'][key]}; `stack scale --reset` takes that away"
        for key in SCALED
        if scaled["api"][key] != base["api"][key]
    ]


def awaited(running: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What the next release makes of a host that has gone back to other values, one sentence for each."""
    return [
        f"api.{key} is {running['api'][key]} in this release; the next one makes it {wanted['api'][key]}"
        for key in SCALED
        if running["api"][key] != wanted["api"][key]
    ]


def wanted(base: Mapping[str, Any], now: Mapping[str, Any], ports: int | None, instances: int | None) -> dict[str, Any]:
    """The values of scale.yml for a number of ports and of instances on each: only what stack.yml has otherwise.

    Args:
        base: the values without scale.yml.
        now: those with it.
        ports: how many, the first of those there are first; None for as many as now.
        instances: on each; None for as many as now.

    Raises:
        StackError: there are not so many free ports.
    """
    values = {"ports": now["api"]["ports"], "instances": now["api"]["instances"]}
    if ports is not None:
        values["ports"] = _ports(base, now, ports)
    if instances is not None:
        values["instances"] = instances
    return {key: value for key, value in values.items() if value != base["api"][key]}


def _ports(base: Mapping[str, Any], now: Mapping[str, Any], count: int) -> list[int]:
    """The ports there are, then those of stack.yml, then the next ones that are free."""
    ports = [*now["api"]["ports"], *(port for port in base["api"]["ports"] if port not in now["api"]["ports"])]
    spoken_for = {port for key, port in listening_ports(now) if key != "api.ports"}
    following = max(ports) + 1
    while len(ports) < count:
        if following > 65535:
            raise StackError([f"there are no {count} free ports after {max(ports)}; set api.ports in the inventory"])
        if following not in spoken_for and _is_free(now["api"]["bind"], following):
            ports.append(following)
        following += 1
    return ports[:count]


def _is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return False
    return True


def text_of(values: Mapping[str, Any]) -> str | None:
    """What scale.yml says; None when there is nothing to say."""
    return HEAD + yaml.safe_dump({"api": dict(values)}) if values else None


def keep(path: Path, text: str | None) -> None:
    """Write scale.yml, or take it away."""
    if text is None:
        durable.remove(path)
    else:
        write_file(path, text)


def changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """What a scale would do, one sentence for each."""
    said = [
        f"api.{key}: {now['api'][key]} -> {then['api'][key]}" for key in SCALED if now["api"][key] != then["api"][key]
    ]
    before, after = now["api"]["ports"], then["api"]["ports"]
    said += [f"api-{port}: new, with {then['api']['instances']} instances" for port in after if port not in before]
    if now["api"]["instances"] != then["api"]["instances"]:
        said += [f"api-{port}: drained, then loaded anew" for port in after if port in before]
    said += [f"api-{port}: drained, then gone" for port in before if port not in after]
    return said


def scale(
    host: Host, load: Load, path: Path, text: str | None, words: Sequence[str], options: Options, say: Say
) -> Outcome:
    """Bring a host to other values of the commit that is current.

    Args:
        host: where.
        load: loads the host's stack with the values that are wanted.
        path: of scale.yml.
        text: what it will say; None when it goes.
        words: what is changed, for the record.
        options: how; `migrate` and `wheels` do not count.
        say: takes one line of progress.

    Raises:
        ReleaseError: after everything that was moved has been put back, scale.yml included.
    """
    with attempt(host, "scale", ", ".join(words), options.wait, say) as run:
        around = Around(run, host, "scale", load(None))
        before = host.pointed(host.current)
        with run.step("verify"):
            now = tree.open_release(host, before)
        with run.step("preflight"):
            stack = load({"id": now.manifest.id, "root": str(host.current)})
            recipe = venvs.recipe(stack, now.root)
            if not venvs.is_complete(host, recipe.name):
                raise ReleaseError(f"the venv {recipe.name} of release {before} is gone; release that commit again")
            preflight.check(host, stack, now.root, new_venv=False)
            planned = tree.plan(host, now.manifest, load, recipe.name)
        around.aim(planned.name, now.root, now.manifest)
        around.before("release")
        with run.step("unpack") as step:
            step.changed = tree.unpack(host, now.root, planned, recipe.python)
        incoming = replace(tree.open_release(host, planned.name), stack=planned.stack)
        run.aim(incoming.name, Place(host, incoming.stack).perform)
        with run.step("values") as step:
            old = path.read_text("utf-8") if path.is_file() else None
            if text != old:
                # First the wish, then the way: whatever ends this run, the next release goes where it was to go.
                run.will_change("values", f"{path} as it was", path=str(path), text=old)
                keep(path, text)
                step.changed = True
        around.aim(incoming.name, incoming.root, now.manifest)
        bring(run, around, host, incoming, migrate=False, force=False)
        with run.step("prune") as step:
            step.changed = prune(host, stack["releases"]["keep"], now.root)
    return run.outcome(incoming.name, before)
