"""Renewals, from the opened cycle to won or lost."""
