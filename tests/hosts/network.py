"""The bridge of the test hosts, their way out through this machine, and cutting it."""

import json
from ipaddress import IPv4Address
from pathlib import Path

from tests.hosts.settings import BRIDGE, GATEWAY, NETWORK, TABLE, run_folder
from tests.hosts.shell import HarnessError, run

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")

# `gone` answers with an ICMP error (of the kind that UDP sockets hear too); `silent` drops, as many firewalls do.
_RULES = f"""
table ip {TABLE} {{
    set gone {{ type ipv4_addr; }}
    set silent {{ type ipv4_addr; }}
    chain outward {{
        type filter hook forward priority filter; policy accept;
        # Where bridged packets pass here as well (bridge-nf-call-iptables), hosts still reach each other.
        iifname "{BRIDGE}" ip daddr != {NETWORK} ip saddr @silent drop
        iifname "{BRIDGE}" ip daddr != {NETWORK} ip saddr @gone reject with icmp type port-unreachable
    }}
    chain translate {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {NETWORK} ip daddr != {NETWORK} masquerade
    }}
}}
"""


def uplink_mtu() -> int:
    """Largest packet of the device this machine's default route uses; 1500 without one.

    Hosts take it too: a router in between that loses "fragmentation needed" would stall their downloads.
    """
    for route in json.loads(run("ip", "-j", "route", "show", "default").out or "[]"):
        return int(Path(f"/sys/class/net/{route['dev']}/mtu").read_text())
    return 1500


def is_up() -> bool:
    """Whether the bridge is there."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def up() -> None:
    """Make bridge, translation and forwarding; what forwarding was before is written down first."""
    before = run_folder() / "network.json"
    if not before.exists():
        taken = [route["dst"] for route in json.loads(run("ip", "-j", "route", "show", "to", "root", str(NETWORK)).out)]
        if taken and not is_up():
            raise HarnessError(f"{NETWORK} is in use on this machine already: `ip route show {NETWORK}`")
        before.parent.mkdir(parents=True, exist_ok=True)
        before.write_text(json.dumps({"ip_forward": _FORWARD.read_text().strip()}))
    if not is_up():
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{GATEWAY}/{NETWORK.prefixlen}", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "mtu", str(uplink_mtu()), "up")
    if not run("nft", "list", "table", "ip", TABLE, check=False).ok:
        run("nft", "-f", "-", stdin=_RULES)
    _FORWARD.write_text("1")


def down() -> None:
    """Remove all of it and put forwarding back; nothing is wrong when it is gone already."""
    run("ip", "link", "del", BRIDGE, check=False)
    run("nft", "delete", "table", "ip", TABLE, check=False)
    before = run_folder() / "network.json"
    if before.exists():
        _FORWARD.write_text(json.loads(before.read_text())["ip_forward"])
        before.unlink()


def cut(address: IPv4Address, silently: bool = False) -> None:
    """Let a host reach nothing beyond the bridge: registries and name servers; hosts and this machine stay.

    Args:
        address: of the host.
        silently: drop instead of answering with an ICMP error; what hangs then hangs till its own timeout.
    """
    run("nft", "add", "element", "ip", TABLE, "silent" if silently else "gone", f"{{ {address} }}")


def mend(address: IPv4Address) -> None:
    """Undo `cut`."""
    for name in ("gone", "silent"):
        run("nft", "delete", "element", "ip", TABLE, name, f"{{ {address} }}", check=False)
