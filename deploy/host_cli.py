"""The commands of `stack` for releases: building an archive, and what is done with it on a host."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from deploy import build as building
from deploy import incoming, instances, ledger, local, maintenance, resume, scaling, status, tree, venvs, wheels
from deploy import release as engine
from deploy.layout import Host
from deploy.release import Options
from deploy.release_args import (
    add_account,
    add_common,
    add_json,
    config_of,
    explain,
    loader,
    print_outcome,
    reporting,
    say,
)
from deploy.render import TREE
from deploy.stack import SCALE_FILE, Layer, StackError
from deploy.steps import Outcome, ReleaseError

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

BUILD_HELP = """\
  stack build                          dist/<project>-<id>.tar.gz from a clean git tree
  stack build --json                   {"id": ..., "path": ..., "sha256": ..., ...} for programs
hooks/before-build and hooks/after-build of the tree run around it; what they are told: docs/releases.md
"""
WHEELS_HELP = """\
On a machine with a compiler and the OS and Python of the hosts:
  stack wheels build/wheels            mysqlclient's wheel and SHA256SUMS; give the folder to `stack release --wheels`
"""
RELEASE_HELP = """\
On a host, as root. The archive is unpacked first, and its own engine runs the release:
  tar -xzf cloudeye-ID.tar.gz -C /opt/NAME/incoming/ID
  PYTHONPATH=/opt/NAME/incoming/ID /opt/NAME/supervisor/bin/python -P -m deploy.cli release \\
      /opt/NAME/incoming/ID --config /etc/NAME/stack.yml --wheels /opt/NAME/wheels --json
The first host of a fleet migrates; the others get --no-migrate. Standard output is one line of JSON with --json:
  {"changed": true, "release": ID, "previous": ID, "steps": [{"name": ..., "seconds": ..., "changed": ...}],
   "requests": {"seen": ..., "failed": ...}}
and after a failure (exit status 1) "failed": true with "step", "instance", "message" and "log" as well.
By hand, on a host that has a release already, the archive itself will do:
  stack release cloudeye-ID.tar.gz
"""
WATCH_HELP = """\
For a release made with --no-watch, as soon as requests reach this host; the playbooks call it when the balancer sends
them again. What nginx's log says in the next releases.watch_seconds is held against the releases.watch_before seconds
before that release began. It takes nothing back by itself, and puts a line into the ledger.
  stack watch                          exit status 0: not worse, or too few requests to say; 1: worse, with the figures
  stack watch || stack rollback        what a release on a host by itself does
What was gone back to, scaled or made first is not watched: it has nothing to be held against. --json is that of
`stack release`.
"""
SCALE_HELP = """\
  stack scale --instances 3            three gunicorn masters on each port
  stack scale --ports 3 --dry-run      what a third port would do
  stack scale --reset                  back to what stack.yml says
It is a release of the commit that is current with other values: checked, rehearsed, rolled through the health gates,
taken back when it fails, recorded, and `stack rollback` goes back. nginx lets go of a port before its processes stop.
The values lie in scale.yml beside stack.yml and win over it; each release says so. --json is that of `stack release`.
"""
CONSOLE_HELP = """\
  stack console                        `flask shell`: Python with the application's context
  stack console --python               Python with the release's settings and packages, and no more
  echo 'print(app.name)' | stack console
On a host it runs as the stack's account, so call it as root. It writes where the application writes: take care.
"""
RESUME_HELP = """\
The next `stack release`, `rollback` or `restart` does this by itself before anything else.
Before `current` was about to move, the run is taken back to the release before; from there on it is finished.
  stack resume --dry-run               what was cut off, and what would be done
  stack resume --json                  {"verdict": "nothing|undone|done|failed", "message": ..., "changed": ..., ...}
