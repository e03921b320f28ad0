"""A version of the rubric as a workspace keeps it: snapshots name it, so its text stays for ever."""

from __future__ import annotations

from datetime import datetime

from cs_mcp.domain.records import Record


class RubricVersion(Record):
    """`digest` is the SHA-256 of `text`; one version of a workspace is in force."""

    name: str
    digest: str
    text: str
    adopted_at: datetime
    in_force: bool
