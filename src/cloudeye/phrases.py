"""Texts that others make in English, for the catalogue: Werkzeug, marshmallow, and services that know no language.

The services are shared with sync, which speaks to nobody; what they say is translated where it leaves.
"""

from __future__ import annotations

import re


def N_(text: str) -> str:
    """Mark a text for the catalogue; it is translated where it leaves."""
    return text


RANGES = (
    N_("Must be greater than or equal to {min}."),
    N_("Must be less than or equal to {max}."),
    N_("Must be greater than or equal to {min} and less than or equal to {max}."),
)
# Werkzeug's own, which errors.py translates.
DESCRIPTIONS = (
    N_("The browser (or proxy) sent a request that this server could not understand."),
    N_(
        "The requested URL was not found on the server. If you entered the URL manually please check your spelling"
        " and try again."
    ),
    N_("The method is not allowed for the requested URL."),
    N_("A request with this method requires a valid <code>Content-Length</code> header."),
    N_("The data value transmitted exceeds the capacity limit."),
    N_("The length of the requested URL exceeds the capacity limit for this server. The request cannot be processed."),
    N_("The server does not support the media type transmitted in the request."),
    N_("The server could not meet the requirements of the Expect header"),
    N_("This user has exceeded an allotted request count. Try again later."),
    N_("One or more header fields exceeds the maximum size."),
)

# What services/netguard.py says of a URL or an address.
FORMS = (
    N_("{address} stands for {refusal}"),
    N_("{address} is not an IP address"),
    N_("{address} is not an IPv6 address"),
    N_("{address} is not an IPv4 address"),
    N_("{address} is an IPv4 address in disguise: write it as four decimal numbers"),
    N_("{address} names a network interface"),
    N_("{address} is an IPv4-compatible address"),
    N_("{address} is outside the global unicast range"),
    N_("{address} is not a host name"),
    N_("{address} is a cloud's metadata service"),
    N_("{address} is an unspecified address"),
    N_("{address} is a multicast address"),
    N_("{address} is a reserved address"),
    N_("{address} is a site-local address"),
    N_("{address} is a Teredo address"),
    N_("{address} is a 6to4 address"),
    N_("{address} is a discarding address"),
    N_("{address} is a loopback address"),
    N_("{address} is a private address"),
    N_("{address} is a link-local address"),
    N_("{address} is a carrier's shared address"),
    N_("{address} is a protocol assignment"),
    N_("{address} is an address for documentation"),
    N_("{address} is an address for benchmarks"),
    N_("{address} is a 6to4 relay address"),
    N_("{address} is a local NAT64 address"),
    N_("the host is not a valid internationalised name"),
    N_("the URL is longer than {number} characters"),
    N_("the URL holds blanks, backslashes or control characters"),
    N_("the URL cannot be read: {error}"),
    N_("the URL must begin with http:// or https://"),
    N_("the URL must not hold a user or a password"),
    N_("the URL has no valid host"),
    N_("the port must be between 1 and 65535"),
    # services/ask.py, of what an owner asks of a probe
    N_("there are more than {number} statuses and ranges"),
    N_("{text} is no status: write them as in 200-299,301,404"),
    N_("the range {range} ends before it begins"),
    N_("{text} is outside of {first} to {last}"),
    N_("{name} is no name of a header"),
    N_("the header {name} cannot be chosen"),
    N_("the header {name} is given twice"),
    N_("the value of the header {name} must be printable ASCII without blanks at its beginning and end"),
    N_("there are more than {number} headers"),
    N_("the headers are longer than {number} characters together"),
    N_("the method must be one of: {methods}"),
    N_("the body is longer than {number} bytes"),
    # services/maintenance.py, of a maintenance window
    N_("there are more than {most} maintenance windows"),
    N_("window {number}: {problem}"),
    N_("it must not last longer than {days} days"),
    N_("weekdays must be a list of: {days}"),
    N_("minutes must be a whole number from 1 to {most}"),
    # services/sites.py and services/transfer.py, of a site and of a file of sites
    N_("Must be at most {most} seconds."),
    N_("Must be at most {most} bytes of UTF-8."),
    N_("Longer than maximum length {max}."),
    N_("there are more than {most} sites in the file"),
    N_("the name and the URL are those of {place} {number}"),
    N_("the file must be of the form {example}"),
    N_("it is longer than {most} characters"),
    N_("it is no CSV: {error}"),
    N_("there are {number} cells, and {columns} columns"),
    N_("there is no column {name}"),
    N_("the column {name} is there twice"),
    N_("the column {name} is missing"),
    # services/tamper/rules.py, of a rule for what is ignored
    N_("At most {number} rules of a kind."),
    N_("Must be a list of texts of 1 to {number} characters."),
    N_("{rule}: not a selector that is understood here ({reason})."),
    N_("{rule}: not a pattern that is understood here ({reason})."),
    N_("{rule}: there is no such kind of rule."),
)

_LONGEST = 2_000  # characters of what could be one of the forms


def _pattern(form: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", form)
    texts = [f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)]
    return re.compile("".join(texts), re.DOTALL)


_PATTERNS = [(form, _pattern(form)) for form in FORMS if "{" in form]


def find_form(said: str) -> tuple[str, dict[str, str]] | None:
    """Return the form that a text was made by, and the values in it; None when it is none of FORMS."""
    if len(said) > _LONGEST:
        return None
    for form, pattern in _PATTERNS:
        found = pattern.fullmatch(said)
        if found is not None:
            return form, found.groupdict()
    return None
