"""Render the templates in nginx/, supervisor/ and systemd/ to the files that a stack needs.

A template's path mirrors its destination, and it sees `stack` and nothing else. The same code serves a
checkout, a release on a host, and Ansible's filter for the files that belong to the system.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deploy.derive import settings
from deploy.durable import sync_folder
from deploy.stack import read_yaml

TREE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Template:
    """One template: where it lies in the tree, where its result goes, and what it belongs to.

    `part` is `release` (goes with the code, so that a rollback takes it back), `system` (belongs to the
    host), `lb` (a balancer's site) or `checkout` (only there). `destination` is filled from the stack. `needs` is a
    kind of process, or what `log.rotate` and `log.rotated_by` are, without which there is nothing to render.
    """

    source: str
    destination: str
    part: str
    needs: str = ""


TEMPLATES = (
    Template("nginx/conf.d/site.conf.j2", "{release[rendered]}/nginx/{stack[name]}.conf", "release"),
    Template("supervisor/programs/api.conf.j2", "{release[rendered]}/supervisor/api.conf", "release"),
    Template("supervisor/programs/sync.conf.j2", "{release[rendered]}/supervisor/sync.conf", "release", needs="sync"),
    Template("nginx/nginx.conf.j2", "{paths[nginx_conf]}/nginx.conf", "system"),
    Template("supervisor/supervisord.conf.j2", "{supervisor[config]}", "system"),
    Template("systemd/stack.service.j2", "/etc/systemd/system/{names[unit]}", "host"),
    Template("systemd/nginx.service.d/stack.conf.j2", "/etc/systemd/system/nginx.service.d/{stack[name]}.conf", "host"),
    Template("systemd/logrotate.service.j2", "/etc/systemd/system/{stack[name]}-logrotate.service", "host", "size"),
    Template("systemd/logrotate.timer.j2", "/etc/systemd/system/{stack[name]}-logrotate.timer", "host", "size"),
    Template("supervisor/logrotate.conf.j2", "/etc/logrotate.d/{stack[name]}", "host", "logrotate"),
    Template("supervisor/logrotate.conf.j2", "{paths[etc]}/logrotate.conf", "checkout", "logrotate"),
    Template("nginx/members.conf.j2", "{release[rendered]}/nginx/members.conf", "lb"),
    Template("nginx/conf.d/lb.conf.j2", "{paths[nginx_conf]}/conf.d/{stack[name]}.conf", "lb"),
)


def environment(tree: Path = TREE) -> Environment:
    """The Jinja environment of every template: an undefined name is an error, never an empty string."""
    jinja = Environment(
        loader=FileSystemLoader(tree),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not pages
    )
    jinja.filters["supervisor"] = supervisor_escape
    return jinja


def supervisor_escape(value: object) -> str:
    """Double the per cent signs of a value: supervisor expands `%(name)s` in its files."""
    return str(value).replace("%", "%%")


def render_template(stack: Mapping[str, Any], source: str, *, tree: Path = TREE) -> str:
    """Render one template of the tree, for example `nginx/nginx.conf.j2`, for a loaded stack."""
    return environment(tree).get_template(source).render(stack=stack)


def render(stack: Mapping[str, Any], *parts: str, tree: Path = TREE) -> dict[Path, str]:
    """Render every template of the named parts.

    Args:
        stack: what `deploy.stack.load` returned.
        parts: some of `release`, `system`, `host`, `checkout` and `lb`.
        tree: the folder holding nginx/, supervisor/ and systemd/.

    Returns:
        The text of each destination.
    """
    present = {process["kind"] for process in stack["processes"]} | {stack["log"]["rotate"], stack["log"]["rotated_by"]}
    files = {
        Path(template.destination.format(**stack)): render_template(stack, template.source, tree=tree)
        for template in TEMPLATES
        if template.part in parts and (not template.needs or template.needs in present)
    }
    rendered = Path(stack["release"]["rendered"])
    if "release" in parts:
        files[rendered / "settings.env"] = "".join(f"{key}={value}\n" for key, value in settings(stack).items())
    if "release" in parts or "lb" in parts:
        files.update(error_pages(stack, rendered / "errors", tree=tree))
    return files


def error_pages(stack: Mapping[str, Any], folder: Path, *, tree: Path = TREE) -> dict[Path, str]:
    """nginx's own answers, for each status a page for browsers and an envelope for programs."""
    return {
        folder / f"{code}.{kind}": render_template(
            {**stack, "error": {"code": code, **texts}}, f"nginx/errors/error.{kind}.j2", tree=tree
        )
        for code, texts in read_yaml(tree / "nginx/errors/texts.yml").items()
        for kind in ("html", "json")
    }


def write(files: Mapping[Path, str], *, mode: int = 0o644) -> list[Path]:
    """Write what differs, each file whole or not at all; return the paths that changed."""
    return [path for path, text in files.items() if write_file(path, text, mode=mode)]


def write_file(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Replace one file by rename(2) when its text or mode differs; return whether it did."""
    if path.is_file() and path.read_text("utf-8") == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    sync_folder(path.parent)
    return True
