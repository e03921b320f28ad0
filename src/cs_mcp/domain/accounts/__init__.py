"""Accounts, their lifecycle, what makes two one, and which are high-value."""
