"""A backup of the database before migrations change it: whole, verified, and closed to everybody else.

MariaDB and MySQL are asked by their own program for one consistent state (`--single-transaction`), so that requests go
on meanwhile. The password is in no command line: the program reads it from a file that only the account can read.
SQLite is copied through its own interface (https://www.sqlite.org/backup.html), not as a file.
"""

from __future__ import annotations

import gzip
import os
import pwd
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from deploy.derive import database_url
from deploy.layout import Host
from deploy.steps import ReleaseError
from deploy.tree import Release

FOLDER = "backups"
DUMP = ("mariadb-dump", "mysqldump")
CLIENT = ("mariadb", "mysql")
LAST_LINE = b"-- Dump completed"
SIZE = "SELECT COALESCE(SUM(data_length), 0) FROM information_schema.tables WHERE table_schema = DATABASE()"
BLOCK = 1 << 20
SUFFIXES, PART = (".sql.gz", ".sqlite3"), ".part"


def back_up(host: Host, release: Release) -> Path:
    """Write a backup to `<paths.data>/backups/<time>-<release>` and verify it; then let go of the oldest ones.

    Args:
        host: whose account asks the database.
        release: whose values say where the database is; the file is named for it.

    Raises:
        ReleaseError: there is no room, no program, or the backup is not whole. Nothing is left of it.
    """
    stack = release.stack
    on_sqlite = stack["database"]["engine"] == "sqlite"
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{release.name}{SUFFIXES[on_sqlite]}"
    path = Path(stack["paths"]["data"], FOLDER)
    try:
        with _folder(path) as folder:
            for left in [entry for entry in os.listdir(folder) if entry.endswith(PART)]:
                os.unlink(left, dir_fd=folder)  # of a run that was cut off
            # The account may write in the folder around this one: what is opened by its number cannot be swapped.
            part = Path(f"/proc/self/fd/{folder}", name + PART)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            try:
                _copy(host, stack, part) if on_sqlite else _dump(host, stack, part)
                _sync(part)
                os.rename(part, part.with_name(name))
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            os.fsync(folder)
            for old in sorted(entry for entry in os.listdir(folder) if entry.endswith(SUFFIXES))[: -_kept(stack)]:
                os.unlink(old, dir_fd=folder)
    except (OSError, sqlite3.Error) as error:
        raise ReleaseError(f"the database cannot be backed up to {path}: {error}; nothing was changed") from error
    return path / name


def _kept(stack: Mapping[str, Any]) -> int:
    return int(stack["releases"]["backups"])


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """The backups' folder by its number; made when it is not there."""
    if not os.path.lexists(path):
        path.mkdir(mode=0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise ReleaseError(f"{path} belongs to somebody else: move it away, and the release makes its own")
        os.fchmod(descriptor, 0o700)
        yield descriptor
    finally:
        os.close(descriptor)


def room(path: Path, needed: int) -> None:
    """Refuse when the folder of a file has fewer bytes free than are needed.

    Raises:
        ReleaseError: with both numbers.
    """
    found = os.statvfs(path.parent)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise ReleaseError(
            f"the backup needs up to {-(-needed >> 20)} MiB and paths.data has {free >> 20} MiB free: free some, or "
            "lower releases.backups; nothing was changed"
        )


def _copy(host: Host, stack: Mapping[str, Any], part: Path) -> None:
    file = Path(database_url(stack).removeprefix("sqlite:///"))
    room(part, file.stat().st_size)
    with closing(sqlite3.connect(file, timeout=30)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
        problem = target.execute("PRAGMA quick_check").fetchone()[0]
    if problem != "ok":
        raise ReleaseError(f"the backup is not whole: {problem}; nothing was changed")


def _dump(host: Host, stack: Mapping[str, Any], part: Path) -> None:
    dump, client = (_program(names, stack) for names in (DUMP, CLIENT))
    with _options(host, stack) as options:
        database = str(stack["database"]["name"])
        asked = subprocess.run(
            [client, f"--defaults-file={options}", "--batch", "--skip-column-names", f"--execute={SIZE}", database],
            **host.identity(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode:
            raise ReleaseError("the database cannot be asked for its size", log=asked.stderr.splitlines()[-20:])
        room(part, int(asked.stdout))
        arguments = [
            "--single-transaction",
            "--quick",
            "--hex-blob",
            "--no-tablespaces",
            "--default-character-set=utf8mb4",
        ]
        with (options.parent / "errors").open("wb") as errors, part.open("wb") as file:
            process = subprocess.Popen(
                [dump, f"--defaults-file={options}", *arguments, database],
                **host.identity(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            try:
                # A release waits for this: the quickest level is small enough.
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=1) as packed:
                    shutil.copyfileobj(cast(IO[bytes], process.stdout), packed, BLOCK)
                status = process.wait()
            finally:
                process.kill()
                process.wait()
        said = (options.parent / "errors").read_text("utf-8", "replace").splitlines()
        if status:
            raise ReleaseError(f"{dump} ended with status {status}; nothing was changed", log=said[-20:])
    with part.open("rb") as file:
        _verify(file, dump)


def _verify(file: IO[bytes], dump: str) -> None:
    """Read a dump again: its checksum must be right, and it must end as a whole one does."""
    end = b""
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            while block := packed.read(BLOCK):
                end = (end + block)[-1024:]
    except (EOFError, gzip.BadGzipFile) as error:
        raise ReleaseError(f"the backup cannot be read again: {error}; nothing was changed") from error
    if not end.rstrip().rpartition(b"\n")[2].startswith(LAST_LINE):
        raise ReleaseError(f"the backup is not whole: {dump} did not write its last line; nothing was changed")


def _program(names: tuple[str, ...], stack: Mapping[str, Any]) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise ReleaseError(
        f"{' and '.join(names)} are not installed, and the database is backed up by one of them before migrations: "
        "provision the host (provision.yml), or install the client of MariaDB or MySQL"
    )


@contextmanager
def _options(host: Host, stack: Mapping[str, Any]) -> Iterator[Path]:
    """A file that only the account can read, with what the programs must know."""
    database = stack["database"]
    # A second line names the account where it is another one, as the application reads it.
    lines = Path(stack["paths"]["secrets"], "database_password").read_text("utf-8").strip().split("\n")
    password, user = (*lines, database["user"])[:2]
    values = {"user": user, "password": password, "host": database["host"], "port": database["port"]}
    options = [f'{key}="{_escaped(str(value))}"\n' for key, value in values.items()]
    with host.own_folder("backup") as folder:
        path = folder / "options.cnf"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(["[client]\n", *options])
        if host.account:
            entry = pwd.getpwnam(host.account)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        yield path


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
