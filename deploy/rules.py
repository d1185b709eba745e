"""What must hold between the values of a stack: ranges, ports, names and inequalities."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from deploy.derive import connections

UNIX_SOCKET_LIMIT = 107  # bytes, without the final NUL (unix(7))

CHOICES = {
    "stack.environment": ("production", "staging", "local", "test"),
    "api.worker_class": ("gevent", "gthread", "sync"),
    "api.loglevel": ("debug", "info", "warning", "error"),
    "nginx.http2": ("listen", "directive", "none"),
    "nginx.started_by": ("systemd", "stack"),
    "log.rotate": ("daily", "size", "stream"),
    "log.access": ("port", "process", "none"),
    "mail.security": ("none", "starttls", "tls"),
    "database.engine": ("mysql", "sqlite"),
}

# Numbers that may be zero; each other number must be above it.
MAY_BE_ZERO = {
    "api.max_requests",
    "nginx.rate",
    "nginx.rate_burst",
    "nginx.log_flush",
    "nginx.hsts_seconds",
    "database.pool_overflow",
    "database.max_connections",
    "sync.max_redirects",
    "fleet.allow_missing",
    "releases.watch_seconds",
}

FRACTIONS = {"sync.poll_seconds", "database.pool_wait", "releases.watch_errors", "releases.watch_slower"}

# (the smaller, the larger, why)
INEQUALITIES = (
    ("timeouts.graceful", "timeouts.stopwait", "gunicorn must end by itself before supervisor kills it"),
    ("timeouts.upstream_keepalive", "timeouts.graceful", "nginx must let go of idle connections first"),
    ("timeouts.upstream_keepalive", "timeouts.keepalive", "nginx must let go of idle connections first"),
    ("timeouts.startsecs", "timeouts.health", "a process cannot be healthy before it counts as running"),
    ("sync.total_timeout", "timeouts.stopwait", "a stopping sync ends the probes under way"),
    ("sync.connect_timeout", "sync.total_timeout", "a probe's parts end before the whole"),
)

# Names of secrets that are spoken for.
OWN_SECRETS = {
    "secret_key",
    "secret_key_next",
    "secret_key_previous",
    "proof_key",
    "database_password",
    "database_password_next",
    "admin_password",
    "mail_password",
    "oidc_client_secret",
    "notify_secret",
}

ALIAS = re.compile(r"(/[\w.-]+)+=(/[\w.-]+)+")
PATH = re.compile(r"(/[\w.-]+)+")
CACHED = re.compile(r"(/[\w.-]+)+/?")
ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")
ATTEMPTS = re.compile(r"[1-9][0-9]* per ([1-9][0-9]* )?(second|minute|hour|day)s?")

# What separates or ends a value in nginx's and supervisor's files.
UNSAFE = re.compile(r"[\x00-\x1f;{}\"'`\\$]")


def broken_rules(stack: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each rule that the merged values break; none when all hold."""
    return [
        problem
        for rule in (
            _names,
            _smoke,
            _application,
            _secrets,
            _strings,
            _numbers,
            _choices,
            _ports,
            _networks,
            _inequalities,
            _certificate,
            _paths,
            _pools,
            _logs,
            _cached,
            _maintenance,
        )
        for problem in rule(stack)
    ]


def value_of(stack: Mapping[str, Any], dotted: str) -> Any:
    """Look a dotted key up: `value_of(stack, "nginx.http_port")`."""
    value: Any = stack
    for part in dotted.split("."):
        value = value[part]
    return value


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each dotted key with its value; lists are leaves."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _names(stack: Mapping[str, Any]) -> Iterator[str]:
    name = stack["stack"]["name"]
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,23}", name):
        yield f"stack.name is {name!r}: it must be 2 to 24 of a-z, 0-9 and -, a letter first"
    if not re.fullmatch(r"[A-Za-z_]\w*", stack["app"]["module"]):
        yield f"app.module is {stack['app']['module']!r}: it must be the name of a Python package"
    for key in stack["app"]["settings"]:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", str(key)):
            yield f"app.settings.{key}: a setting's name is made of a-z, 0-9 and _"


def _smoke(stack: Mapping[str, Any]) -> Iterator[str]:
    smoke = stack["releases"]["smoke"]
    if not smoke or not all(path.startswith("/") for path in smoke):
        yield f"releases.smoke is {smoke!r}: it must hold at least one path, each starting with /"


