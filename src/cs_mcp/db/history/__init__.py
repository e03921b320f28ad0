"""The record of changes, and what is read and taken back from it."""
