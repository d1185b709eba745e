"""The background process of the very small application."""