def _application(stack: Mapping[str, Any]) -> Iterator[str]:
    for alias in stack["app"]["aliases"]:
        if not ALIAS.fullmatch(alias):
            yield f"app.aliases holds {alias!r}: it must be of the form /short=/api/v1/real"
    for path in stack["app"]["private_paths"]:
        if not PATH.fullmatch(path):
            yield f"app.private_paths holds {path!r}: it must be a path such as /reset"
    for origin in stack["app"]["cors_origins"]:
        if not ORIGIN.fullmatch(origin):
            yield f"app.cors_origins holds {origin!r}: it must be an origin such as https://app.example.com"
    if stack["releases"]["notify_url"] and not re.fullmatch(r"https?://[^\s/]\S*", stack["releases"]["notify_url"]):
        yield f"releases.notify_url is {stack['releases']['notify_url']!r}: it must be an http or https address"
    for key in ("app.public_url", "oidc.issuer"):
        if value_of(stack, key) and not re.fullmatch(r"https?://[^\s?#]+", value_of(stack, key)):
            yield f"{key} is {value_of(stack, key)!r}: it must be an http or https address"
    for key, attempts in stack["attempts"].items():
        if not ATTEMPTS.fullmatch(attempts):
            yield f"attempts.{key} is {attempts!r}: it must read like 10 per minute, or 10 per 15 minutes"
    if re.match(r"http://(?!(127\.0\.0\.1|localhost|\[::1\])(:|/|$))", stack["oidc"]["issuer"]):
        yield f"oidc.issuer is {stack['oidc']['issuer']!r}: only a loopback address may be asked without TLS"
    mail = stack["mail"]
    if mail["user"] and mail["security"] == "none" and mail["host"] not in ("127.0.0.1", "::1", "localhost"):
        yield f"mail.security is none: the password of mail.user would go to {mail['host']} in the clear"
    if stack["oidc"]["issuer"] and not stack["oidc"]["client_id"]:
        yield "oidc.client_id is empty: the issuer's tokens name it as their audience"


def _secrets(stack: Mapping[str, Any]) -> Iterator[str]:
    names = stack["app"]["secrets"]
    for name in dict.fromkeys(names):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield f"app.secrets holds {name!r}: a secret's name is made of a-z, 0-9 and _"
        elif name in OWN_SECRETS:
            yield f"app.secrets holds {name!r}: that one is the bundle's own; take another"
        elif names.count(name) > 1:
            yield f"app.secrets holds {name!r} more than once"


def _strings(stack: Mapping[str, Any]) -> Iterator[str]:
    for key, value in leaves(stack):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and UNSAFE.search(text):
                yield f"{key} holds {text!r}: control characters and ; {{ }} \" ' ` \\ $ are not allowed"


def _numbers(stack: Mapping[str, Any]) -> Iterator[str]:
    for key, value in leaves(stack):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if value < 0 or (value == 0 and key not in MAY_BE_ZERO):
            yield f"{key} is {value}: it must be {'0 or ' if key in MAY_BE_ZERO else ''}above 0"
        elif isinstance(value, float) and key not in FRACTIONS:
            yield f"{key} is {value}: it must be a whole number"


def _choices(stack: Mapping[str, Any]) -> Iterator[str]:
    for key, choices in CHOICES.items():
        if value_of(stack, key) not in choices:
            yield f"{key} is {value_of(stack, key)!r}: it must be one of {', '.join(choices)}"


