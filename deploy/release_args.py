"""What the commands of `stack` for releases have in common: their options, whose values they take, how they end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy import tree
from deploy.stack import Layer, StackError, load, read_yaml, scale_layer, set_layer
from deploy.steps import Outcome, ReleaseError


def explain(sub: argparse.ArgumentParser, text: str) -> None:
    """Let --help end with examples, as they are written."""
    sub.epilog = text
    sub.formatter_class = argparse.RawDescriptionHelpFormatter


def add_json(sub: argparse.ArgumentParser) -> None:
    """Add --json."""
    sub.add_argument("--json", action="store_true", help="one line of JSON on standard output, for programs")


def add_account(sub: argparse.ArgumentParser) -> None:
    """Add --account."""
    sub.add_argument("--account", help="whose processes these are when called by root; stack.name when not given")


def add_common(sub: argparse.ArgumentParser) -> None:
    """Add what each command that changes something takes."""
    sub.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for the stack's lock")
    add_account(sub)
    add_json(sub)


def config_of(args: argparse.Namespace) -> Path | None:
    """The host's stack.yml."""
    config = args.config or (Path(os.environ["STACK_CONFIG"]) if os.environ.get("STACK_CONFIG") else None)
    if args.profile not in (None, "host"):
        raise StackError([f"{args.profile}: releases are for hosts; a checkout is served by `stack up`"])
    if config is not None and not config.is_file():
        raise StackError([f"--config {config}: there is no such file"])

    return config


def loader(args: argparse.Namespace, *, scaled: Sequence[Layer] | None = None) -> tree.Load:
    """What loads the host's stack for a release: the profile `host`, the overrides in --config, and what scales it.

    Args:
        args: the command line.
        scaled: instead of what lies in scale.yml beside --config.
    """
    config = config_of(args)

    def load_for(release: Mapping[str, str] | None) -> dict[str, Any]:
        layers = [Layer(str(config), read_yaml(config))] if config else []
        layers += (scale_layer(config) if config else []) if scaled is None else scaled
        return load("host", layers=[*layers, set_layer(args.set or [])], release=release)

    return load_for


def say(line: str) -> None:
    """Tell people how far it is; standard output is for what came of it."""
    print(f"  {line}", file=sys.stderr, flush=True)


def print_outcome(args: argparse.Namespace, outcome: Outcome) -> int:
    """Print what came of it, in the form that was asked for; return the exit status."""
    for note in outcome.notes:
        say(note)
    if args.json:
        print(json.dumps(asdict(outcome)), flush=True)
    elif outcome.changed:
        before = f" (before: {outcome.previous})" if outcome.previous not in ("", outcome.release) else ""
        print(f"{outcome.release} is current{before}")
    else:
        print(f"{outcome.release} is current already, nothing changed")
    return 0


def reporting(args: argparse.Namespace, work: Callable[[], int]) -> int:
    """Do the work; say why it failed in a form that its reader can use."""
    try:
        return work()
    except ReleaseError as error:
        where = f" in step {error.step}" if error.step else ""
        print(f"stack: failed{where}: {error.message}", file=sys.stderr)
        for line in error.log:
            print(f"    {line}", file=sys.stderr)
        if getattr(args, "json", False):
            fields = {"step": error.step, "instance": error.instance, "message": error.message, "log": error.log}
            print(json.dumps({"failed": True, **asdict(error.outcome), **fields}), flush=True)
        return 1