"""


def add_commands(command: Command) -> None:
    """Add these commands to the command line of `stack`."""
    sub = command("build", run_build, "make the archive that hosts are released to, from a clean git tree")
    explain(sub, BUILD_HELP)
    sub.add_argument("--output", type=Path, metavar="FILE", help="where to write it")
    sub.add_argument("--allow-dirty", action="store_true", help="take the working tree as it is, and mark the release")
    add_json(sub)

    sub = command("wheels", run_wheels, "build the wheels that need a compiler, for hosts that have none")
    explain(sub, WHEELS_HELP)
    sub.add_argument("folder", type=Path, help="where to put them")
    sub.add_argument("--python", default="", help="the interpreter they are for; python.interpreter when not given")
    add_json(sub)

    sub = command("release", run_release, "bring this host to a release, losing no request")
    explain(sub, RELEASE_HELP)
    sub.add_argument("source", type=Path, help="an unpacked archive, or the archive itself")
    sub.add_argument("--wheels", type=Path, metavar="DIR", help="wheels made by `stack wheels`")
    sub.add_argument(
        "--migrate", action=argparse.BooleanOptionalAction, default=True, help="migrate the database (once for a fleet)"
    )
    sub.add_argument(
        "--contract", action="store_true", help="run contract migrations too, which the release before holds as well"
    )
    sub.add_argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="watch nginx's log at the end; --no-watch: no requests come yet, `stack watch` is called when they do",
    )
    add_common(sub)

    sub = command("watch", run_watch, "say whether the current release answers worse than what was before it")
    explain(sub, WATCH_HELP)
    add_common(sub)

    sub = command("rollback", run_rollback, "bring this host back to a release it has; migrations stay")
    sub.add_argument("id", nargs="?", default="", help="which; the one before the current when not given")
    add_common(sub)

    sub = command("restart", run_restart, "restart the processes one at a time, losing no request")
    sub.add_argument("names", nargs="*", help="processes or groups; all when none is named")
    sub.add_argument(
        "--old-secrets", action="store_true", help="of these, only what started before a secret was last changed"
    )
    add_common(sub)

    sub = command("resume", run_resume, "undo or finish a release that was cut off, by a kill or a power cut")
    explain(sub, RESUME_HELP)
    sub.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_common(sub)

    sub = command("scale", run_scale, "change the number of ports or instances, losing no request")
    explain(sub, SCALE_HELP)
    number = _above_zero
    sub.add_argument("--ports", type=number, metavar="N", help="so many ports: those there are first, then free ones")
    sub.add_argument("--instances", type=number, metavar="N", help="so many instances on each port")
    sub.add_argument("--reset", action="store_true", help="go back to what stack.yml says")
    sub.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    add_common(sub)

    sub = command("releases", run_releases, "list the releases on this host")
    add_json(sub)

    sub = command(
        "ledger", run_ledger, "print what was done to this host's releases, and whether the record was changed"
    )
    sub.add_argument("action", nargs="?", choices=["show", "verify"], default="show", help="verify prints no entries")
    add_json(sub)

    sub = command("exec", run_exec, "run a command in the current release's environment, as the stack's account")
    sub.add_argument("arguments", nargs="+", metavar="CMD", help="after --, e.g. stack exec -- flask db current")
    add_account(sub)

    sub = command(
        "console", run_console, "open a shell with the application loaded, in the current release's environment"
    )
    explain(sub, CONSOLE_HELP)
    sub.add_argument("--python", action="store_true", help="a plain Python, nothing loaded")
    add_account(sub)


def _above_zero(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def run_build(args: argparse.Namespace) -> int:
    timeout = loader(args)(None)["releases"]["hook_timeout"]
    try:
        built = building.build_with_hooks(TREE, args.output, allow_dirty=args.allow_dirty, timeout=timeout, say=say)
    except building.BuildError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(built)) if args.json else f"{built.path}\n  release {built.id}, sha256 {built.sha256}")
    return 0


def run_wheels(args: argparse.Namespace) -> int:
    def work() -> int:
        stack = loader(args)(None)
        python = args.python or venvs.interpreter(stack)
        files = (TREE / "requirements" / "mysql.txt", TREE / "requirements" / "build.txt")
        made = wheels.build(*files, args.folder, python=python, environment=venvs.environment(stack))
        print(json.dumps({"folder": str(args.folder), "wheels": made}) if args.json else "\n".join(made))
        return 0

    return reporting(args, work)


def run_release(args: argparse.Namespace) -> int:
    def work() -> int:
        load = loader(args)
        host = Host.of(load(None), args.account)
        if args.source.is_file():
            return _release_archive(args, host)
        source = Path(os.path.abspath(args.source))
        wheels_folder = args.wheels and Path(os.path.abspath(args.wheels))
        options = Options(wheels_folder, args.migrate, args.contract, args.wait, args.watch)
        outcome = engine.release(host, source, load, options, say)
        return print_outcome(args, replace(outcome, notes=_kept(args)))

    return reporting(args, work)


def _kept(args: argparse.Namespace) -> list[str]:
    """What `stack scale` asked for and the release has kept."""
    config = config_of(args)
    if config is None:
        return []
    return scaling.kept(loader(args, scaled=[])(None), loader(args)(None), config.with_name(SCALE_FILE))


def _release_archive(args: argparse.Namespace, host: Host) -> int:
    """Unpack an archive where its engine can run, and become that engine."""
    folder = incoming.unpack(host, args.source)
    rest = sys.argv[1:]
    rest[rest.index(str(args.source))] = str(folder)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    os.execve(sys.executable, [sys.executable, "-P", "-m", "deploy.cli", *rest], environment)  # noqa: S606


def run_watch(args: argparse.Namespace) -> int:
    def work() -> int:
        stack = loader(args)(None)
        outcome = engine.watch(Host.of(stack, args.account), stack, Options(wait=args.wait), say)
        if args.json:
            return print_outcome(args, outcome)
        print(f"{outcome.release}: {'not worse than before' if outcome.steps else 'not watched'}")
        return 0

    return reporting(args, work)


def run_rollback(args: argparse.Namespace) -> int:
    def work() -> int:
        stack = loader(args)(None)
        host = Host.of(stack, args.account)
        outcome = engine.rollback(host, stack, args.id, Options(wait=args.wait), say)
        return print_outcome(
            args, replace(outcome, notes=scaling.awaited(status.values_of_current(host) or stack, stack))
        )

    return reporting(args, work)


def run_restart(args: argparse.Namespace) -> int:
    def work() -> int:
        host = Host.of(loader(args)(None), args.account)
        current = tree.open_release(host, host.pointed(host.current))
        names = args.names
        if args.old_secrets:
            old = instances.with_old_secrets(current.stack)
            names = [process["name"] for process in old if not names or {process["name"], process["group"]} & {*names}]
            if not names:
                return print_outcome(args, Outcome(release=current.name, previous=current.name))
        return print_outcome(args, engine.restart(host, current.stack, names, Options(wait=args.wait), say))

    return reporting(args, work)


def run_resume(args: argparse.Namespace) -> int:
    def work() -> int:
        host = Host.of(loader(args)(None), args.account)
        resumed = resume.resume(host, say, wait=args.wait, dry_run=args.dry_run)
        fields = {"verdict": resumed.verdict, "message": resumed.message, **asdict(resumed.outcome)}
        print(json.dumps(fields) if args.json else resumed.message)
        return 0

    return reporting(args, work)


def run_scale(args: argparse.Namespace) -> int:
    def work() -> int:
        config = config_of(args)
        if config is None:
            raise StackError(
                ["--config is missing: a host has /etc/NAME/stack.yml; a checkout: stack up --set api.KEY="]
            )
        path = config.with_name(SCALE_FILE)
        base = loader(args, scaled=[])(None)
        now = base if args.reset else loader(args)(None)
        values = {} if args.reset else scaling.wanted(base, now, args.ports, args.instances)
        load_scaled = loader(args, scaled=[Layer("stack scale", {"api": values})] if values else [])
        then, host = load_scaled(None), Host.of(base, args.account)
        running = status.values_of_current(host) or now
        words = scaling.changes(running, then)
        if args.dry_run:
            print(
                json.dumps({"changed": bool(words), "changes": words}) if args.json else "\n".join(words or ["nothing"])
            )
            return 0
        outcome = scaling.scale(host, load_scaled, path, scaling.text_of(values), words, Options(wait=args.wait), say)
        return print_outcome(args, replace(outcome, notes=scaling.kept(base, then, path)))

    return reporting(args, work)


def run_releases(args: argparse.Namespace) -> int:
    def work() -> int:
        stack = loader(args)(None)
        rows = engine.listed(Host.of(stack))
        if args.json:
            print(json.dumps(rows))
            return 0
        for row in rows:
            mark = "current " if row["current"] else "previous" if row["previous"] else "        "
            print(f"{mark} {row['id']}  {row['version']}  {' '.join(row['processes'])}{_requests(row)}")
        _tell_of_maintenance(stack)
        return 0

    return reporting(args, work)


def _requests(row: Mapping[str, Any]) -> str:
    """What was counted, for people; nothing where nobody counted."""
    counted = row.get("requests")
    return f"  {counted['seen']} requests, {counted['failed']} failed" if counted else ""


def _tell_of_maintenance(stack: Mapping[str, Any]) -> None:
    if maintenance.is_on(stack):
        print(f"maintenance is {maintenance.describe(maintenance.state(stack))}")


def run_ledger(args: argparse.Namespace) -> int:
    def work() -> int:
        stack = loader(args)(None)
        found = ledger.read(Host.of(stack).ledger)
        if args.json:
            shown = {"entries": found.entries} if args.action == "show" else {}
            print(json.dumps({**shown, "head": found.head, "problems": found.problems}))
        else:
            for entry in found.entries if args.action == "show" else []:
                seconds = sum(step["seconds"] for step in entry["steps"])
                line = (
                    f"{entry['time']}  {entry['action']:<8} {entry['outcome']:<6} {entry['current']}  {seconds:.1f} s"
                )
                line += _requests(entry)
                print(f"{line}  by {entry['actor']}" + (f": {entry['message']}" if entry.get("message") else ""))
            print(f"{len(found.entries)} entries, newest hash {found.head}")
            _tell_of_maintenance(stack)
        for problem in found.problems:
            print(f"stack: the ledger was changed: {problem}", file=sys.stderr)
        return 1 if found.problems else 0

    return reporting(args, work)


def run_console(args: argparse.Namespace) -> int:
    args.arguments = ["python"] if args.python else ["flask", "shell"]
    return run_exec(args)


def run_exec(args: argparse.Namespace) -> int:
    if args.set:
        raise StackError(["--set: a command runs with the values that the stack was started with; set them there"])
    if not (args.config or os.environ.get("STACK_CONFIG") or args.profile == "host"):
        from deploy.cli import stack_of  # here: that module imports this one

        local.execute(stack_of(args, again=True), args.arguments)

    def work() -> int:
        host = Host.of(loader(args)(None), args.account)
        current = host.pointed(host.current)
        if not current:
            raise ReleaseError(f"there is no current release in {host.root}")
        host.execute(args.arguments, host.releases / current)
        return 1  # not reached: the process has become the command

    return reporting(args, work)
