"""Expansion: opportunities and what speaks for one."""
