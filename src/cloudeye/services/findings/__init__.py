"""Weaknesses of sites: what a visit shows, what a scan finds, how they are kept and graded.

`inspect` looks into the answer to one ordinary request. What takes more than that is in `scan`, for sites whose owner
proved control (`control`). `catalogue` knows all codes, `store` keeps what was found, `grade` adds it up.
"""

from cloudeye.services.findings.found import Found, Look
from cloudeye.services.findings.visit import inspect

__all__ = ["Found", "Look", "inspect"]
