"""Name look-ups that wait in gevent's hub: any number at once, each with its own timeout.

gevent's default resolver hands every look-up to ten threads, so ten slow names hold up all others. This one sends
its own questions over gevent sockets and takes only the message format from dnspython. It honours /etc/hosts and
/etc/resolv.conf (read again when they change), asks each name once however many wait for it, and keeps answers
in a small cache for as long as they say.
"""

from __future__ import annotations

import ipaddress
import os
import socket as names
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import gevent
from gevent import socket

IPV4 = names.AF_INET
IPV6 = names.AF_INET6
_TYPES: dict[int, dns.rdatatype.RdataType] = {IPV4: dns.rdatatype.A, IPV6: dns.rdatatype.AAAA}

# A UDP answer of this size is not fragmented on common paths; what is larger comes over TCP (DNS flag day 2020).
_EDNS_PAYLOAD = 1232
# Addresses kept of one answer: a hostile name may carry thousands.
_MAX_ADDRESSES = 8
# Seconds between two looks at whether the files changed.
_FILES_CHECKED_EVERY = 5.0


class LookupFailed(Exception):
    """A name without a usable answer. `code` is dns_not_found, dns_timeout or dns_failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a question came to; an error is kept like an answer, so that it is cached and shared alike."""

    addresses: tuple[str, ...]
    error: tuple[str, str] | None
    until: float  # on the monotonic clock


@dataclass(frozen=True, slots=True)
class SystemFiles:
    """What /etc/hosts and /etc/resolv.conf say."""

    hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    nameservers: tuple[tuple[str, int], ...] = (("127.0.0.1", 53),)  # resolv.conf(5): the default
    search: tuple[str, ...] = ()
    timeout: float = 5.0
    attempts: int = 2


def read_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Names and their addresses from the text of a hosts(5) file; lines that are none are skipped."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = str(ipaddress.ip_address(words[0]))
        except ValueError:
            continue
        for name in words[1:]:
            known = found.setdefault(name.lower().rstrip("."), [])
            if address not in known:
                known.append(address)
    return {name: tuple(addresses) for name, addresses in found.items()}


def read_resolv_conf(text: str, hosts: dict[str, tuple[str, ...]]) -> SystemFiles:
    """The settings of a resolv.conf(5) file that matter here: nameserver, search, domain, timeout, attempts."""
    servers: list[tuple[str, int]] = []
    search: tuple[str, ...] = ()
    timeout, attempts = 5.0, 2
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue
            servers.append((words[1], 53))
        elif words[0] in ("search", "domain"):
            search = tuple(word.strip(".").lower() for word in words[1:7] if word.strip("."))
        elif words[0] == "options":
            for option in words[1:]:
                key, _, value = option.partition(":")
                if value.isdigit() and key == "timeout":
                    timeout = min(max(float(value), 1.0), 30.0)
                elif value.isdigit() and key == "attempts":
                    attempts = min(max(int(value), 1), 5)
    return SystemFiles(hosts, tuple(servers[:3]) or SystemFiles().nameservers, search, timeout, attempts)


