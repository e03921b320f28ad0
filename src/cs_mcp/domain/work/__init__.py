"""Meetings, tasks, and the clock of a reply."""
