"""Customers: lists of them, one whole, edits, merges, lifecycle, tiers, timeline."""
