"""Which addresses and URLs cloudeye may ask: the guard against server-side request forgery.

`judge_address` is the only place that decides about an address, `check_url` the only one that takes a URL
apart. Neither looks a name up: whoever connects judges the very address it connects to (see `probe`), so a name
that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}


class RefusedAddress(ValueError):
    """A URL or an address that cloudeye will not ask; `str()` is fit to be shown to the user.

    `code` is a short stable word for programs: bad_url, bad_scheme, bad_host, bad_port or refused_address.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# The IANA special-purpose registries (RFC 6890 and its updates), typed out because the answers of
# ipaddress.is_private and is_global changed between Python's patch releases. The first match decides.
#
# Never: an answer from here cannot be a website, or it holds the credentials of the machine asking.
_NEVER = {
    "169.254.169.254/32": "a cloud's metadata service",
    "169.254.170.2/32": "a cloud's metadata service",
    "169.254.170.23/32": "a cloud's metadata service",
    "100.100.100.200/32": "a cloud's metadata service",
    "168.63.129.16/32": "a cloud's metadata service",
    "192.0.0.192/32": "a cloud's metadata service",
    "0.0.0.0/8": "an unspecified address",
    "224.0.0.0/4": "a multicast address",
    "240.0.0.0/4": "a reserved address",
    "fd00:ec2::254/128": "a cloud's metadata service",
    "fd00:ec2::23/128": "a cloud's metadata service",
    "fd20:ce::254/128": "a cloud's metadata service",
    "::/128": "an unspecified address",
    "ff00::/8": "a multicast address",
    "fec0::/10": "a site-local address",  # deprecated, RFC 3879
    "2001::/32": "a Teredo address",  # RFC 4380: reaches the IPv4 address written inside it
    "2002::/16": "a 6to4 address",  # RFC 7526: deprecated; reaches the IPv4 address written inside it
    "100::/64": "a discarding address",  # RFC 6666
}
# Private: refused unless the caller allows private addresses.
_PRIVATE = {
    "127.0.0.0/8": "a loopback address",
    "10.0.0.0/8": "a private address",
    "172.16.0.0/12": "a private address",
    "192.168.0.0/16": "a private address",
    "169.254.0.0/16": "a link-local address",
    "100.64.0.0/10": "a carrier's shared address",  # RFC 6598
    "192.0.0.0/24": "a protocol assignment",
    "192.0.2.0/24": "an address for documentation",
    "198.51.100.0/24": "an address for documentation",
    "203.0.113.0/24": "an address for documentation",
    "192.88.99.0/24": "a 6to4 relay address",
    "198.18.0.0/15": "an address for benchmarks",
    "::1/128": "a loopback address",
    "fe80::/10": "a link-local address",
    "fc00::/7": "a private address",
    "2001:db8::/32": "an address for documentation",
    "3fff::/20": "an address for documentation",
    "2001::/23": "a protocol assignment",
    "64:ff9b:1::/48": "a local NAT64 address",
}


def _networks(table: dict[str, str], version: int) -> list[tuple[int, int, str]]:
    """The table's networks of one IP version as (network, mask, reason) integers: judged without objects."""
    found: list[tuple[int, int, str]] = []
    for text, reason in table.items():
        network: IPNetwork = ipaddress.ip_network(text)
        if network.version == version:
            found.append((int(network.network_address), int(network.netmask), reason))
    return found


_NEVER_BY_VERSION = {version: _networks(_NEVER, version) for version in (4, 6)}
_PRIVATE_BY_VERSION = {version: _networks(_PRIVATE, version) for version in (4, 6)}
_GLOBAL_UNICAST_6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, 6.1: marks an interface identifier that ends in an IPv4 address


def _judge_embedded(outer: ipaddress.IPv6Address, inner: ipaddress.IPv4Address, allow_private: bool) -> None:
    try:
        judge_address(inner, allow_private)
    except RefusedAddress as refused:
        raise RefusedAddress(refused.code, f"{outer} stands for {refused}") from None