def listening_ports(stack: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(key, port) of everything that listens on a host that has all roles."""
    ports = [("api.ports", port) for port in stack["api"]["ports"]]
    ports.append(("nginx.http_port", stack["nginx"]["http_port"]))
    if stack["nginx"]["certificate"]:
        ports.append(("nginx.https_port", stack["nginx"]["https_port"]))
    if stack["database"]["engine"] == "mysql":
        ports.append(("database.port", stack["database"]["port"]))
    if stack["cache"]["url"]:
        ports.append(("cache.port", stack["cache"]["port"]))
    if stack["firewall"]["enabled"]:
        ports.append(("firewall.ssh_port", stack["firewall"]["ssh_port"]))
    return ports


def _ports(stack: Mapping[str, Any]) -> Iterator[str]:
    if not stack["api"]["ports"]:
        yield "api.ports is empty: at least one port is needed"
    for key, value in leaves(stack):
        if key.endswith(("port", "ports")):
            for port in value if isinstance(value, list) else [value]:
                if not 1 <= port <= 65535:
                    yield f"{key} is {port}: a port lies between 1 and 65535"
    taken: dict[int, str] = {}
    for key, port in listening_ports(stack):
        if port in taken:
            yield f"{key} and {taken[port]} are both {port}: two things cannot listen on one port"
        taken[port] = key


def _networks(stack: Mapping[str, Any]) -> Iterator[str]:
    for key in ("nginx.allow", "nginx.deny", "nginx.trusted_proxies"):
        for text in value_of(stack, key):
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                yield f"{key} holds {text!r}: {error}"
    bind = stack["api"]["bind"]
    try:
        if not ipaddress.ip_address(bind).is_loopback:
            yield f"api.bind is {bind}: clients come through nginx, so it must be a loopback address"
    except ValueError:
        yield f"api.bind is {bind!r}: it must be a loopback address such as 127.0.0.1"


def _inequalities(stack: Mapping[str, Any]) -> Iterator[str]:
    for smaller, larger, why in INEQUALITIES:
        low, high = value_of(stack, smaller), value_of(stack, larger)
        if low >= high:
            yield f"{smaller} ({low}) must be less than {larger} ({high}): {why}"
    groups = len(stack["api"]["ports"]) + (1 if stack["sync"]["enabled"] else 0)
    stopping, limit = groups * stack["timeouts"]["stopwait"], stack["timeouts"]["systemd_stop"]
    if stopping >= limit:
        yield (
            f"timeouts.stopwait times {groups} groups ({stopping}) must be less than timeouts.systemd_stop ({limit}): "
            "supervisord stops its groups one after another"
        )


def _certificate(stack: Mapping[str, Any]) -> Iterator[str]:
    if bool(stack["nginx"]["certificate"]) != bool(stack["nginx"]["certificate_key"]):
        yield "nginx.certificate and nginx.certificate_key go together: set both or neither"


def _paths(stack: Mapping[str, Any]) -> Iterator[str]:
    for key, value in stack["paths"].items():
        if not value.startswith("/"):
            yield f"paths.{key} is {value!r}: it must be absolute"
        if re.search(r"[\s%:,]", value):
            yield f"paths.{key} is {value!r}: supervisor and nginx take no blanks, %, : or , in a path"
    longest = f"{stack['paths']['run']}/api-65535-99.sock"
    if len(longest.encode()) > UNIX_SOCKET_LIMIT:
        yield (
            f"paths.run is {stack['paths']['run']!r}: too deep for a unix socket ({UNIX_SOCKET_LIMIT} bytes with the "
            f"socket's name, this would take {len(longest.encode())}); move the checkout or set paths.run"
        )


def _pools(stack: Mapping[str, Any]) -> Iterator[str]:
    database = stack["database"]
    if database["engine"] != "mysql":
        return
    wanted = connections(stack)
    if 0 < database["max_connections"] < wanted:
        yield (
            f"database.max_connections ({database['max_connections']}) is less than the {wanted} connections that "
            f"the processes of {max(1, len(stack['fleet']['app']))} app host(s) may open; 0 has it follow from "
            "database.pool_size"
        )


def _logs(stack: Mapping[str, Any]) -> Iterator[str]:
    log = stack["log"]
    if not re.fullmatch(r"[1-9][0-9]*[kMG]", log["size"]):
        yield f"log.size is {log['size']!r}: it must be a number followed by k, M or G, such as 2M"
    if log["rotate"] == "stream" and stack["nginx"]["started_by"] == "stack":
        yield "log.rotate is 'stream': in a checkout supervisord runs in the background, where nobody reads its stream"


def _cached(stack: Mapping[str, Any]) -> Iterator[str]:
    cached = stack["nginx"]["cached"]
    for path in dict.fromkeys(cached):
        if not CACHED.fullmatch(path):
            yield f"nginx.cached holds {path!r}: it must be a path such as /status/ or /feed.json, and not /"
        elif path in stack["app"]["private_paths"]:
            yield f"nginx.cached holds {path!r}, which app.private_paths says is nobody else's business"
        elif path == "/static/":
            yield "nginx.cached holds '/static/': nginx serves these files itself"
        elif cached.count(path) > 1:
            yield f"nginx.cached holds {path!r} more than once"
    for key in ("cache_keys", "cache_size", "log_buffer"):
        if not re.fullmatch(r"[1-9][0-9]*[kmg]", stack["nginx"][key]):
            yield f"nginx.{key} is {stack['nginx'][key]!r}: it must be a number followed by k, m or g, such as 64m"


def _maintenance(stack: Mapping[str, Any]) -> Iterator[str]:
    for path in stack["maintenance"]["open"]:
        if not CACHED.fullmatch(path):
            yield f"maintenance.open holds {path!r}: it must be a path such as /ping or /status/, and not /"
