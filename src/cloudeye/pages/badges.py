"""Badges: a name and a state as a small picture, drawn here as SVG, for pages of others to show."""

from __future__ import annotations

from unicodedata import east_asian_width

from markupsafe import Markup

LONGEST = 60  # characters of the name; of a longer one the beginning is shown
HEIGHT, EDGE, WIDE, NARROW = 20, 8, 12, 7  # pixels; a letter of Chinese takes the width WIDE
GROUND = "#36404d"
COLOURS = {"up": "#0b6b3a", "down": "#a3161b", "maintenance": "#8a4b00"}

_SVG = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" aria-label="{name}: {said}">'
    "<title>{name}: {said}</title>"
    '<rect width="{width}" height="{height}" rx="3" fill="{ground}"/>'
    '<path d="M{left} 0h{inner}a3 3 0 0 1 3 3v{side}a3 3 0 0 1 -3 3h-{inner}z" fill="{colour}"/>'
    '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
    '<text x="{edge}" y="14" textLength="{name_width}">{name}</text>'
    '<text x="{said_at}" y="14" textLength="{said_width}">{said}</text></g></svg>'
)


def draw_badge(name: str, said: str, state: str) -> Markup:
    """Draw a badge.

    Args:
        name: what it is about.
        said: how that is, in words.
        state: of services.status; another one than those of COLOURS is grey.
    """
    name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    left, right = _width(name) + 2 * EDGE, _width(said) + 2 * EDGE
    return _SVG.format(
        name=name,
        said=said,
        width=left + right,
        height=HEIGHT,
        ground=GROUND,
        left=left,
        inner=right - 3,
        side=HEIGHT - 6,
        colour=COLOURS.get(state, "#4b5768"),
        edge=EDGE,
        name_width=_width(name),
        said_at=left + EDGE,
        said_width=_width(said),
    )


def _width(text: str) -> int:
    """Return about how wide a text is; the picture says it too, so that any font is made to fit."""
    return sum(WIDE if east_asian_width(letter) in "WF" else NARROW for letter in text)
