"""The desks of tests/server, for the contract that depends on who sits at one."""

from server.conftest import ana, desks, era, sit

__all__ = ["ana", "desks", "era", "sit"]
