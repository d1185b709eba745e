"""Tampering: what a page is like, by which rules it is read, and how it differs from the one that was accepted."""
