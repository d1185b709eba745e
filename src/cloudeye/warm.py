"""What would otherwise be done while the first visitor waits, and everybody else of the same worker with them."""

from __future__ import annotations

import gc

from flask import Flask
from sqlalchemy.orm import configure_mappers


def warm(app: Flask) -> None:
    """Compile and load what requests need, before a worker takes any.

    What is there by now stays for good: the collector need not look through it again, which took 100 ms of some
    request or other (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    configure_mappers()
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)
    gc.collect()
    gc.freeze()
