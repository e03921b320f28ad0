"""Renewals and their reads."""
