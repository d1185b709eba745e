"""Files that should not be there for everybody, and how each is recognised by what it holds.

A recogniser returns what to show as evidence, or None. It never returns a secret: of a file with passwords the names
are shown, of a key its first line.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

Recogniser = Callable[[bytes], str | None]

_BEGINNING = 4096  # bytes in which a form must show itself


@dataclass(frozen=True, slots=True)
class Exposure:
    """A path, in which {host} stands for the site's, what finding it means, and how it is recognised."""

    path: str
    code: str
    recognise: Recogniser


# -- by form ---------------------------------------------------------------------------------------------------


def _pattern(pattern: bytes, flags: int = 0) -> Recogniser:
    """Recognise text at the beginning; what the pattern matched is shown."""
    compiled = re.compile(pattern, flags | re.MULTILINE)

    def recognise(body: bytes) -> str | None:
        found = compiled.search(body[:_BEGINNING])
        return None if found is None else found[0].decode("utf-8", "replace").strip()

    return recognise


def _whole(pattern: bytes) -> Recogniser:
    """Recognise a small file that is of one form from its beginning to its end."""
    compiled = re.compile(pattern)

    def recognise(body: bytes) -> str | None:
        return body.decode("ascii", "replace").strip() if len(body) <= 300 and compiled.fullmatch(body) else None

    return recognise


def _all_of(*words: bytes) -> Recogniser:
    """Recognise text that holds all of these words, in any case; the first of them is shown."""
    wanted = [word.lower() for word in words]

    def recognise(body: bytes) -> str | None:
        lowered = body.lower()
        return words[0].decode() if all(word in lowered for word in wanted) else None

    return recognise


def _magic(magic: bytes, name: str) -> Recogniser:
    """Recognise a file by its first bytes."""

    def recognise(body: bytes) -> str | None:
        return name if body.startswith(magic) else None

    return recognise


def _json(*keys: str) -> Recogniser:
    """Recognise a JSON object with all of these keys."""

    def recognise(body: bytes) -> str | None:
        if body.lstrip()[:1] != b"{":
            return None
        try:
            read = json.loads(body)
        except (ValueError, RecursionError):
            # Cut off where we stopped reading: then the keys must do.
            lowered = body[:65_536]
            known = all(f'"{key}"'.encode() in lowered for key in keys)
            return f"JSON with {', '.join(keys)}" if known and len(body) > _BEGINNING else None
        return f"JSON with {', '.join(keys)}" if isinstance(read, dict) and read.keys() >= set(keys) else None

    return recognise


# -- particular files ------------------------------------------------------------------------------------------

_SETTING = re.compile(rb"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]{0,60})\s*=")


def _settings(body: bytes) -> str | None:
    """A file of NAME=value lines, as .env: nearly all lines are, and there are two at least."""
    lines = [line.strip() for line in body[:_BEGINNING].splitlines()]
    lines = [line for line in lines if line and not line.startswith(b"#")][:100]
    names = [found[1].decode() for found in map(_SETTING.match, lines) if found is not None]
    telling = any(re.search(r"pass|secret|key|token|database|db_", name, re.IGNORECASE) for name in names)
    if b"<" in body[:1] or not telling or len(names) < max(2, 0.8 * len(lines) - 1):
        return None
    return f"settings named {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"


_DUMP = re.compile(
    rb"-- (?:MySQL|MariaDB|PostgreSQL database|phpMyAdmin SQL|Adminer [\d.]+ \w+) dump"
    rb"|^(?:CREATE|DROP) TABLE (?:IF (?:NOT )?EXISTS )?[`\"\[\w]|^INSERT INTO [`\"\[\w]|^PRAGMA foreign_keys",
    re.IGNORECASE | re.MULTILINE,
)


def _dump(body: bytes) -> str | None:
    if body.startswith(b"\x1f\x8b"):
        try:
            body = zlib.decompressobj(47).decompress(body, _BEGINNING)
        except zlib.error:
            return None
    found = _DUMP.search(body[:_BEGINNING])
    if found is None or re.search(rb"<(?:!doctype|html|body)", body[:_BEGINNING], re.IGNORECASE):
        return None
    return found[0].decode("ascii", "replace").strip()


