"""Changes to files that a power cut leaves whole: on the disk under another name first, then renamed.

rename(2) is atomic for whoever looks, but after a power cut a name may be there without its content, or the old name
with it, unless the content was put on the disk before (fsync(2)) and the folder after.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # fcntl.h, linux/fs.h


def sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk.

    Raises:
        OSError: the disk says that it could not.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Put a whole tree on the disk: with all of its file system (syncfs(2)), as thousands of files are slow one by one.

    Raises:
        OSError: the disk says that it could not.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give what is on the disk its name, in the same folder, in place of a file of that name."""
    os.replace(source, target)
    sync_folder(target.parent)


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two folders that lie in one, in one step where the file system can (renameat2(2)).

    Elsewhere it is two steps, and `other` is missing between them.
    """
    names = (os.fsencode(one), os.fsencode(other))
    if ctypes.CDLL(None, use_errno=True).renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
        aside = other.with_name(f".{other.name}.old")
        os.rename(other, aside)
        os.rename(one, other)
        os.rename(aside, one)
    sync_folder(other.parent)


def link(path: Path, target: Path) -> None:
    """Point a symbolic link somewhere, replacing another one by rename(2)."""
    if path.is_symlink() and Path(os.readlink(path)) == target:
        return
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    rename(temporary, path)


def remove(path: Path) -> None:
    """Take a file or link away; one that is not there is gone already."""
    if path.is_symlink() or path.exists():
        path.unlink()
        sync_folder(path.parent)
