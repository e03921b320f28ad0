"""Signals that are records."""
