"""Archives given to a host by hand: unpacked where their own engine can run, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from deploy import durable, manifest
from deploy.layout import Host
from deploy.steps import ReleaseError


def unpack(host: Host, archive: Path) -> Path:
    """Unpack an archive of `stack build` into the host's folder for them; return the folder of its release.

    A folder that holds the same already is left alone: an engine may be running from it.

    Raises:
        ReleaseError: when it is no such archive, was damaged on its way, or there is no room for it.
    """
    staging = host.incoming / f".{os.getpid()}.new"
    try:
        host.incoming.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            return _unpack(host, archive, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except manifest.ManifestError as error:
        raise ReleaseError(f"{archive} is not whole:\n{error}") from error
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, ValueError) as error:
        raise ReleaseError(f"{archive} cannot be unpacked: {error}") from error


def _unpack(host: Host, archive: Path, staging: Path) -> Path:
    with tarfile.open(archive, "r:gz") as tar:
        member = tar.extractfile(manifest.NAME)
        release = json.loads(member.read())["id"] if member else ""
        if not manifest.ID.fullmatch(str(release)):
            raise ReleaseError(f"{archive} is no archive of `stack build`")
        staging.mkdir(mode=0o755)
        tar.extractall(staging, filter="data")
        # tarfile stops at the last file; gzip's own checksum lies behind it
        while tar.fileobj and tar.fileobj.read(1 << 20):
            pass
    found = manifest.verify(staging)
    folder = host.incoming / str(release)
    try:
        same = manifest.verify(folder) == found
    except manifest.ManifestError:
        same = False
    if not same:
        durable.sync_tree(staging)
        shutil.rmtree(folder, ignore_errors=True)
        durable.rename(staging, folder)
    return folder
