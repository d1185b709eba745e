"""Make services/tamper/words.txt from the Unicode CLDR, through Babel: `python -m tests.unit.cloudeye.tamper.cldr`.

The words by which a time is told: names of months and days, parts of a day, eras, units, and what stands around them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel import Locale

from cloudeye.services.tamper import masks

LOCALES = (  # noqa: SIM905 - as one reads it
    "en de fr es it pt nl pl ru uk be tr sv nb da fi is et lv lt cs sk hu ro bg hr sr sl mk el he ar fa ur hi"
    " bn ta te mr gu th lo vi id ms fil sw ko ja zh zh_Hant ka hy az kk uz ca eu gl ga cy af sq mn km my ne si"
).split()
UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
COMMON = {"time", "timer"}  # hours in Danish, and much else in English
SHORT = 4  # letters below which a word of an alphabet is too common to stand for a time by itself
TARGET = Path(masks.__file__).with_name("words.txt")


def texts(value: Any) -> Iterator[str]:
    """Every text in a tree of CLDR's data."""
    if isinstance(value, str):
        yield value
    elif hasattr(value, "values"):
        for inner in list(value.values()):
            yield from texts(inner)


def collect() -> tuple[set[str], ...]:
    """Return words that tell a time by themselves, beside a number, words for "ago", and phrases without blanks."""
    alone: set[str] = set()
    near: set[str] = set()
    ago: set[str] = set()
    phrases: set[str] = set()
    for name in LOCALES:
        locale = Locale.parse(name)
        names = set(texts(locale.months)) | set(texts(locale.days))
        wide = {
            text
            for months_or_days in (locale.months, locale.days)
            for context in ("format", "stand-alone")
            for text in texts(months_or_days[context]["wide"])
        }
        around = set(texts(locale.day_periods)) | set(texts(locale.eras)) | set(texts(locale._data["eras"]))
        units: set[str] = set()
        for unit in UNITS:
            patterns = locale._data["unit_patterns"].get(f"duration-{unit}", {})
            units |= set(texts(patterns)) | set(texts(locale._data["unit_display_names"].get(f"duration-{unit}", {})))
            wide |= set(texts(patterns.get("long", {})))
        relative, past = set(), set()
        for key, value in locale._data["date_fields"].items():
            if key.partition("-")[0] in UNITS:
                relative |= set(texts(value))
                past |= set(texts(value.get("past", {})))
        if masks.UNSPACED.search("".join(names)):
            phrases |= {part.strip() for text in names | around | units | relative for part in re.split(r"\{0\}", text)}
            continue
        for text in names | units:
            near.update(masks.WORD.findall(masks.fold(text.replace("{0}", " "))))
        for text in wide:
            alone |= {word for word in masks.WORD.findall(masks.fold(text.replace("{0}", " "))) if len(word) >= SHORT}
        for text in around | relative:
            near.update(masks.WORD.findall(masks.fold(text.replace("{0}", " "))))
        told = {word for text in units | names for word in masks.WORD.findall(masks.fold(text.replace("{0}", " ")))}
        common = None
        for text in past:
            words = set(masks.WORD.findall(masks.fold(text.replace("{0}", " "))))
            common = words if common is None else common & words
        ago |= (common or set()) - told
    phrases = {masks.fold(text) for text in phrases if text and not text.isascii() and not re.search(r"\d", text)}
    alone -= COMMON
    return alone, near - alone | COMMON, ago, phrases


def write() -> str:
    """The file's text."""
    parts = zip(("alone", "near", "ago", "unspaced"), collect(), strict=True)
    lines = ["# Made from the Unicode CLDR by tests/unit/cloudeye/tamper/cldr.py. Words by which a time is told."]
    for name, words in parts:
        lines += [f"[{name}]", *sorted(words)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(write())
    else:
        TARGET.write_text(write(), "utf-8")
