"""The `stack` command: the whole stack in a checkout, and its releases on a host."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy import local, maintenance_cli, operate_cli, orphans
from deploy.render import TREE, render, write
from deploy.rules import leaves, value_of
from deploy.stack import (
    PROFILES,
    Layer,
    StackError,
    env_file_layer,
    load,
    load_with_origin,
    read_yaml,
    scale_layer,
    set_layer,
)

EPILOG = """\
exit status: 0 done (or nothing to do), 1 it failed, 2 a value or an argument does not fit, 3 not healthy

  stack up --set nginx.http_port=9090 --set sync.allow_private=true
  stack show nginx              the values of one section, with what profile and overrides made of them
  stack show --origin           which file each value comes from
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    args = parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except StackError as error:
        for problem in error.problems:
            print(f"stack: {problem}", file=sys.stderr)
        return 2
    except (local.LocalError, orphans.PortTaken) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("stack: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line, each subcommand with its own help."""
    top = argparse.ArgumentParser(
        prog="stack", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("--set", action="append", metavar="KEY=VALUE", help="override one value of deploy/stack.yml")
        sub.add_argument("--profile", choices=PROFILES, help="local unless said otherwise")
        sub.add_argument("--config", type=Path, help="a host's overrides, e.g. /etc/NAME/stack.yml: profile host")
        return sub

    command("up", run_up, "bring the stack up in this checkout, doing only what is missing")
    command("down", run_down, "stop the stack of this checkout")
    operate_cli.add_commands(command)
    rendering = command("render", run_render, "render every template, writing nothing unless --write")
    rendering.add_argument("--write", action="store_true", help="write the files where they belong")
    rendering.add_argument("--json", action="store_true", help="print {path: text}")
    show = command("show", run_show, "print the merged and checked values")
    show.add_argument("key", nargs="?", help="one section or value, e.g. nginx or nginx.http_port")
    show.add_argument("--origin", action="store_true", help="say which file each value comes from")
    show.add_argument("--json", action="store_true", help="for programs")
    maintenance_cli.add_commands(command)
    if importlib.util.find_spec("deploy.host_cli"):
        importlib.import_module("deploy.host_cli").add_commands(command)
    return top


def stack_of(args: argparse.Namespace, *, again: bool = False) -> dict[str, Any]:
    """Load the stack that a command line means.

    With `again` and no --set it is the one that the last `up` of this checkout meant.
    """
    profile, layers = _layers(args, again=again)
    return load(profile, layers=layers)


def _layers(args: argparse.Namespace, *, again: bool = False) -> tuple[str, list[Layer]]:
    config = args.config or (Path(os.environ["STACK_CONFIG"]) if os.environ.get("STACK_CONFIG") else None)
    if config:
        if not config.is_file():
            raise StackError([f"--config {config}: there is no such file"])
        layers = [Layer(str(config), read_yaml(config)), *scale_layer(config), set_layer(args.set or [])]
        return args.profile or "host", layers
    profile, assignments = args.profile or "local", args.set
    if again and profile == "local" and assignments is None:
        assignments = local.remembered()
    layers = [env_file_layer(TREE / ".env"), set_layer(assignments or [])]
    if profile != "host" and os.geteuid() == 0:
        # nginx's workers would change to an account that cannot read root's checkout.
        layers.insert(0, Layer("running as root", {"nginx": {"user": "root"}}))
    return profile, layers


def say(line: str) -> None:
    """One line of progress."""
    print(f"  {line}", file=sys.stderr, flush=True)


def run_up(args: argparse.Namespace) -> int:
    stack = stack_of(args)
    if stack["profile"] == "host":
        raise StackError(["`stack up` is for a checkout; on a host use `stack release`"])
    changed = local.up(stack, say)
    if stack["profile"] == "local":
        local.remember(args.set or [])
    name = stack["stack"]["name"]
    print(
        f"{name} is up: {stack['nginx']['url']}"
        if changed
        else f"{name} is already up, nothing changed: {stack['nginx']['url']}"
    )
    print(
        f"  log in as {stack['app']['admin_email']}, password in {_relative(stack['paths']['secrets'])}/admin_password"
    )
    print(f"  processes: .venv/bin/supervisorctl -c {_relative(stack['supervisor']['config'])} status")
    print("  next: make status, make logs, make test, make down")
    return 0


def _relative(path: str) -> str:
    return os.path.relpath(path) if path.startswith(str(TREE)) else path


def run_down(args: argparse.Namespace) -> int:
    print("stopped" if local.down(stack_of(args, again=True), say) else "it was not running")
    return 0


def run_render(args: argparse.Namespace) -> int:
    stack = stack_of(args)
    parts = ("release", "system", *(("host",) if stack["profile"] == "host" else ()))
    files = render(stack, *parts)
    if args.json:
        print(json.dumps({str(path): text for path, text in files.items()}))
    elif args.write:
        for path in write(files):
            print(f"wrote {path}")
    else:
        for path, text in files.items():
            print(f"{path}  {len(text)} bytes")
    return 0


def run_show(args: argparse.Namespace) -> int:
    if args.origin:
        profile, layers = _layers(args)
        values, origin = load_with_origin(profile, layers=layers)
        for key, value in leaves(values):
            if not args.key or key == args.key or key.startswith(f"{args.key}."):
                print(f"{key} = {json.dumps(value)}    {origin.get(key, '')}")
        return 0
    stack: Any = stack_of(args)
    if args.key:
        try:
            stack = value_of(stack, args.key)
        except (KeyError, TypeError):
            raise StackError([f"{args.key} is no key of deploy/stack.yml"]) from None
    if args.json or not isinstance(stack, Mapping):
        print(json.dumps(stack))
    else:
        for key, value in leaves(stack):
            print(f"{key} = {json.dumps(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
