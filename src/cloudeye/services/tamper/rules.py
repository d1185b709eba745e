"""What a site's owner leaves out of the comparison: parts of the page by CSS selector, parts of texts by pattern.

Selectors are read by cssselect and matched while the page is walked, each element once, so no page and no rule can
make the comparison slow; that is why selectors that count or look back (`:nth-child()`, `a ~ b`) are refused. Patterns
are those of RE2, whose time is linear in the text (https://github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudeye.phrases import N_

MAXIMUM_RULES = 30  # of each sort
LONGEST_RULE = 200  # characters
LONGEST_CHAIN = 8  # compounds in a selector
PATTERN_MEMORY = 1 << 18  # bytes that RE2 may take for a pattern; with more, reading one takes 50 ms at a time

Attributes = Mapping[str, str]
Test = Callable[[str, Attributes], bool]

TOO_MANY = N_("At most {number} rules of a kind.")
NOT_TEXTS = N_("Must be a list of texts of 1 to {number} characters.")
BAD_SELECTOR = N_("{rule}: not a selector that is understood here ({reason}).")
BAD_PATTERN = N_("{rule}: not a pattern that is understood here ({reason}).")
UNKNOWN_RULE = N_("{rule}: there is no such kind of rule.")


class BadRule(ValueError):
    """A rule that cannot be used; `field` says of which kind it is."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class IgnoreRules:
    """The rules of one site; `chains` are its selectors, ready to be matched."""

    selectors: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    chains: tuple[Chain, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def parse(cls, given: Mapping[str, Any] | None) -> IgnoreRules:
        """Read rules as an owner gives them.

        Args:
            given: {"selectors": [...], "patterns": [...]}, each optional; None for no rules.

        Raises:
            BadRule: (a ValueError) with a sentence for people that names the rule.
        """
        given = given or {}
        for kind in given:
            if kind not in ("selectors", "patterns"):
                raise BadRule(str(kind), UNKNOWN_RULE.format(rule=kind))
        selectors, patterns = (_texts(kind, given.get(kind) or []) for kind in ("selectors", "patterns"))
        chains = tuple(chain for selector in selectors for chain in _chains(selector))
        for pattern in patterns:
            _compiled(pattern)
        return cls(selectors, patterns, chains)

    def matcher(self) -> Matcher | None:
        """Return what finds the elements to leave out; None without selectors."""
        return Matcher(self.chains) if self.chains else None

    def cleaner(self) -> Callable[[str], str] | None:
        """Return what takes the ignored parts out of a text; None without patterns."""
        if not self.patterns:
            return None
        compiled = [_compiled(pattern) for pattern in self.patterns]

        def clean(text: str) -> str:
            for pattern in compiled:
                text = pattern.sub(" ", text)
            return text

        return clean

    def __str__(self) -> str:
        return json.dumps({"selectors": self.selectors, "patterns": self.patterns}, sort_keys=True)


def _texts(kind: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(
        isinstance(rule, str) and 1 <= len(rule) <= LONGEST_RULE and rule.strip() for rule in given
    ):
        raise BadRule(kind, NOT_TEXTS.format(number=LONGEST_RULE))
    if len(given) > MAXIMUM_RULES:
        raise BadRule(kind, TOO_MANY.format(number=MAXIMUM_RULES))
    return tuple(given)


def _compiled(pattern: str) -> Any:
    import re2  # a library of megabytes, for those sites alone that have patterns

    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadRule("patterns", BAD_PATTERN.format(rule=pattern, reason=reason)) from None
    except UnicodeEncodeError:
        raise BadRule("patterns", BAD_PATTERN.format(rule=ascii(pattern), reason="Unicode")) from None
    if compiled.search(""):
        reason = "it matches where nothing is"
        raise BadRule("patterns", BAD_PATTERN.format(rule=pattern, reason=reason))
    return compiled


# -- selectors -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """One selector: compounds from the outermost to the innermost; `direct` where the one before is the parent."""

    tests: tuple[Test, ...]
    direct: tuple[bool, ...]


def _chains(selector: str) -> list[Chain]:
    import cssselect
    from cssselect import parser as css

    def refuse(reason: str) -> BadRule:
        return BadRule("selectors", BAD_SELECTOR.format(rule=selector, reason=reason))

    def compound(tree: Any) -> Test:
        if isinstance(tree, css.Element):
            name = tree.element
            return (lambda tag, _: True) if name is None else _is_tag(name.lower())
        if isinstance(tree, css.Matching | css.SpecificityAdjustment):
            inner = [compound(each) for each in tree.selector_list]
            return _both(compound(tree.selector), lambda tag, given: any(test(tag, given) for test in inner))
        if isinstance(tree, css.Negation):
            unwanted = compound(tree.subselector)
            return _both(compound(tree.selector), lambda tag, given: not unwanted(tag, given))
        if isinstance(tree, css.Hash):
            number = tree.id
            return _both(compound(tree.selector), lambda tag, given: given.get("id") == number)
        if isinstance(tree, css.Class):
            word = tree.class_name
            return _both(compound(tree.selector), lambda tag, given: word in given.get("class", "").split())
        if isinstance(tree, css.Attrib):
            value = None if tree.value is None else str(tree.value.value)
            return _both(compound(tree.selector), _has(tree.attrib.lower(), tree.operator, value, refuse))
        raise refuse(f"{type(tree).__name__.lower()} is not supported")

    try:
        parsed = cssselect.parse(selector)
    except (cssselect.SelectorError, RecursionError, ValueError) as error:
        raise refuse(str(error)) from None
    found = []
    for one in parsed:
        if one.pseudo_element is not None:
            raise refuse("pseudo-elements are no part of a page")
        tests: list[Test] = []
        direct: list[bool] = []
        tree = one.parsed_tree
        while isinstance(tree, css.CombinedSelector):
            if tree.combinator not in (" ", ">"):
                raise refuse(f"{tree.combinator} is not supported")
            tests.append(compound(tree.subselector))
            direct.append(tree.combinator == ">")
            tree = tree.selector
        tests.append(compound(tree))
        direct.append(False)
        if len(tests) > LONGEST_CHAIN:
            raise refuse("it is too long")
        found.append(Chain(tuple(reversed(tests)), tuple(reversed(direct))))
    return found


def _is_tag(name: str) -> Test:
    return lambda tag, _: tag == name


def _both(first: Test, second: Test) -> Test:
    return lambda tag, given: first(tag, given) and second(tag, given)


def _has(name: str, operator: str, value: str | None, refuse: Callable[[str], BadRule]) -> Test:
    """Make the test of an attribute (Selectors Level 4, section 6)."""
    if operator == "exists":
        return lambda _, given: name in given
    wanted = value or ""
    tests: dict[str, Callable[[str], bool]] = {
        "=": lambda found: found == wanted,
        "~=": lambda found: bool(wanted) and wanted in found.split(),
        "|=": lambda found: found == wanted or found.startswith(f"{wanted}-"),
        "^=": lambda found: bool(wanted) and found.startswith(wanted),
        "$=": lambda found: bool(wanted) and found.endswith(wanted),
        "*=": lambda found: bool(wanted) and wanted in found,
    }
    test = tests.get(operator)
    if test is None:
        raise refuse(f"{operator} is not supported")
    return lambda _, given: name in given and test(given[name])


class Matcher:
    """Follows the walk through a page and says which elements a rule names.

    For every open element it keeps two sets of numbers as bits: the beginnings of chains that end at this element,
    and those that end at it or above it. So an element costs as much as there are compounds, however deep it lies.
    """

    def __init__(self, chains: tuple[Chain, ...]) -> None:
        self._steps: list[tuple[int, int, bool, Test]] = []  # bit, bit needed before, parent only, test
        self._ends = 0
        bit = 1
        for chain in chains:
            before = 0
            for test, direct in zip(chain.tests, chain.direct, strict=True):
                self._steps.append((bit, before, direct, test))
                before, bit = bit, bit << 1
            self._ends |= before
        self._open: list[tuple[int, int]] = [(0, 0)]

    def enter(self, tag: str, attributes: Attributes) -> bool:
        """Go into an element; is it to be left out."""
        here, above = self._open[-1]
        found = 0
        for bit, before, direct, test in self._steps:
            if (not before or (here if direct else above) & before) and test(tag, attributes):
                found |= bit
        self._open.append((found, above | found))
        return bool(found & self._ends)

    def leave(self) -> None:
        """Come out of the element last gone into."""
        self._open.pop()
