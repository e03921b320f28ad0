"""Is what accounts' attributes were (`past_attribute`) what the record of changes says? And made anew from it."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import String, and_, bindparam, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.history.changes import CHANGES, PAYLOADS
from cs_mcp.db.many_rows import Upsertion
from cs_mcp.db.read_path import Statement
from cs_mcp.db.revenue.past_attributes import FIELDS
from cs_mcp.db.revenue.tables import PAST_ATTRIBUTE
from cs_mcp.db.wire import Wire

Row = Mapping[str, Any]
Asking = Generator[tuple[Statement, dict[str, Any]], Sequence[Row], None]
Field = tuple[str, str]  # account, field

PAGE: Final = 1_000  # accounts
ABSENT: Final = object()
_PAST_ALL_IDS: Final = "z" * 32
_ACCOUNT: Final[Any] = AccountRow.__table__
_HERE: Final = bindparam("in_workspace", type_=String)
_AFTER, _LAST = bindparam("after", type_=String), bindparam("last", type_=String)


def _told() -> Any:
    c, p = CHANGES.c, PAYLOADS.c
    return (
        select(c.entity_id, c.change_id, c.kind, c.at, p.before)
        .join_from(CHANGES, PAYLOADS, and_(p.workspace == c.workspace, p.seq == c.seq))
        .where(c.workspace == _HERE, c.entity == "account", c.entity_id > _AFTER, c.entity_id <= _LAST)
        .order_by(c.seq)
    )


def _kept() -> Any:
    t = PAST_ATTRIBUTE.c
    return select(t.account_id, t.field, t.until_at, t.value).where(
        t.workspace == _HERE, t.account_id > _AFTER, t.account_id <= _LAST
    )


_ACCOUNTS: Final = Statement(
    lambda: (
        select(_ACCOUNT.c.id)
        .where(_ACCOUNT.c.workspace == _HERE, _ACCOUNT.c.id > _AFTER)
        .order_by(_ACCOUNT.c.id)
        .limit(PAGE)
    )
)
_TOLD: Final = Statement(_told)
_KEPT: Final = Statement(_kept)
_ANEW: Final = Upsertion(PAST_ATTRIBUTE, "value = excluded.value")


class _Told(NamedTuple):
    """Of each account and field the instants of its changes with the values until then, in order.

    `erased`: by account, instants of changes whose values were erased, of which nothing can be said.
    """

    changes: defaultdict[Field, dict[datetime, Any]]
    erased: defaultdict[str, set[datetime]]


class Difference(NamedTuple):
    """What is kept of an attribute until an instant, and what the history tells; `ABSENT` where there is nothing."""

    of: Field
    until: datetime
    kept: Any
    told: Any

    def text(self) -> str:
        account, field = self.of
        said = f"{account}: its {field} until {self.until:%Y-%m-%d %H:%M:%S}Z is"
        if self.told is ABSENT:
            return f"{said} kept as {self.kept!r}, and no change tells of it"
        kept = "not kept" if self.kept is ABSENT else f"kept as {self.kept!r}"
        return f"{said} {kept}, the history says {self.told!r}"


def _of_entries(entries: Iterable[Row]) -> _Told:
    """Of two changes at one instant the first tells what was so before it; the write that made an account, nothing."""
    created: dict[str, str] = {}
    found = _Told(defaultdict(dict), defaultdict(set))
    for entry in entries:
        account, at = entry["entity_id"], entry["at"]
        if entry["kind"] == "created":
            created[account] = entry["change_id"]
        elif entry["before"] is None:
            found.erased[account].add(at)
        elif created.get(account) != entry["change_id"]:
            for field in sorted(FIELDS & entry["before"].keys()):
                found.changes[account, field].setdefault(at, entry["before"][field])
    return found


def _differences(told: _Told, rows: Iterable[Row]) -> list[Difference]:
    """A value is kept when it is written, and told when its write ends: it belongs to the next change after it."""
    kept: defaultdict[Field, list[tuple[datetime, Any]]] = defaultdict(list)
    for row in rows:
        kept[row["account_id"], row["field"]].append((row["until_at"], row["value"]))
    found: list[Difference] = []
    for of in sorted({*kept, *told.changes}):
        changes = told.changes.get(of, {})
        ends = sorted({*changes, *told.erased[of[0]]})
        first: dict[datetime, tuple[datetime, Any]] = {}
        for until, value in sorted(kept.get(of, []), key=lambda one: one[0]):
            place = bisect_left(ends, until)
            if place == len(ends):
                found.append(Difference(of, until, value, ABSENT))
            else:
                first.setdefault(ends[place], (until, value))
        for at, value in changes.items():
            until, known = first.get(at, (at, ABSENT))
            if known is ABSENT or known != value:
                found.append(Difference(of, until, known, value))
    return found


def attribute_faults(workspace: str, mended: list[str], faults: list[str]) -> Asking:
    """What is missing or other goes into `mended`, which a rebuild mends; what no change tells of into `faults`."""
    after = ""
    while after != _PAST_ALL_IDS:
        page = _page(workspace, after, (yield _ACCOUNTS, {"in_workspace": workspace, "after": after}))
        told = _of_entries((yield _TOLD, page))
        for difference in _differences(told, (yield _KEPT, page)):
            (faults if difference.told is ABSENT else mended).append(difference.text())
        after = page["last"]


async def remember_anew(wire: Wire, workspace: str) -> None:
    """Write what the history tells otherwise; sums that are kept by attributes are to be made anew after it."""
    after = ""
    while after != _PAST_ALL_IDS:
        page = _page(workspace, after, await wire.rows(_ACCOUNTS, {"in_workspace": workspace, "after": after}))
        told = _of_entries(await wire.rows(_TOLD, page))
        wrong = [one for one in _differences(told, await wire.rows(_KEPT, page)) if one.told is not ABSENT]
        if wrong:
            accounts, fields = zip(*(one.of for one in wrong), strict=True)
            given = {"workspace": [workspace] * len(wrong), "field": fields, "account_id": accounts}
            given |= {"until_at": [one.until for one in wrong], "value": [one.told for one in wrong]}
            await wire.insert(_ANEW, given)
        after = page["last"]


def _page(workspace: str, after: str, accounts: Sequence[Row]) -> dict[str, str]:
    """The last page takes in what is kept of accounts that are not there."""
    last = accounts[-1]["id"] if len(accounts) == PAGE else _PAST_ALL_IDS
    return {"in_workspace": workspace, "after": after, "last": last}
