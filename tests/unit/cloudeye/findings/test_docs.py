"""The tables of docs/bugs.md are the catalogue's: `python -m tests.unit.cloudeye.findings.test_docs` prints them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cloudeye.services.findings.catalogue import CATALOGUE
from cloudeye.services.findings.exposures import EXPOSURES, FOLDERS
from cloudeye.services.findings.grade import BONUSES, LETTERS
from cloudeye.services.findings.scan import Bounds

DOCS = Path(__file__).resolve().parents[4] / "docs" / "bugs.md"


def lines() -> Iterator[str]:
    """Return every line that the docs must hold."""
    for code, entry in CATALOGUE.items():
        yield f"| `{code}` | {entry.severity} | {entry.points} | {entry.title} |"
    for code, bonus in BONUSES.items():
        yield f"| `{code}` | +{bonus.points} | no finding that begins with `{bonus.prefix}` |"
    yield f"| {' | '.join(letter for _, letter in LETTERS)} |"
    yield f"| {' | '.join(str(least) for least, _ in LETTERS)} |"
    bounds = Bounds()
    yield f"| requests and handshakes | {bounds.requests} |"
    yield f"| pause between two | {bounds.pause:g} s |"
    yield f"| one answer | {bounds.each:g} s |"
    yield f"| all together | {bounds.total:g} s |"
    yield f"| failures in a row | {bounds.failures} |"
    paths = [f"`{exposure.path}`" for exposure in EXPOSURES] + [f"`{folder}`" for folder in FOLDERS]
    yield f"Asked for: {', '.join(paths)}."


def test_the_docs_hold_the_catalogue() -> None:
    text = DOCS.read_text("utf-8").splitlines()
    missing = [line for line in lines() if line not in text]
    assert missing == [], "docs/bugs.md is stale: python -m tests.unit.cloudeye.findings.test_docs"


if __name__ == "__main__":
    print("\n".join(lines()))