class Resolver:
    """Looks names up for one process; safe to be used by any number of greenlets at once.

    Arguments:
        timeout: seconds for one look-up, all servers and tries together.
        nameservers: (address, port) pairs instead of those in resolv.conf.
        hosts_path, resolv_path: the system's files.
        cache_size: answers kept at most; the longest unused go first.
        max_ttl, min_ttl, negative_ttl: seconds an answer, and a failure, is kept at most and at least.
        clock: seconds on a monotonic clock.
    """

    def __init__(
        self,
        timeout: float = 5.0,
        *,
        nameservers: tuple[tuple[str, int], ...] | None = None,
        hosts_path: str = "/etc/hosts",
        resolv_path: str = "/etc/resolv.conf",
        cache_size: int = 20_000,
        max_ttl: float = 300.0,
        min_ttl: float = 1.0,
        negative_ttl: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeout = timeout
        self._nameservers = nameservers
        self._paths = (hosts_path, resolv_path)
        self._cache_size = cache_size
        self._max_ttl, self._min_ttl, self._negative_ttl = max_ttl, min_ttl, negative_ttl
        self._clock = clock
        self._cache: OrderedDict[tuple[str, int], _Answer] = OrderedDict()
        self._asked: dict[tuple[str, int], gevent.Greenlet[[tuple[str, int], SystemFiles], _Answer]] = {}
        self._files = SystemFiles()
        self._files_seen: tuple[object, ...] = ()
        self._files_next = -1.0
        self.questions = 0  # asked of a server so far, for measurements

    def lookup(self, host: str, family: int) -> tuple[str, ...]:
        """The addresses of `host` (a DNS name in ASCII) in one family, IPV4 or IPV6; empty if it has none there.

        Raises LookupFailed when the name does not exist or no server answered in time. The addresses are not
        judged: `netguard.judge_address` is for whoever connects.
        """
        files = self._current_files()
        local = files.hosts.get(host)
        if local is not None:
            # A name in /etc/hosts is answered from there alone (nsswitch.conf's "files dns").
            return tuple(a for a in local if (":" in a) == (family == IPV6))
        key = (host, family)
        answer = self._cache.get(key)
        if answer is not None and answer.until > self._clock():
            self._cache.move_to_end(key)
        else:
            asked = self._asked.get(key)
            if asked is None:
                # In a greenlet of its own: whoever asked first may be killed while others wait for the same name.
                asked = self._asked[key] = gevent.spawn(self._ask, key, files)
            answer = asked.get()
        if answer.error is not None:
            raise LookupFailed(*answer.error)
        return answer.addresses

    def _current_files(self) -> SystemFiles:
        now = self._clock()
        if now >= self._files_next:
            self._files_next = now + _FILES_CHECKED_EVERY
            seen = tuple(_stamp(path) for path in self._paths)
            if seen != self._files_seen:
                self._files_seen = seen
                hosts = read_hosts(_read(self._paths[0]))
                self._files = read_resolv_conf(_read(self._paths[1]), hosts)
                self._cache.clear()
        return self._files

    def _ask(self, key: tuple[str, int], files: SystemFiles) -> _Answer:
        host, family = key
        try:
            answer = self._question(host, family, files)
        except Exception as error:  # an answer for those who wait; never a traceback on the hub
            answer = self._failure("dns_failed", f"the look-up of {host} failed: {error}")
        finally:
            del self._asked[key]
        self._cache[key] = answer
        self._cache.move_to_end(key)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return answer

    def _failure(self, code: str, text: str) -> _Answer:
        return _Answer((), (code, text), self._clock() + self._negative_ttl)

    def _question(self, host: str, family: int, files: SystemFiles) -> _Answer:
        # A name with a dot is asked for as it stands; a site is never looked for below the search domains too,
        # where somebody else might answer for it.
        candidates = [host] if "." in host or not files.search else [f"{host}.{zone}" for zone in files.search]
        deadline = self._clock() + self.timeout
        answer = self._failure("dns_not_found", f"{host} does not exist")
        for name in candidates:
            answer = self._ask_servers(name, family, files, deadline)
            if answer.error is None or answer.error[0] != "dns_not_found":
                break
        return answer

    def _ask_servers(self, name: str, family: int, files: SystemFiles, deadline: float) -> _Answer:
        try:
            query = dns.message.make_query(name, _TYPES[family], use_edns=0, payload=_EDNS_PAYLOAD)
        except dns.exception.DNSException as error:
            return self._failure("dns_not_found", f"{name} is not a name: {error}")
        servers = self._nameservers or files.nameservers
        refusal = ""
        for _ in range(files.attempts):
            for server in servers:
                wait = min(files.timeout, deadline - self._clock())
                if wait <= 0:
                    break
                self.questions += 1
                try:
                    response = self._exchange(query, server, wait)
                except (OSError, dns.exception.DNSException) as error:  # includes socket.timeout
                    if not isinstance(error, TimeoutError):
                        refusal = f"{server[0]} answered with an error: {error}"
                    continue
                code = response.rcode()
                if code == dns.rcode.NXDOMAIN:
                    return self._failure("dns_not_found", f"{name} does not exist")
                if code == dns.rcode.NOERROR:
                    return self._addresses(response, family)
                refusal = f"{server[0]} answered {dns.rcode.to_text(code)}"
        if refusal:
            return self._failure("dns_failed", f"no name server could answer for {name}: {refusal}")
        return self._failure("dns_timeout", f"no name server answered for {name} within {self.timeout:g} s")

    def _addresses(self, response: dns.message.Message, family: int) -> _Answer:
        if not isinstance(response, dns.message.QueryMessage):
            raise OSError("an answer of another kind")
        chain = response.resolve_chaining()
        if chain.answer is None:
            return _Answer((), None, self._clock() + self._negative_ttl)
        ttl = min(max(float(chain.minimum_ttl), self._min_ttl), self._max_ttl)
        addresses = tuple(str(item) for item in list(chain.answer)[:_MAX_ADDRESSES])
        return _Answer(addresses, None, self._clock() + ttl)

    def _exchange(self, query: dns.message.Message, server: tuple[str, int], wait: float) -> dns.message.Message:
        """Ask one server, over UDP and, when the answer is cut short, over TCP; TimeoutError after `wait` s."""
        family = IPV6 if ":" in server[0] else IPV4
        wire = query.to_wire()
        with gevent.Timeout(wait, TimeoutError()):
            # A connected socket takes datagrams from this server alone, and has a random port of its own.
            with socket.socket(family, names.SOCK_DGRAM) as udp:
                udp.connect(server)
                udp.send(wire)
                while True:
                    response = _parse(udp.recv(65535), query)
                    if response is not None:
                        break
            if not response.flags & dns.flags.TC:
                return response
            with socket.socket(family, names.SOCK_STREAM) as tcp:
                tcp.connect(server)
                tcp.sendall(struct.pack("!H", len(wire)) + wire)
                size = struct.unpack("!H", _exactly(tcp, 2))[0]
                response = _parse(_exactly(tcp, size), query)
                if response is None:
                    raise OSError("an answer over TCP to another question")
                return response


def _parse(wire: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """The answer to `query`, or None for a datagram that is none: somebody may send forged ones."""
    try:
        response = dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    return response if query.is_response(response) else None


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise OSError("the name server closed the connection early")
        data += more
    return data


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
