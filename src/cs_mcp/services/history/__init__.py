"""The record of changes: read, told, undone."""
