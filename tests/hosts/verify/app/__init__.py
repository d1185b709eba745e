"""Hosts that run the app."""