def _listing_of_repository(body: bytes) -> str | None:
    known = {b"revlogv1", b"store", b"dotencode", b"generaldelta", b"fncache", b"sparserevlog", b"share-safe"}
    lines = body.split()
    return "a list of Mercurial features" if lines and len(body) < 500 and len(known & set(lines)) >= 2 else None


def _phpinfo(body: bytes) -> str | None:
    found = re.search(rb"<title>(?:PHP [^<]{1,40} - )?phpinfo\(\)</title>", body)
    return "phpinfo()" if found is not None and b"PHP Version" in body else None


def _php_source(body: bytes) -> str | None:
    return "PHP source" if re.match(rb"\s*<\?(?:php|=)", body) else None


def _metrics(body: bytes) -> str | None:
    found = re.search(rb"^# HELP \w+ .{0,80}$", body, re.MULTILINE)
    typed = re.search(rb"^# TYPE \w+ (?:counter|gauge|histogram|summary|untyped)\s*$", body, re.MULTILINE)
    return found[0].decode("ascii", "replace") if found is not None and typed is not None else None


_GIT = _whole(rb"ref: refs/[\x21-\x7e]{1,200}\s*|[0-9a-f]{40}(?:[0-9a-f]{24})?\s*")
_GIT_CONFIG = _pattern(rb"\A\s*\[core\]\s+repositoryformatversion")
_KEY = _pattern(rb"\A\s*-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_SQLITE = _magic(b"SQLite format 3\x00", "a SQLite database")
_ZIP, _GZIP = _magic(b"PK\x03\x04", "a ZIP archive"), _magic(b"\x1f\x8b\x08", "a gzip archive")
_VIM = _magic(b"b0VIM ", "what an editor keeps while a file is open")
_WEB_CONFIG = _pattern(rb"\A[^<]{0,3}(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<configuration")
_HTACCESS = _pattern(rb"^\s*(?:RewriteEngine\s|RewriteRule\s|<IfModule\s|AuthType\s)")
_NGINX_STATUS = _pattern(rb"\AActive connections: \d+\s+server accepts handled requests")
_PHP_LOG = _pattern(rb"^\[\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d[^\]]{0,40}\] PHP [A-Z][a-z]+")

EXPOSURES = (
    Exposure("/.git/HEAD", "exposed_repository", _GIT),
    Exposure("/.git/config", "exposed_repository", _GIT_CONFIG),
    Exposure("/.svn/wc.db", "exposed_repository", _SQLITE),
    Exposure("/.svn/entries", "exposed_repository", _pattern(rb"\A(?:[89]|1[0-2])\r?\n(?:\r?\n|\Z)")),
    Exposure("/.hg/requires", "exposed_repository", _listing_of_repository),
    Exposure("/.env", "exposed_secret", _settings),
    Exposure("/.env.local", "exposed_secret", _settings),
    Exposure("/.env.production", "exposed_secret", _settings),
    Exposure("/.env.bak", "exposed_secret", _settings),
    Exposure("/.htpasswd", "exposed_secret", _pattern(rb"\A[^:\s<]{1,60}:(?=\$(?:apr1|2[aby]|5|6)\$|\{SHA\})")),
    Exposure("/.aws/credentials", "exposed_secret", _pattern(rb"aws_access_key_id\s*=")),
    Exposure("/.git-credentials", "exposed_secret", _pattern(rb"\Ahttps?://(?=[^:/\s@]+:[^@/\s]+@)")),
    Exposure("/.npmrc", "exposed_secret", _pattern(rb":_auth(?:Token)?\s*=")),
    Exposure("/.ssh/id_rsa", "exposed_secret", _KEY),
    Exposure("/id_rsa", "exposed_secret", _KEY),
    Exposure("/server.key", "exposed_secret", _KEY),
    Exposure("/privkey.pem", "exposed_secret", _KEY),
    Exposure("/wp-config.php.bak", "exposed_secret", _php_source),
    Exposure("/wp-config.php~", "exposed_secret", _php_source),
    Exposure("/wp-config.php.old", "exposed_secret", _php_source),
    Exposure("/.wp-config.php.swp", "exposed_secret", _VIM),
    Exposure("/appsettings.json", "exposed_secret", _json("ConnectionStrings")),
    Exposure("/.vscode/sftp.json", "exposed_secret", _json("host", "username")),
    Exposure("/backup.sql", "exposed_dump", _dump),
    Exposure("/dump.sql", "exposed_dump", _dump),
    Exposure("/database.sql", "exposed_dump", _dump),
    Exposure("/db.sql", "exposed_dump", _dump),
    Exposure("/{host}.sql", "exposed_dump", _dump),
    Exposure("/backup.sql.gz", "exposed_dump", _dump),
    Exposure("/dump.sql.gz", "exposed_dump", _dump),
    Exposure("/db.sqlite3", "exposed_dump", _SQLITE),
    Exposure("/database.sqlite", "exposed_dump", _SQLITE),
    Exposure("/index.php.bak", "exposed_backup", _php_source),
    Exposure("/index.php~", "exposed_backup", _php_source),
    Exposure("/index.php.old", "exposed_backup", _php_source),
    Exposure("/config.php.bak", "exposed_backup", _php_source),
    Exposure("/backup.zip", "exposed_backup", _ZIP),
    Exposure("/backup.tar.gz", "exposed_backup", _GZIP),
    Exposure("/site.zip", "exposed_backup", _ZIP),
    Exposure("/www.zip", "exposed_backup", _ZIP),
    Exposure("/{host}.zip", "exposed_backup", _ZIP),
    Exposure("/{host}.tar.gz", "exposed_backup", _GZIP),
    Exposure("/web.config", "exposed_config", _WEB_CONFIG),
    Exposure("/.htaccess", "exposed_config", _HTACCESS),
    Exposure("/docker-compose.yml", "exposed_config", _pattern(rb"^services:\s*$")),
    Exposure("/.idea/workspace.xml", "exposed_config", _pattern(rb"<project version=")),
    Exposure("/storage/logs/laravel.log", "exposed_log", _pattern(rb"^\[\d{4}-\d\d-\d\d[^\]]{9,30}\] \w+\.[A-Z]+:")),
    Exposure("/wp-content/debug.log", "exposed_log", _PHP_LOG),
    Exposure("/error_log", "exposed_log", _PHP_LOG),
    Exposure("/phpinfo.php", "exposed_phpinfo", _phpinfo),
    Exposure("/info.php", "exposed_phpinfo", _phpinfo),
    Exposure("/test.php", "exposed_phpinfo", _phpinfo),
    Exposure("/server-status", "exposed_status", _all_of(b"<h1>Apache Server Status for", b"Server uptime:")),
    Exposure("/server-info", "exposed_status", _all_of(b"Apache Server Information", b"Server Settings")),
    Exposure("/nginx_status", "exposed_status", _NGINX_STATUS),
    Exposure("/status", "exposed_status", _pattern(rb"\Apool:\s+\S+\s+process manager:\s+\w+")),
    Exposure("/actuator", "exposed_status", _json("_links")),
    Exposure("/actuator/env", "exposed_debug", _json("propertySources")),
    Exposure("/debug/pprof/", "exposed_debug", _all_of(b"/debug/pprof/", b"profiles")),
    Exposure("/debug/vars", "exposed_debug", _json("cmdline", "memstats")),
    Exposure("/_profiler/", "exposed_debug", _all_of(b"Symfony Profiler", b"<title>")),
    Exposure("/elmah.axd", "exposed_debug", _all_of(b"Error Log for", b"elmah")),
    Exposure("/console", "exposed_debug", _all_of(b"Werkzeug", b"Interactive Console", b"EVALEX")),
    Exposure("/metrics", "exposed_metrics", _metrics),
    Exposure("/.DS_Store", "exposed_ds_store", _magic(b"\x00\x00\x00\x01Bud1", "a .DS_Store file")),
)  # fmt: skip

# Asked for below the site's own folder as well: an application often lies there, its leftovers beside it.
IN_FOLDERS = frozenset({"/.git/HEAD", "/.env", "/.svn/wc.db", "/.DS_Store", "/index.php.bak"})

# Folders whose listing tells more than it should.
FOLDERS = (
    "/uploads/", "/images/", "/files/", "/backup/", "/backups/", "/static/", "/assets/", "/media/", "/logs/", "/data/",
    "/wp-content/uploads/",
)  # fmt: skip
