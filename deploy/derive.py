"""The names that follow from a stack's values: users, units, processes and the settings they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

# What a process may open beside its pool: the driver has so many connections in opening or killing (docs/driver.md).
BESIDE_POOL = 8
NOTIFY_SECRET = "notify_secret"  # noqa: S105 - the name of a file; the engine's, so no process is told where it lies
FOR_PEOPLE = 20  # connections that are left for whoever looks after the server


def derive(values: Mapping[str, Any], *, profile: str, release: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the values with what follows from them added under `names`, `release` and `processes`.

    Args:
        values: the merged and checked values of deploy/stack.yml.
        profile: the profile they were loaded with.
        release: `id` and `root` of the release being rendered, if it is one.
    """
    name = values["stack"]["name"]
    paths = values["paths"]
    root = release["root"] if release else f"{paths['root']}/{'current' if profile == 'host' else 'release'}"
    stack: dict[str, Any] = {section: dict(inner) for section, inner in values.items()}
    stack["profile"] = profile
    stack["names"] = {
        "user": name,
        "group": name,
        "unit": f"{name}.service",
        "identifier": name.replace("-", "_"),  # where a dash is not allowed: nginx variables, zones
    }
    stack["release"] = {
        "id": release["id"] if release else profile,
        "root": root,
        "rendered": f"{root}/rendered",
    }
    stack["supervisor"] = {
        "venv": f"{paths['root']}/supervisor" if profile == "host" else f"{root}/venv",
        "plugin": f"{paths['root']}/plugin" if profile == "host" else root,
        "config": f"{paths['etc']}/supervisord.conf",
        "programs": f"{paths['etc']}/supervisor.d",
        "socket": f"{paths['run']}/supervisor.sock",
        "pidfile": f"{paths['run']}/supervisord.pid",
    }
    stack["log"]["rotated_by"] = _rotated_by(values["log"]["rotate"], profile)
    stack["secrets"] = given_secrets(values)
    edge = bool(values["nginx"]["certificate"]) and not values["nginx"]["trusted_proxies"]
    stack["nginx"]["tls"] = edge
    scheme, port = ("https", values["nginx"]["https_port"]) if edge else ("http", values["nginx"]["http_port"])
    default_port = {"http": 80, "https": 443}[scheme]
    listen = values["nginx"]["listen"][0]
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(listen, listen)  # noqa: S104 - how we reach it
    stack["nginx"]["url"] = f"{scheme}://{host}" + ("" if port == default_port else f":{port}")
    stack["nginx"]["closing"] = f"{paths['run']}/closing"  # there while nginx is about to be reloaded
    # What the app is told that it is called where an answer is kept for everybody.
    stack["nginx"]["public_host"] = urlsplit(values["app"]["public_url"] or stack["nginx"]["url"]).netloc
    stack["maintenance"]["folder"] = f"{paths['etc']}/maintenance"  # as deploy/maintenance.py has it
    stack["processes"] = _processes(stack)
    if not values["database"]["max_connections"]:
        stack["database"]["max_connections"] = connections(values) + FOR_PEOPLE
    return stack


def _rotated_by(rotate: str, profile: str) -> str:
    """What keeps the logs from growing for ever: supervisor, logrotate or systemd's journal."""
    if rotate == "stream":
        return "journal"
    # In a checkout nothing calls logrotate. supervisord alone writes its processes' logs there, so it may rotate them.
    return "supervisor" if rotate == "size" and profile != "host" else "logrotate"


def given_secrets(values: Mapping[str, Any]) -> dict[str, str]:
    """The secrets that only people can give, each a file of that name in paths.secrets, with the key that asks for it.

    Those that the bundle makes up itself (secret_key, database_password, admin_password) are not among them.
    """
    asked = (
        ("mail_password", "mail.user", values["mail"]["user"]),
        ("oidc_client_secret", "oidc.introspect", values["oidc"]["introspect"]),
        (NOTIFY_SECRET, "releases.notify_url", values["releases"]["notify_url"]),
        *((name, "app.secrets", True) for name in values["app"]["secrets"]),
    )
    return {name: key for name, key, needed in asked if needed}


