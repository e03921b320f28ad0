"""Readers of other systems' exports: each turns its files into the records of the import format."""
