"""The secrets that only people can give, in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.local import LocalError, need_secrets
from deploy.stack import load, set_layer


@pytest.fixture
def asking(tmp_path: Path) -> dict[str, Any]:
    """A stack that needs two of them, in a folder of its own."""
    lines = ["mail.user=watch@example.com", "oidc.introspect=true", f"paths.secrets={tmp_path}"]
    return load("local", layers=[set_layer(lines)])


def test_a_missing_or_empty_secret_is_refused_with_the_file_it_belongs_into(
    asking: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "oidc_client_secret").write_text("\n")
    with pytest.raises(LocalError) as refusal:
        need_secrets(asking)
    said = str(refusal.value).splitlines()
    assert len(said) == 2
    for line, (key, name) in zip(
        said, [("mail.user", "mail_password"), ("oidc.introspect", "oidc_client_secret")], strict=True
    ):
        assert line.startswith(f"{key} asks for the secret {name}: write it into {tmp_path / name}")


def test_secrets_that_are_there_are_let_through(asking: dict[str, Any], tmp_path: Path) -> None:
    for name in ("mail_password", "oidc_client_secret"):
        (tmp_path / name).write_text("given\n")
    need_secrets(asking)


def test_a_stack_that_asks_for_none_needs_no_folder() -> None:
    need_secrets(load("local", layers=[set_layer(["paths.secrets=/nonexistent"])]))
