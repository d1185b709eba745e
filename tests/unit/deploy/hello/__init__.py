"""A very small application."""
