"""The commands of `stack` for looking at a stack and into it, on a host and in a checkout."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from deploy import logs, status
from deploy.layout import Host
from deploy.stack import StackError

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

LINES = 20  # shown of the logs when nothing else is asked for

STATUS_HELP = """\
For each process: what supervisor calls it, the release that it serves, how long it runs, the memory of master and
worker (Pss, what they share counted once; for root), and what it answers on its own socket: /readyz and each request of
releases.smoke. Then nginx, the database as the instances see it, what is current, and who holds the lock.

exit status: 0 all of it is well, 3 something is not
"""
LOGS_HELP = """\
  stack logs                           the newest 20 lines of all of them, in the order of time
  stack logs -f sync api-8001          follow sync, both instances of a port and its access log, across rotations
  stack logs --since 10m --nginx       ten minutes of everything, nginx's logs of the site too
  stack logs --since 09:00 --json | jq 'select(.status >= 500)'
Rotated files, also compressed ones, are read as far back as is needed; with log.rotate: stream the journal is.
"""


def add_commands(command: Command) -> None:
    """Add these commands to the command line of `stack`."""
    sub = command("status", run_status, "show each process and whether it is healthy")
    _epilog(sub, STATUS_HELP)
    sub.add_argument("--json", action="store_true", help="one line of JSON, for programs")

    sub = command("logs", run_logs, "show the logs, merged in the order of time")
    _epilog(sub, LOGS_HELP)
    sub.add_argument("names", nargs="*", metavar="PROCESS", help="processes, groups or logs; all when none is named")
    sub.add_argument("-f", "--follow", action="store_true", help="go on until interrupted, also across rotations")
    sub.add_argument(
        "-n", "--lines", type=_count, metavar="N", help=f"no more than the newest N; {LINES} without --since"
    )
    sub.add_argument("--since", metavar="T", help="from then on: 10m, 2h, 14:30, 2026-11-21T16:46")
    sub.add_argument("--nginx", action="store_true", help="nginx's logs of the site too")
    sub.add_argument("--json", action="store_true", help="each line as JSON, without the name before it")


def _epilog(sub: argparse.ArgumentParser, text: str) -> None:
    sub.epilog = text
    sub.formatter_class = argparse.RawDescriptionHelpFormatter


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines")
    return int(text)


def _stack_of(args: argparse.Namespace) -> dict[str, Any]:
    from deploy.cli import stack_of  # here: that module imports this one

    return stack_of(args, again=True)


def run_status(args: argparse.Namespace) -> int:
    stack = _stack_of(args)
    found = status.look(stack, Host.of(stack) if stack["profile"] == "host" else None)
    if args.json:
        print(json.dumps(found.as_json()))
    else:
        print(f"{found.name}  {found.url}")
        table = status.lines(found)
        widths = [max(map(len, column)) for column in zip(*(cells for _, cells in table), strict=True)]
        for healthy, cells in table:
            *front, detail = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            print("  ".join([_mark(healthy), *front, detail.rstrip()]))
        for healthy, name, words in status.facts(found):
            print(f"{_mark(healthy)}  {name.ljust(widths[0])}  {words}")
    return 0 if found.healthy else 3


def _mark(healthy: bool | None) -> str:
    if healthy is None:
        return "   "
    text, code = ("ok ", 32) if healthy else ("BAD", 31)
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")  # no-color.org
    return f"\033[{code}m{text}\033[0m" if coloured else text


def run_logs(args: argparse.Namespace) -> int:
    since = logs.moment(args.since, time.time()) if args.since else None
    stack = _stack_of(args)
    if stack["profile"] == "host":
        stack = status.values_of_current(Host.of(stack)) or stack
    try:
        found = logs.Logs(stack, args.names, nginx=args.nginx)
        with closing(found):
            _print_logs(args, found, since)
    except PermissionError as error:
        remedy = f"be root or of group {stack['stack']['ops_group']}"
        raise StackError([f"{error.filename}: {error.strerror}; {remedy}"]) from error
    return 0


def _print_logs(args: argparse.Namespace, found: logs.Logs, since: float | None) -> None:
    lines = args.lines if args.lines is not None or since is not None else LINES
    width = found.width()
    for line in found.shown(lines=lines, since=since):
        print(logs.shown(line, width, as_json=args.json))
    if args.follow:
        sys.stdout.flush()
        for line in found.followed():
            print(logs.shown(line, width, as_json=args.json), flush=True)