def _processes(stack: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every process that supervisor runs, in the order in which it starts them."""
    paths = stack["paths"]
    processes = []
    for port in stack["api"]["ports"]:
        for number in range(stack["api"]["instances"]):
            name = f"api-{port}-{number}"
            processes.append(
                {
                    "group": f"api-{port}",
                    "name": name,
                    "kind": "api",
                    "port": port,
                    "socket": f"{paths['run']}/{name}.sock",
                }
            )
    if stack["sync"]["enabled"] and stack["app"]["sync"]:
        processes.append({"group": "sync", "name": "sync", "kind": "sync"})
    return processes


def connections(stack: Mapping[str, Any]) -> int:
    """How many connections to the database all processes of all hosts may have open at once."""
    database, api, sync = stack["database"], stack["api"], stack["sync"]
    instances = len(api["ports"]) * api["instances"]
    wanted = instances * (database["pool_size"] + database["pool_overflow"] + BESIDE_POOL)
    if sync["enabled"] and stack["app"]["sync"]:
        wanted += sync["connections"] + BESIDE_POOL
    return int(wanted) * max(1, len(stack["fleet"]["app"]))


def database_url(stack: Mapping[str, Any]) -> str:
    """The SQLAlchemy URL without a password: that one is read from its secret file."""
    database = stack["database"]
    if database["engine"] == "sqlite":
        return f"sqlite:///{stack['paths']['data']}/{stack['stack']['name']}.sqlite3"
    return (
        f"mysql+mysqldb://{database['user']}@{database['host']}:{database['port']}/{database['name']}?charset=utf8mb4"
    )


def settings(stack: Mapping[str, Any]) -> dict[str, str]:
    """The environment that the stack's processes read, without any secret: files carry those.

    A key of app.settings that would replace one of these is refused when the stack is loaded. Names starting
    with APP_ are the application's, those starting with GUNICORN_ are gunicorn.conf.py's.
    """
    app, api, timeouts, database, log, paths = (
        stack[section] for section in ("app", "api", "timeouts", "database", "log", "paths")
    )
    secrets = paths["secrets"]
    to_journal = log["rotated_by"] == "journal"
    values: dict[str, Any] = {
        # whose members may ask an instance's own socket, as `stack status` does
        "STACK_OPS_GROUP": stack["stack"]["ops_group"] if stack["profile"] == "host" else "",
        "STACK_JOURNAL": to_journal,  # processes write there, not to supervisor
        "APP_NAME": stack["stack"]["name"],
        "APP_ENVIRONMENT": stack["stack"]["environment"],
        "APP_RELEASE": stack["release"]["id"],
        "APP_MODULE": app["module"],
        "APP_WSGI": app["wsgi"],
        "APP_SYNC": app["sync"],
        "APP_DATABASE_URL": database_url(stack),
        "APP_DATABASE_PASSWORD_FILE": f"{secrets}/database_password" if database["engine"] == "mysql" else "",
        "APP_DATABASE_POOL_SIZE": database["pool_size"],
        "APP_DATABASE_POOL_OVERFLOW": database["pool_overflow"],
        "APP_DATABASE_POOL_WAIT": database["pool_wait"],
        "APP_DATABASE_CONNECTIONS": connections(stack),
        "APP_DATABASE_LOCK_WAIT": database["lock_wait"],
        "APP_SECRET_KEY_FILE": f"{secrets}/secret_key",
        # there only during a rotation (next), for a while after it (previous), and for good after the first one (proof)
        "APP_SECRET_KEY_NEXT_FILE": f"{secrets}/secret_key_next",
        "APP_SECRET_KEY_PREVIOUS_FILE": f"{secrets}/secret_key_previous",
        "APP_PROOF_KEY_FILE": f"{secrets}/proof_key",
        "APP_DATA_DIR": paths["data"],
        "APP_RUN_DIR": paths["run"],
        "APP_HEARTBEAT_FILE": f"{paths['run']}/sync.heartbeat",
        "APP_LOG_LEVEL": api["loglevel"],
        "APP_DEBUG": api["debug"],
        "APP_SECURE_COOKIES": bool(stack["nginx"]["certificate"]),
        "APP_TRUSTED_PROXIES": 1,
        "APP_CACHE_URL": stack["cache"]["url"],
        "APP_PUBLIC_URL": app["public_url"] or stack["nginx"]["url"],
        "APP_ALIASES": app["aliases"],
        "APP_CORS_ORIGINS": app["cors_origins"],
        "APP_OPEN_REGISTRATION": app["open_registration"],
        "APP_ACCESS_TOKEN_MINUTES": app["access_token_minutes"],
        "APP_REFRESH_TOKEN_DAYS": app["refresh_token_days"],
        "APP_ADMIN_EMAIL": app["admin_email"],
        "GUNICORN_WORKER_CLASS": api["worker_class"],
        "GUNICORN_WORKER_CONNECTIONS": api["worker_connections"],
        "GUNICORN_THREADS": api["threads"],
        "GUNICORN_MAX_REQUESTS": api["max_requests"],
        "GUNICORN_TIMEOUT": timeouts["request"],
        "GUNICORN_GRACEFUL_TIMEOUT": timeouts["graceful"],
        "GUNICORN_KEEPALIVE": timeouts["keepalive"],
        "GUNICORN_LOGLEVEL": api["loglevel"],
        "GUNICORN_ACCESS_LOG": "process" if to_journal and log["access"] == "port" else log["access"],
        "GUNICORN_LOG_DIR": paths["log"],
        "GUNICORN_RELOAD": api["reload"],
        "GUNICORN_RUN_DIR": paths["run"],
    }
    for name in ("mail_password", "oidc_client_secret", *(name for name in stack["secrets"] if name != NOTIFY_SECRET)):
        values[f"APP_{name.upper()}_FILE"] = f"{secrets}/{name}" if name in stack["secrets"] else ""
    # For the application alone: each key of these sections as it is.
    for section in ("sync", "attempts", "mail", "oidc"):
        for key, value in stack[section].items():
            if (section, key) != ("sync", "enabled"):
                values[f"APP_{section.upper()}_{key.upper()}"] = value
    for key, value in app["settings"].items():
        values.setdefault(f"APP_{key.upper()}", value)
    return {key: _text(value) for key, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(int(value)) if isinstance(value, bool) else str(value)
