"""The object that gunicorn and `flask` load. gunicorn's worker has patched sockets and locks by then."""

import os

import click

from cloudeye import logs, tracing
from cloudeye.app import create_app
from cloudeye.config import Config, ConfigurationError
from cloudeye.warm import warm

on_command_line = click.get_current_context(silent=True) is not None
try:
    config = Config.from_environment()
except ConfigurationError as error:
    if on_command_line:  # people read it; gunicorn's log shows where it came from as well
        raise click.ClickException(f"the environment does not do:\n{error}") from None
    raise
logs.start(config.log_level, "flask" if on_command_line else os.environ.get("APP_INSTANCE", "api"), tracing.context)
app = create_app(config)
if not on_command_line:
    warm(app)
