"""Names, folders and addresses of the test hosts; every one is derived from stack.name in deploy/stack.yml."""

import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT: str = yaml.safe_load((CHECKOUT / "deploy" / "stack.yml").read_text())["stack"]["name"]

# RFC 2544 and RFC 6890 keep 198.18.0.0/15 for tests between networks: no real host answers there.
NETWORK = IPv4Network("198.18.0.0/24")
GATEWAY = IPv4Address("198.18.0.1")
DEBIAN_ADDRESSES = [NETWORK[number] for number in range(10, 100)]
EL_ADDRESSES = [NETWORK[number] for number in range(100, 200)]

BRIDGE = f"{PROJECT[:9]}-hosts"  # an interface name ends at 15 characters
TABLE = f"{PROJECT}_hosts".replace("-", "_")
CGROUP = f"{PROJECT}-hosts"

USER = "ops"
DEFAULT_SET = "main"


def cache_folder() -> Path:
    """Where root file systems and packages are kept between runs, outside the checkout."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / PROJECT / "hosts"


def run_folder() -> Path:
    """Where state and disks of running hosts lie; gone after the last `down`.

    Not below /run: that is memory, and a host's disk with a database grows to hundreds of megabytes.
    """
    return Path("/var/tmp") / f"{PROJECT}-hosts"


def inventory_folder(set_name: str) -> Path:
    """The inventory folder written for a set: `hosts` for the usual one, `hosts-<set>` for another."""
    suffix = "" if set_name == DEFAULT_SET else f"-{set_name}"
    return CHECKOUT / "ansible" / "inventories" / f"hosts{suffix}"
