"""The command `stack maintenance`, on a host and in a checkout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from deploy import maintenance
from deploy.stack import StackError

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

HELP = """\
  stack maintenance on                                   503 and Retry-After for everybody, until it is switched off
  stack maintenance on --until 90m --message 'We are moving to a larger database.'
  stack maintenance on --until 2026-01-31T18:00+01:00 --allow 192.0.2.7 --allow 10.0.0.0/8
  stack maintenance off
  stack maintenance status --json                        {"on": true, "since": ..., "until": ..., "allow": [...], ...}

nginx answers by itself: a page for browsers, the envelope of every other error for programs and below /api/. The paths
in maintenance.open and the allowed addresses reach the app as ever. It stays on through reloads, reboots, releases
and rollbacks, and after --until too: that only says when to ask again. Requests under way are finished. `on` again
replaces what was said before. On a host this is root's, and a line of its ledger; where there is a balancer, do it
there as well: maintenance.yml does both. It writes nginx's files itself and calls `stack maintenance record` for the
line.
"""


def add_commands(command: Command) -> None:
    """Add this command to the command line of `stack`."""
    sub = command("maintenance", run, "have nginx answer 503 without asking the app, and end that")
    sub.epilog, sub.formatter_class = HELP, argparse.RawDescriptionHelpFormatter
    sub.add_argument("action", choices=["on", "off", "status", "record"])
    sub.add_argument("--message", default="", metavar="M", help="one line, shown to people and programs")
    sub.add_argument("--until", default="", metavar="T", help="until when: an ISO 8601 time, or how long (90m)")
    sub.add_argument("--allow", action="append", default=[], metavar="CIDR", help="let an address or network through")
    sub.add_argument("--check", action="store_true", help="say what would be done, and change nothing")
    sub.add_argument("--json", action="store_true", help="one line of JSON on standard output, for programs")


def run(args: argparse.Namespace) -> int:
    """Switch or show; return the exit status."""
    from deploy.cli import stack_of  # here: that module imports this one

    given = [name for name in ("message", "until", "allow") if getattr(args, name)]
    if args.action != "on" and given:
        raise StackError([f"--{name} goes with `stack maintenance on` alone" for name in given])
    stack = stack_of(args, again=True)
    if args.action == "record" and stack["profile"] != "host":
        raise StackError(["`stack maintenance record` is for a host: a checkout has no ledger"])
    try:
        changed = _switch(args, stack)
    except maintenance.MaintenanceError as error:
        print(f"stack: {error.message}", file=sys.stderr)
        for line in error.log:
            print(f"    {line}", file=sys.stderr)
        if args.json:
            print(json.dumps({"failed": True, "message": error.message, "log": error.log}))
        return 1
    if args.action == "record" or (changed and not args.check and stack["profile"] == "host"):
        try:
            maintenance.record(stack)
        except OSError as error:
            print(f"stack: the ledger cannot be written: {error}", file=sys.stderr)
    found = maintenance.state(stack)
    if args.json:
        print(json.dumps({**({"changed": changed} if args.action in ("on", "off") else {}), **found}))
    elif args.check and args.action in ("on", "off"):
        print(f"maintenance would be switched {args.action}" if changed else "nothing would change")
    else:
        print(
            f"maintenance is {maintenance.describe(found)}"
            + ("" if changed or args.action not in ("on", "off") else ", nothing changed")
        )
    return 0


def _switch(args: argparse.Namespace, stack: Mapping[str, Any]) -> bool:
    if args.action in ("status", "record"):
        return False
    if args.action == "off":
        return maintenance.switch_off(stack, check=args.check)
    try:
        asked = maintenance.wanted(args.message, args.until, args.allow)
    except ValueError as error:
        raise StackError(str(error).splitlines()) from error
    return maintenance.switch_on(stack, asked, check=args.check)
