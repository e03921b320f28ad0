"""Figures of the ledger: retention, cohorts, forecast, and what is aimed at."""
