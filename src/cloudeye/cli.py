"""The `flask` commands, beside Flask-Migrate's `flask db`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy import text

from cloudeye.config import Config
from cloudeye.extensions import db
from cloudeye.models import Base
from cloudeye.schemas.common import MINIMUM_PASSWORD
from cloudeye.services import sites, users
from cloudeye.services.mail import BadRecipient, check_recipient
from cloudeye.services.readiness import VERSIONS, check_readiness, contract_revisions, known_revisions

MIGRATIONS = VERSIONS.parent
REACH_SECONDS = 3
CHECKOUT = Path(__file__).resolve().parents[2]
OWN_TESTS = ("tests/unit/cloudeye", "tests/integration")  # those of the application; `make test` runs all


def register(app: Flask) -> None:
    """Add the commands to the application."""
    for command in (create_admin, check, check_migrations, recreate_db, seed, run_tests):
        app.cli.add_command(command)
    # Alembic is loaded for commands only: a serving process has no use for its megabytes.
    if click.get_current_context(silent=True) is not None:
        add_migrations(app)


def add_migrations(app: Flask) -> None:
    """Make Flask-Migrate's commands and functions work on this application."""
    from flask_migrate import Migrate

    Migrate(app, db, directory=str(MIGRATIONS), compare_type=True)


@click.command()
@click.option("--email", required=True, help="The address to log in with.")
@click.option(
    "--password-file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file that holds the password in its first line.",
)
@with_appcontext
def create_admin(email: str, password_file: Path) -> None:
    """Make an admin; a user who is already there is left alone, unless there would be no admin at all."""
    password = password_file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    if len(password) < MINIMUM_PASSWORD:
        raise click.ClickException(f"{password_file} holds fewer than {MINIMUM_PASSWORD} characters")
    try:
        check_recipient(email)
    except BadRecipient as bad:
        raise click.ClickException(f"{email}: {bad}") from None
    session = db.session()
    try:
        users.create_user(session, username=email.partition("@")[0], email=email, password=password, role="admin")
        session.commit()
        click.echo(f"{email} was added")
    except users.Taken:
        there = users.find_user(session, email)
        if there is None or (there.active and there.is_admin):
            click.echo(f"{email} is already there")
        elif users.has_admin(session):
            click.echo(f"{email} is already there, but is no active admin; an admin can change that")
        else:
            there.role, there.active = "admin", True
            session.commit()
            click.echo(f"{email} is already there, and admin now: there was none")


@click.command()
@with_appcontext
def check() -> None:
    """Check the configuration, the database and its migrations, and whether the other servers are reachable."""
    config: Config = current_app.config["CLOUDEYE"]
    click.echo(f"configuration: complete ({config.environment}, release {config.release})")
    found = check_readiness(db.engine)
    if not found.reachable:
        raise click.ClickException(f"database: unreachable: {found.error}")
    click.echo(f"database: reachable ({db.engine.dialect.name})")
    if not config.on_sqlite:
        _check_connections(config.connections)
    # What follows is said, and no failure: a release can do without it for a while.
    if config.mail.host:
        click.echo(f"mail: {config.mail.host} {_reach(config.mail.host, config.mail.port)}")
    else:
        click.echo(f"mail: written to files in {config.data_dir / 'mail'}, since mail.host is empty")
    if config.cache_url:
        parts = urlsplit(config.cache_url)
        click.echo(f"cache: {parts.hostname} {_reach(parts.hostname or '', parts.port or 6379)}")
    if config.oidc.issuer:
        from cloudeye.services.oidc_provider import Unavailable, provider

        try:
            click.echo(f"issuer: reachable, keys: {provider(config.oidc.issuer).reach()}")
        except Unavailable as unavailable:
            click.echo(f"issuer: not reachable: {unavailable}")
    if found.missing:
        raise click.ClickException(
            f"migrations: {', '.join(found.missing)} missing; run: flask --app cloudeye.wsgi db upgrade"
        )
    waiting = f"; {', '.join(found.waiting)} can wait: this release does without it" if found.waiting else ""
    click.echo(f"migrations: complete{waiting}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Answer with one line of JSON, for programs.")
