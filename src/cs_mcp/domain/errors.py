"""Failures a caller can act on: each says what happened, with the value, and what to do next."""

from __future__ import annotations


class CustomerSuccessError(Exception):
    """A refusal in words. `remedy` is the next step and is never empty."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.args[0]} {self.remedy}"

    @property
    def message(self) -> str:
        return str(self.args[0])


class NotFound(CustomerSuccessError):
    """No such record, or none the caller may see: the two answer alike (tools.md, rule 9)."""


class Ambiguous(CustomerSuccessError):
    """Several records fit a name; a write never guesses."""


class Stale(CustomerSuccessError):
    """The record changed since it was read."""


class NotAllowed(CustomerSuccessError):
    """The caller's role does not reach this."""


class Invalid(CustomerSuccessError):
    """A value that breaks a rule of the domain."""


class Conflict(CustomerSuccessError):
    """The request contradicts what is already there."""


class StoreUnusable(CustomerSuccessError):
    """The store cannot be used as it is: wrong schema, wrong role, unsafe library."""