def judge_address(address: str | IPAddress, allow_private: bool) -> None:
    """Raise RefusedAddress unless a probe may connect to `address`.

    Loopback, link-local, private and the other special-purpose ranges are refused unless `allow_private`;
    metadata services, multicast, reserved and unspecified addresses and the IPv6 transition forms always.
    An IPv6 address that stands for an IPv4 address (mapped, NAT64, ISATAP) is judged by that one.
    Source: the IANA IPv4 and IPv6 special-purpose address registries.
    """
    try:
        ip = ipaddress.ip_address(address) if isinstance(address, str) else address
    except ValueError:
        raise RefusedAddress("bad_host", f"{address!r} is not an IP address") from None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            raise RefusedAddress("refused_address", f"{ip} names a network interface")
        low = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.ipv4_mapped is not None or ip in _NAT64:
            _judge_embedded(ip, low, allow_private)
            return
        if int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
            _judge_embedded(ip, low, allow_private)
    value = int(ip)
    for network, mask, reason in _NEVER_BY_VERSION[ip.version]:
        if value & mask == network:
            raise RefusedAddress("refused_address", f"{ip} is {reason}")
    for network, mask, reason in _PRIVATE_BY_VERSION[ip.version]:
        if value & mask == network:
            if allow_private:
                return
            raise RefusedAddress("refused_address", f"{ip} is {reason}")
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _COMPATIBLE:  # after ::1 and ::, which lie inside it
            raise RefusedAddress("refused_address", f"{ip} is an IPv4-compatible address")
        if ip not in _GLOBAL_UNICAST_6:
            raise RefusedAddress("refused_address", f"{ip} is outside the global unicast range")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart, safe to send: every field is printable ASCII.

    `host` is a lower-case name in its DNS form or a canonical IP address without brackets; `address` is set
    when the host is an address itself; `path` is what stands in the request line, query included.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: IPAddress | None

    @property
    def authority(self) -> str:
        """The Host header's value: without the scheme's default port, IPv6 in brackets (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL in its normal form."""
        return f"{self.scheme}://{self.authority}{self.path}"


_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
# A last label that is a number makes the whole host an IPv4 address to inet_aton(3) and to browsers, in
# decimal, octal or hexadecimal and in one to four parts (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_CANONICAL_IPV4 = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})\Z")
_SAFE = "%!$&'()*+,;=:@/?-._~[]|"


def _host(raw: str) -> tuple[str, IPAddress | None]:
    """The host of a URL as a DNS name or an address; RefusedAddress for what is neither."""
    if raw.startswith("["):
        try:
            six = ipaddress.IPv6Address(raw[1:-1])
        except ValueError:
            raise RefusedAddress("bad_host", f"{raw} is not an IPv6 address") from None
        if six.scope_id is not None:
            raise RefusedAddress("bad_host", f"{raw} names a network interface")
        return str(six), six
    host = raw
    if not host.isascii():
        try:
            # Mapped as browsers do (UTS 46), so that full-width digits and dots show what they stand for
            # before the host is judged.
            host = idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise RefusedAddress("bad_host", "the host is not a valid internationalised name") from None
    host = host.lower()
    if host.endswith("."):
        host = host[:-1]
    labels = host.split(".")
    if _NUMBER.match(labels[-1]):
        if not _CANONICAL_IPV4.match(host):
            raise RefusedAddress("bad_host", f"{host} is an IPv4 address in disguise: write it as four decimal numbers")
        try:
            four = ipaddress.IPv4Address(host)
        except ValueError:
            raise RefusedAddress("bad_host", f"{host} is not an IPv4 address") from None
        return str(four), four
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise RefusedAddress("bad_host", f"{host[:80]!r} is not a host name")
    return host, None


def check_url(url: str, allow_private: bool) -> Target:
    """Take `url` apart, or raise RefusedAddress; looks no name up and touches no network.

    Refused: schemes other than http and https, user and password, control characters, blanks and backslashes,
    port 0, hosts that are no host name, IPv4 written in any form but four decimal numbers, and literal
    addresses (and the name localhost, RFC 6761) that `judge_address` refuses. A name that is let through here
    may still resolve to a refused address: that shows when it is probed.
    """
    if len(url) > MAX_URL:
        raise RefusedAddress("bad_url", f"the URL is longer than {MAX_URL} characters")
    # Before urlsplit: it silently drops tabs and newlines, so what it shows is not what was given.
    if any(char <= " " or char == "\\" or "\x7f" <= char <= "\xa0" or not char.isprintable() for char in url):
        raise RefusedAddress("bad_url", "the URL holds blanks, backslashes or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedAddress("bad_url", f"the URL cannot be read: {error}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise RefusedAddress("bad_scheme", "the URL must begin with http:// or https://")
    if "@" in parts.netloc:
        raise RefusedAddress("bad_url", "the URL must not hold a user or a password")
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]%]+)(:[0-9]{1,5})?", parts.netloc)
    if match is None:
        raise RefusedAddress("bad_host", "the URL has no valid host")
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    if not 1 <= port <= 65535:
        raise RefusedAddress("bad_port", "the port must be between 1 and 65535")
    host, address = _host(match.group(1))
    if address is not None:
        judge_address(address, allow_private)
    elif (host == "localhost" or host.endswith(".localhost")) and not allow_private:
        raise RefusedAddress("refused_address", f"{host} is a loopback address")
    path = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE)
    return Target(parts.scheme, host, port, path, address)
