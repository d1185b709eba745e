"""Alembic's folder, driven through Flask-Migrate (``flask db ...``)."""
