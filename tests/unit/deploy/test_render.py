"""Rendering: one renderer, files replaced whole, escaping."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from deploy.render import TEMPLATES, TREE, render, render_template, supervisor_escape, write, write_file
from deploy.stack import PROFILES, load, set_layer

OTHER = ["stack.name=parcel-desk", "app.module=desk", "app.wsgi=desk.wsgi:app", "app.sync=desk.sync"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_template_renders_for_every_profile(profile: str) -> None:
    stack = load(profile)
    for template in TEMPLATES:
        text = render_template(stack, template.source)
        assert text.splitlines()[0].lstrip("#; ").startswith(f"From {template.source}.")


def test_another_name_leaves_the_first_nowhere_but_in_no_path(tmp_path: Path) -> None:
    """Two stacks live on one host, so nothing but the values may know a name."""
    stack = load("host", layers=[set_layer(OTHER)])
    files = render(stack, "release", "system", "host", "lb")
    assert [str(path) for path, text in files.items() if "cloudeye" in f"{path}{text}"] == []


def test_an_undefined_name_in_a_template_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("{{ stack.nginx.no_such_key }}")
    with pytest.raises(UndefinedError, match="no_such_key"):
        render_template(load("host"), "x.j2", tree=tmp_path)


@pytest.mark.parametrize(("seconds", "said"), [(2, " buffer=32k flush=2s"), (0, "")])
def test_nginx_keeps_lines_of_its_access_log_for_as_long_as_it_may(seconds: int, said: str) -> None:
    stack = load("host", layers=[set_layer([f"nginx.log_flush={seconds}"])])

    text = render(stack, "release")[Path("/opt/cloudeye/current/rendered/nginx/cloudeye.conf")]

    assert f"access_log /var/log/nginx/cloudeye.access.log cloudeye{said};" in text


def test_a_per_cent_sign_reaches_supervisor_doubled() -> None:
    assert supervisor_escape("100%") == "100%%"


def test_no_secret_is_rendered(tmp_path: Path) -> None:
    """Files carry the paths of secret files, and settings end in _FILE for them."""
    settings = render(load("host"), "release")[Path("/opt/cloudeye/current/rendered/settings.env")]
    named = [line for line in settings.splitlines() if "PASSWORD" in line or "SECRET" in line]
    given = [line for line in named if not line.endswith("_FILE=")]
    assert len(given) == 4
    assert all("_FILE=/etc/cloudeye/secrets/" in line for line in given)


def test_writing_again_changes_nothing_and_a_changed_mode_is_put_right(tmp_path: Path) -> None:
    files = {tmp_path / "a" / "b.conf": "text\n"}
    assert write(files) == [tmp_path / "a" / "b.conf"]
    assert write(files) == []
    (tmp_path / "a" / "b.conf").chmod(0o600)
    assert write(files) == [tmp_path / "a" / "b.conf"]
    assert stat.S_IMODE((tmp_path / "a" / "b.conf").stat().st_mode) == 0o644


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    write_file(tmp_path / "f", "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(tmp_path / "f", "\udcff")
    assert (tmp_path / "f").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_every_template_file_of_the_tree_is_rendered_by_something() -> None:
    known = {template.source for template in TEMPLATES}
    helpers = {
        "supervisor/_logs.j2",
        "nginx/conf.d/_server.j2",
        "nginx/errors/error.html.j2",
        "nginx/errors/error.json.j2",
        "nginx/maintenance/http.conf.j2",
        "nginx/maintenance/server.conf.j2",
    }
    found = {
        str(path.relative_to(TREE))
        for folder in ("nginx", "supervisor", "systemd")
        for path in (TREE / folder).rglob("*.j2")
    }
    assert found == known | helpers
