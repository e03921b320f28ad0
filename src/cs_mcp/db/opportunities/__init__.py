"""Opportunities and what speaks for one."""
