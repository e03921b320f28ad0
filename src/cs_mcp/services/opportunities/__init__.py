"""Expansion: candidates, opportunities, wins."""
