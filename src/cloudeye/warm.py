"""What would otherwise be done while the first visitor waits, and everybody else of the same worker with them."""

from __future__ import annotations

import gc
from importlib import import_module

from flask import Flask
from sqlalchemy.orm import configure_mappers


def warm(app: Flask) -> None:
    """Compile and load what requests need, before a worker takes any.

    What is there by now stays for good: the collector need not look through it again, which took 100 ms of some
    request or other (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    configure_mappers()
    modules = ["cssselect", "cloudeye.services.findings.proof"]  # for ignore rules, and for proofs of control
    if app.config["CLOUDEYE"].oidc.issuer:
        modules.append("cloudeye.services.oidc")
    for name in modules:
        import_module(name)
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)
    gc.collect()
    gc.freeze()
    # Requests that wait are many objects, and the collector would look through all of them at every turn: with 1,000
    # clients at a query of 50 ms that took a third of the rate.
    gc.set_threshold(10_000, 20, 20)
