"""What an import tells its user: counts a file, why rows were left out, and what looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel

EXAMPLES: Final = 5
REJECTS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A row as its source tells it: typed values by the import format's field names.

    A name that `told` lacks is a column the file does not have, and leaves what is stored alone; None is an empty cell.
    """

    line: int
    source_id: str
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was left out. `final`: nothing after it can be read, so the file stops whatever is asked."""

    line: int
    reason: str
    row: Mapping[str, Any] = field(default_factory=dict[str, Any])
    final: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not for the store though nothing is wrong with it; rows are counted by `why`.

    `gone` is the source id of a record that the source has no more, `merged_into` that of the one it went into.
    """

    line: int
    why: str
    row: Mapping[str, Any]
    gone: str | None = None
    merged_into: str | None = None


class Refused(ValueError):
    """Why one row cannot be stored."""


class Looks(StrEnum):
    """What can look wrong with rows that are stored all the same, but for the first, which are not."""

    unknown_account = "unknown account"
    unknown_user = "unknown user"
    unknown_record = "unknown parent or subscription"
    dates = "dates out of order"
    ended_at_once = "subscription that ended on its start day"
    departed_yet_active = "contact with a departure in the past who is not departed"
    unmapped = "value that the mapping does not know, taken as empty"
    no_address = "contact whose e-mail is no address, taken without"
    several_companies = "record of several companies, taken for one of them"
    gone = "deleted or merged at the source, still here"
    shared_name = "name of several accounts"
    shared_domain = "domain of several accounts"
    no_rate = "currency without a rate"
    overlap = "subscriptions of one product that overlap, of which both count"
    below_zero = "movements by which ARR falls below zero"
    sign = "movement whose sign contradicts its kind"
    ledger_by_hand = "ledger kept by hand, not derived again"
    won_here = "opportunity won here, which its source tells otherwise; kept as won"
    churned_yet_paying = "churn that contradicts the ledger"
    usage_first = "usage before the contract"
    unread_column = "column that nothing reads"


class Warned(BaseModel):
    kind: Looks
    count: int = 0
    examples: list[str] = []


class Warnings:
    """Warnings by kind: all are counted, the first few are kept in words."""

    def __init__(self) -> None:
        self._by_kind: dict[Looks, Warned] = {}

    def add(self, kind: Looks, example: str, count: int = 1) -> None:
        warned = self._by_kind.setdefault(kind, Warned(kind=kind, examples=[]))
        warned.count += count
        if len(warned.examples) < EXAMPLES and example not in warned.examples:
            warned.examples.append(example)

    def merge(self, others: Warnings) -> None:
        for kind, warned in others._by_kind.items():
            for example in warned.examples:
                self.add(kind, example, 0)
            self._by_kind[kind].count += warned.count

    def listed(self) -> list[Warned]:
        order = list(Looks)
        return sorted(self._by_kind.values(), key=lambda warned: order.index(warned.kind))


class State(StrEnum):
    done = "done"
    stopped = "stopped"  # nothing of the file is written
    not_reached = "not_reached"  # a file it depends on was stopped
    not_read_yet = "not_read_yet"  # this version keeps no such records


class RejectedLine(BaseModel):
    line: int
    reason: str


class Tally(BaseModel):
    """Records. `restored` were removed (an undone import) and came again; they are not counted as updated.

    `removed` are those whose row now says that the source has them no more.
    """

    created: int = 0
    updated: int = 0
    restored: int = 0
    unchanged: int = 0
    removed: int = 0

    @property
    def changed(self) -> int:
        return self.created + self.updated + self.restored + self.removed


class FileReport(BaseModel):
    """One file, or the step that derives (`ledger`). `rows` were read, `skipped` of them are not in the store."""

    file: str
    kind: str
    state: State = State.done
    rows: int = 0
    skipped: int = 0
    records: Tally = Tally()
    # Records of other kinds that the file's rows speak of, such as the account managers of accounts.
    others: dict[str, Tally] = {}
    why: str | None = None
    rejects: list[RejectedLine] = []  # the first ones; all of them are in the rejects file
    left_out: dict[str, int] = {}  # rows, by why they are not for the store; counted in `skipped` too

    def nothing_written(self, why: str) -> None:
        self.state, self.why = State.stopped, why
        self.records, self.others = Tally(), {}


class CustomFieldFound(BaseModel):
    """A column that became a custom field. `values` are those of a choice, or else empty."""

    file: str
    column: str
    name: str
    type: str
    values: list[str] = []


class ImportReport(BaseModel):
    """`run_id` names the whole import, for undoing it. In a preview nothing was written."""

    run_id: str
    source: str
    workspace: str
    preview: bool
    files: list[FileReport] = []
    warnings: list[Warned] = []
    unread_files: list[str] = []
    custom_fields: list[CustomFieldFound] = []
    rejects_file: str | None = None

    @property
    def stopped(self) -> bool:
        return any(file.state is State.stopped for file in self.files)

    @property
    def changed(self) -> int:
        return sum(file.records.changed + sum(t.changed for t in file.others.values()) for file in self.files)
