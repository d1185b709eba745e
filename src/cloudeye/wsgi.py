"""The object that gunicorn and `flask` load. gunicorn's worker has patched sockets and locks by then."""

import click

from cloudeye import logs, tracing
from cloudeye.app import create_app
from cloudeye.config import Config

config = Config.from_environment()
on_command_line = click.get_current_context(silent=True) is not None
logs.start(config.log_level, "flask" if on_command_line else "api", tracing.context)
app = create_app(config)
