"""The tasks, by what they are about."""