@with_appcontext
def check_migrations(as_json: bool) -> None:
    """Check that each migration suits its kind, and say which have not run.

    An expand migration adds, while the release before goes on serving; a contract one takes away what neither needs.
    """
    from cloudeye.migrations.checking import problems

    broken = problems(MIGRATIONS)
    for problem in broken:
        click.echo(f"Error: {problem}", err=True)
    if broken:
        sys.exit(1)
    found = check_readiness(db.engine)
    if not found.reachable:
        raise click.ClickException(f"database: unreachable: {found.error}")
    known, contract = known_revisions(VERSIONS), contract_revisions(VERSIONS)
    lacking = {*found.missing, *found.waiting}
    if as_json:
        click.echo(json.dumps({"empty": lacking == set(known), "pending": sorted(lacking)}))
        return
    click.echo(f"{len(known)} migrations suit their kinds; {len(known) - len(lacking)} have run")
    for revision in sorted(lacking):
        click.echo(f"{revision}: {'contract' if revision in contract else 'expand'}, has not run")


def _check_connections(wanted: int) -> None:
    """Say so where the server would turn away some of the connections that the stack's processes may open."""
    with db.engine.connect() as connection:
        limits = connection.execute(text("SELECT @@max_connections, @@max_user_connections")).one()
    for name, limit in zip(("max_connections", "max_user_connections"), limits, strict=True):
        if 0 < limit < wanted:  # no limit is 0
            raise click.ClickException(
                f"database: its {name} is {limit}, but the processes of this stack may open {wanted} connections; "
                f"raise it there, or lower database.pool_size in the stack"
            )


def _reach(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        return f"is not reachable at port {port}: {error}"
    return f"is reachable at port {port}"


@click.command()
@click.option("--yes-destroy", is_flag=True, help="Destroy what a production database holds.")
@with_appcontext
def recreate_db(yes_destroy: bool) -> None:
    """Remove all tables with what they hold, and make them anew."""
    config: Config = current_app.config["CLOUDEYE"]
    if config.environment in ("production", "staging") and not yes_destroy:
        raise click.ClickException(
            f"this is {config.environment}: all users and sites would be lost; --yes-destroy does it"
        )
    from flask_migrate import upgrade

    Base.metadata.drop_all(db.engine)
    with db.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
    upgrade()
    click.echo("all tables were made anew")


@click.command()
@click.option("--sites", "number", default=5, show_default=True, help="How many sites to add.")
@with_appcontext
def seed(number: int) -> None:
    """Add a user without password and some sites to look at; what is there already stays."""
    config: Config = current_app.config["CLOUDEYE"]
    session = db.session()
    owner = users.find_user(session, "demo@example.com")
    if owner is not None:
        click.echo("the demo user is already there")
        return
    owner = users.create_user(session, username="demo", email="demo@example.com")
    with click.progressbar(range(number), label="adding sites", file=sys.stderr) as counts:
        for count in counts:
            site = {"name": f"Example {count + 1}", "url": f"https://example.com/?{count + 1}"}
            sites.create_site(session, owner_id=owner.id, given=site, config=config.sync)
    session.commit()
    click.echo(f"demo@example.com was added, with {number} sites")


@click.command("test", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]...")
def run_tests(arguments: tuple[str, ...]) -> None:
    """Run the application's tests with pytest, on databases of their own.

    Further arguments are pytest's, for example: flask test tests/unit/cloudeye -k seed
    """
    if not find_spec("pytest") or not (CHECKOUT / OWN_TESTS[0]).is_dir():
        raise click.ClickException(
            "the tests and pytest are not installed here; in a checkout run: make test ARGS='unit integration'"
        )
    chosen = [] if any((CHECKOUT / word.partition("::")[0]).exists() for word in arguments) else OWN_TESTS
    # What this command was told of a stack is not for the tests: none of them may meet its database.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("APP_", "FLASK_"))}
    command = [sys.executable, "-m", "pytest", *arguments, *chosen]
    sys.exit(subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode)
