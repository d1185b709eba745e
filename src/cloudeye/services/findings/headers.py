"""What the headers of one answer say, and what they leave unsaid.

Policies that concern a document (content, frames, referrer, permissions) are asked of documents alone: a browser
applies none of them to JSON or to a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from cloudeye.services.answer import Answer
from cloudeye.services.findings.found import Found, find

# Half a year of 365 days; what Mozilla's HTTP Observatory asks for.
MINIMUM_HSTS = 15_768_000
DOCUMENTS = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml"})
_REFERRER_POLICIES = frozenset({
    "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin",
    "strict-origin-when-cross-origin", "unsafe-url",
})  # fmt: skip
_UNSAFE_REFERRERS = frozenset({"unsafe-url", "no-referrer-when-downgrade", "origin-when-cross-origin"})
_POWERFUL = frozenset({
    "bluetooth", "camera", "clipboard-read", "display-capture", "geolocation", "hid", "microphone", "midi", "payment",
    "serial", "usb",
})  # fmt: skip
_VERSION = re.compile(r"\d+\.\d")
_TELLING = ("server", "x-powered-by", "x-aspnet-version", "x-aspnetmvc-version")
_SPOKEN_VERSION = re.compile(r"[A-Za-z][ /]v?\d")

Policy = Mapping[str, Sequence[str]]


def is_document(answer: Answer) -> bool:
    """Would a browser show this answer as a page."""
    kind = (answer.header("content-type") or "text/html").partition(";")[0].strip().lower()
    return kind in DOCUMENTS


def inspect(answer: Answer, *, encrypted: bool, named: bool, metas: Mapping[str, Sequence[str]]) -> Iterator[Found]:
    """Find what is missing or weak.

    Args:
        answer: of an ordinary visit.
        encrypted: it came over https.
        named: the host is a name: browsers keep no Strict-Transport-Security for an address (RFC 6797, 8.1.1).
        metas: what the page's meta elements say in place of headers, by lower-case name.
    """
    if encrypted and named:
        yield from _transport(answer)
    if (_joined(answer, "x-content-type-options") or "").partition(",")[0].strip().lower() != "nosniff":
        said = answer.header("x-content-type-options")
        yield find("type_options_missing", evidence=_quoted("X-Content-Type-Options", said))
    yield from _versions(answer)
    if is_document(answer):
        in_headers = policies(_all(answer, "content-security-policy"))
        in_page = policies(metas.get("content-security-policy", ()))
        yield from _content(answer, [*in_headers, *in_page])
        yield from _frames(answer, in_headers)
        yield from _referrer([*_all(answer, "referrer-policy"), *metas.get("referrer", ())])
        yield from _permissions(_all(answer, "permissions-policy"))


def _all(answer: Answer, name: str) -> list[str]:
    return [value for key, value in answer.headers if key == name]


def _joined(answer: Answer, name: str) -> str | None:
    values = _all(answer, name)
    return ", ".join(values) if values else None


def _quoted(name: str, value: str | None) -> str:
    return f"no {name} header" if value is None else f"{name}: {value}"


# -- Strict-Transport-Security: RFC 6797, section 6.1 ----------------------------------------------------------


def _transport(answer: Answer) -> Iterator[Found]:
    said = answer.header("strict-transport-security")  # of several the first alone counts (8.1)
    evidence = _quoted("Strict-Transport-Security", said)
    directives: dict[str, str] = {}
    for part in (said or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name.strip().lower() in directives:
            directives.clear()  # a directive given twice makes the header void
            break
        if name.strip():
            directives[name.strip().lower()] = value.strip().strip('"')
    age = directives.get("max-age", "")
    seconds = int(age[:12]) if re.fullmatch(r"[0-9]+", age) else None
    if not seconds:  # max-age=0 is how a host is forgotten
        yield find("hsts_missing", evidence=evidence)
        return
    if seconds < MINIMUM_HSTS:
        yield find("hsts_short", evidence=evidence)
    if "includesubdomains" not in directives:
        yield find("hsts_no_subdomains", evidence=evidence)


# -- Content-Security-Policy: CSP level 3 ----------------------------------------------------------------------


def policies(values: Sequence[str]) -> list[Policy]:
    """Take policies apart: one a header and part between commas; of a directive given twice the first counts."""
    found: list[Policy] = []
    for value in values:
        for text in value.split(","):
            policy: dict[str, Sequence[str]] = {}
            for directive in text.split(";"):
                words = directive.split()
                if words:
                    policy.setdefault(words[0].lower(), [word.lower() for word in words[1:]])
            if policy:
                found.append(policy)
    return found


_KEYED = ("'nonce-", "'sha256-", "'sha384-", "'sha512-")
_ANYWHERE = frozenset({"*", "http:", "https:", "data:", "http://*", "https://*"})


def script_weaknesses(policy: Policy) -> frozenset[str]:
    """Return the codes of what one policy leaves open to scripts."""
    weak: set[str] = set()
    sources = policy.get("script-src", policy.get("default-src"))
    if sources is None:
        return frozenset({"csp_wildcard", "csp_unsafe_inline", "csp_unsafe_eval"})
    elements = policy.get("script-src-elem", sources)
    keyed = any(word.startswith(_KEYED) for word in elements)
    strict = "'strict-dynamic'" in elements
    # Nonces, hashes and 'strict-dynamic' switch 'unsafe-inline' off, and the last one hosts and schemes as well.
    if "'unsafe-inline'" in elements and not keyed and not strict:
        weak.add("csp_unsafe_inline")
    if "'unsafe-eval'" in sources:
        weak.add("csp_unsafe_eval")
    if not strict and any(word in _ANYWHERE for word in elements):
        weak.add("csp_wildcard")
    return frozenset(weak)


def _allows_inline_styles(policy: Policy) -> bool:
    sources = policy.get("style-src-elem", policy.get("style-src", policy.get("default-src")))
    if sources is None:
        return True
    return "'unsafe-inline'" in sources and not any(word.startswith(_KEYED) for word in sources)


def _content(answer: Answer, found: Sequence[Policy]) -> Iterator[Found]:
    said = _joined(answer, "content-security-policy")
    if not found:
        report = answer.header("content-security-policy-report-only") is not None
        evidence = "only Content-Security-Policy-Report-Only, which stops nothing" if report else None
        yield find("csp_missing", evidence=evidence or _quoted("Content-Security-Policy", said))
        return
    evidence = _quoted("Content-Security-Policy", said) if said else "Content-Security-Policy in a meta element"
    # Every policy is enforced: what one of them forbids is forbidden.
    open_to_all = frozenset.intersection(*(script_weaknesses(policy) for policy in found))
    if not any({"script-src", "default-src"} & policy.keys() for policy in found):
        # It says nothing of scripts at all; that is one weakness, not three.
        yield find("csp_wildcard", evidence=f"neither script-src nor default-src in {evidence}")
        return
    for code in sorted(open_to_all):
        yield find(code, evidence=evidence)
    if all(_allows_inline_styles(policy) for policy in found):
        yield find("csp_style_unsafe_inline", evidence=evidence)


def _frames(answer: Answer, found: Sequence[Policy]) -> Iterator[Found]:
    lists = [policy["frame-ancestors"] for policy in found if "frame-ancestors" in policy]
    if lists:  # counts in place of X-Frame-Options (CSP 3, 6.4.2.2)
        if all(any(word in _ANYWHERE for word in ancestors) for ancestors in lists):
            yield find("frame_weak", evidence=f"frame-ancestors {' '.join(lists[0])}")
        return
    said = _joined(answer, "x-frame-options")
    if said is None:
        yield find("frame_missing", evidence="neither frame-ancestors nor X-Frame-Options")
    elif not {part.strip().lower() for part in said.split(",")} & {"deny", "sameorigin"}:
        yield find("frame_weak", evidence=_quoted("X-Frame-Options", said))


# -- the others ------------------------------------------------------------------------------------------------


def _referrer(values: Sequence[str]) -> Iterator[Found]:
    words = [word.strip().lower() for value in values for word in value.split(",")]
    known = [word for word in words if word in _REFERRER_POLICIES]  # unknown ones are skipped, the last one counts
    if not known:
        yield find("referrer_missing", evidence=_quoted("Referrer-Policy", ", ".join(values) if values else None))
    elif known[-1] in _UNSAFE_REFERRERS:
        yield find("referrer_unsafe", evidence=f"Referrer-Policy: {', '.join(values)}")


def _permissions(values: Sequence[str]) -> Iterator[Found]:
    if not values:
        yield find("permissions_missing", evidence="no Permissions-Policy header")
        return
    for part in ", ".join(values).split(","):
        feature, _, allowed = part.strip().partition("=")
        if feature.strip().lower() in _POWERFUL and "*" in allowed.strip().strip("()").split():
            yield find("permissions_wildcard", feature.strip().lower(), f"Permissions-Policy: {part.strip()}")


def _versions(answer: Answer) -> Iterator[Found]:
    for name in _TELLING:
        for value in _all(answer, name):
            if _VERSION.search(value):
                yield find("version_disclosed", name, f"{name}: {value}")
    generator = answer.header("x-generator")
    if generator is not None and tells_version(generator):
        yield find("version_disclosed", "x-generator", f"x-generator: {generator}")


def tells_version(text: str) -> bool:
    """Does a generator's name carry a version, as in "WordPress 6.4" or "Drupal 10"."""
    return _SPOKEN_VERSION.search(text) is not None
