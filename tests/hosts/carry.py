"""What this machine needs to reach registries, carried into a throwaway host as the host's own configuration.

A host has no other way out than through this machine, so it meets the same proxy, the same certificate
authority and the same index. Nothing of it is written in the repository: all is read from this machine.
"""

import configparser
import io
import os
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

from tests.hosts.shell import run

_AUTHORITIES = Path("/usr/local/share/ca-certificates")
_PIP_KEYS = {"cert", "index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout"}
_APT_LINE = re.compile(r'^(Acquire::(?:Check-[\w-]+|Retries|(?:http|https)(?:::[^ ]*)?)) "(.*)";$')
_PROXY_NAMES = ("http_proxy", "https_proxy", "no_proxy")
HOST_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def certificate_authorities() -> dict[str, str]:
    """File name -> PEM of every authority this machine trusts beyond its distribution's."""
    if not _AUTHORITIES.is_dir():
        return {}
    return {file.name: file.read_text() for file in sorted(_AUTHORITIES.rglob("*.crt"))}


@cache
def pip_configuration() -> str:
    """An /etc/pip.conf with this machine's index, proxy and certificate bundle; empty when it has none.

    Indexes in folders of this machine are left out: a host cannot see them.
    """
    values: dict[str, str] = {}
    for line in run("python3", "-m", "pip", "config", "list", check=False).out.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in _PIP_KEYS:
            words = shlex.split(value)[0].split() if value else []
            kept = [word for word in words if not word.startswith(("file:", "/")) or name == "cert"]
            if kept:
                values[name] = " ".join(kept)
    if "cert" in values or certificate_authorities():
        values["cert"] = HOST_BUNDLE
    if not values:
        return ""
    parser = configparser.RawConfigParser()
    parser["global"] = values
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


@cache
def apt_configuration() -> str:
    """An apt.conf with this machine's proxy, retries and date checks; empty when it sets none."""
    if shutil.which("apt-config") is None:
        return ""
    lines = [_APT_LINE.match(line) for line in run("apt-config", "dump").out.splitlines()]
    return "".join(f'{match[1]} "{match[2]}";\n' for match in lines if match)


def environment() -> str:
    """Lines for /etc/environment: this machine's proxy."""
    names = [name for lower in _PROXY_NAMES for name in (lower, lower.upper())]
    return "".join(f"{name}={os.environ[name]}\n" for name in names if os.environ.get(name))
