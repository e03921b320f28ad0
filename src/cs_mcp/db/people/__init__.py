"""Contacts, sponsorships and their reads."""
