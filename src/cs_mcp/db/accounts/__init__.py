"""Accounts and what is read beside them."""
