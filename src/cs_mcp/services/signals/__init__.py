"""Signals told by hand: usage, tickets, invoices, answers, events."""
