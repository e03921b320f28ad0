"""Imports: sheets of records compared with what is there."""
