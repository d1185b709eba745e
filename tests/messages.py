"""The catalogue of translations: which texts there are, and the files they are kept in. `make messages` runs it.

A text is found by who takes it: `gettext` and its like, and the functions of this application that translate what
they are given or mark it for those who do.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

SOURCE = Path(__file__).parents[1] / "src" / "cloudeye"
FOLDER = SOURCE / "translations" / "zh_Hans" / "LC_MESSAGES"
PO, MO = FOLDER / "messages.po", FOLDER / "messages.mo"
METHODS = [("pages/templates/**.html", "jinja2"), ("mails/**.txt", "jinja2"), ("**.py", "python")]
OPTIONS = {"**.html": {"trimmed": "true"}, "mails/**.txt": {"trimmed": "true"}}
# The function, and which of its arguments is the text.
KEYWORDS: dict[str, Any] = {
    **DEFAULT_KEYWORDS,
    "Problem": (2,),
    "success": (1,),
    "unauthorized": (1,),
    "ValidationError": (1,),
    "_later": (1,),
}
# Stand in the arguments of one of these functions, but are no texts.
NO_TEXTS = {"CLOUDEYE", "expires_on", "file", "headers", "resolution"}


def texts() -> Iterator[tuple[str, int, Any, list[str], str | None]]:
    """Yield each text of the application: file, line, text, comments, context."""
    for found in extract_from_dir(SOURCE, METHODS, OPTIONS, KEYWORDS):
        if found[2] not in NO_TEXTS:
            yield found


def template() -> Catalog:
    """Return all texts of the application, untranslated."""
    catalog = Catalog(project="cloudeye", charset="utf-8")
    for file, _line, text, comments, context in texts():
        catalog.add(text, None, [(file, None)], auto_comments=comments, context=context)
    return catalog


def kept() -> Catalog:
    """Return the catalogue as it lies in the repository."""
    with PO.open("rb") as file:
        return read_po(file, locale="zh_Hans", domain="messages")


def renewed() -> Catalog:
    """Return the catalogue with exactly the texts that there are; what is new has no translation yet."""
    catalog = kept()
    catalog.update(template(), no_fuzzy_matching=True, update_creation_date=False)
    return catalog


def as_po(catalog: Catalog) -> bytes:
    """Return the file that people edit."""
    buffer = io.BytesIO()
    catalog.msgid_bugs_address = catalog.last_translator = catalog.language_team = "cloudeye"
    write_po(buffer, catalog, width=110, sort_output=True, ignore_obsolete=True, include_lineno=False)
    return buffer.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """Return the file that the application reads."""
    buffer = io.BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def missing(catalog: Catalog) -> list[str]:
    """Return the texts that have no translation, or one that nobody has looked at."""
    return [str(key) for key, said in pairs(catalog).items() if not (said and all(said))] + [
        str(message.id) for message in catalog if message.id and message.fuzzy
    ]


def pairs(catalog: Catalog) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the texts with their translations, each with the forms that it has: some are told by a number."""
    return {_forms(message.id): _forms(message.string) for message in catalog if message.id}


def _forms(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())


def main() -> int:
    """Bring both files up to date, and name what is still to be translated."""
    catalog = renewed()
    PO.write_bytes(as_po(catalog))
    MO.write_bytes(as_mo(catalog))
    left = missing(catalog)
    for text in left:
        print(f"to be translated in {PO.relative_to(SOURCE.parents[1])}: {text}")
    print(f"{len(catalog) - len(left)} of {len(catalog)} texts are translated")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
