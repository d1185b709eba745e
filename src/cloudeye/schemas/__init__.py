"""What goes in and what comes out, by subject."""

from cloudeye import i18n  # noqa: F401 - gives marshmallow its messages, before a schema is made
