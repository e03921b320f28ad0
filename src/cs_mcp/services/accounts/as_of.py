"""An account as it was: record fields folded back from the history, derived figures from dated facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from cs_mcp.db.accounts.reads import AccountReads
from cs_mcp.db.history.history import HistoryReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.changes import Change, ChangeKind, folded_back
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.work.meetings import NOT_A_MEETING

_DATES = frozenset({
    "created_on", "renewal_on", "starts_on", "ends_on", "canceled_on", "closes_on", "notice_deadline_on", "due_on",
    "snoozed_until", "done_on", "held_on", "written_on", "from_on", "to_on", "departed_on", "leaves_on",
    "last_confirmed_on", "materials_shared_on", "payment_method_expires_on", "stakeholders_confirmed_on", "closed_on",
    "opened_on", "expected_on", "pilot_from", "pilot_to",
})  # fmt: skip
_INSTANTS = frozenset({"removed_at", "held_at", "sla_due_at"})


@dataclass(frozen=True, slots=True)
class Past:
    """The account's rows by table as of a day; `recorded` is False for a day before its first entry.

    `contacts` are all it ever had: they name people whom dated facts tell of.
    """

    account: Row
    team: list[Row]
    contacts: list[Row]
    rows: dict[str, list[Row]]
    recorded: bool
    remark: str | None


class AsOf:
    def __init__(self, store: Store) -> None:
        self._accounts = AccountReads(store)
        self._history = HistoryReads(store)

    async def account(self, principal: Principal, account: str, day: date, calendar: Calendar) -> Past | None:
        """The account at the end of `day` in the workspace's calendar, or None where the caller may not see it."""
        rows, arr_minor = await self._accounts.everything(principal, account, day)
        if not rows["account"]:
            return None
        end = calendar.end_of(day)
        later = await self._history.since(principal, account, end)
        if came := sorted({c.entity_id for c in later if c.before is not None and "account_id" in c.fields}):
            # Records that another account held meanwhile or before: what happened to them there is told of that one.
            there = await self._history.of_records_since(principal, came, end)
            later = sorted({c.seq: c for c in [*later, *there]}.values(), key=lambda c: c.seq, reverse=True)
        first = await self._history.first_of(principal, account)
        past = _folded(rows, later, account)
        was = row_before(rows["account"][0], [change for change in later if change.entity_id == account])
        recorded = was is not None
        remark = None
        if was is not None and was["removed_at"] is not None:
            remark = f"{account} had been removed on {day} and was restored later; it is shown as it was then."
        if was is None:
            # Before the first entry only dated facts speak: what was signed, held or begun by then.
            since = calendar.day_of(first.at) if first is not None else day
            remark = (
                f"{account} was first recorded on {since}. For {day} only dated facts are known (contract, ARR, "
                "meetings, sponsorships); its other fields are as they were first recorded."
            )
            was = first_known(rows["account"][0], first)
            past = {name: [row for row in found if _dated_by(name, row, day)] for name, found in rows.items()}
        names = await self._accounts.member_names(principal)
        was = _derived(was, past, day, arr_minor) | {"owner_name": names.get(was["owner_id"])}
        team = [seat | {"name": names.get(seat["user_id"], "?")} for seat in past["account_team"]]
        for table, person in (("task", "assignee_id"), ("health_note", "author_id")):
            past[table] = [row | {"person_name": names.get(row[person])} for row in past[table]]
        return Past(was, team, rows["contact"], past, recorded, remark)


def _folded(rows: dict[str, list[Row]], later: list[Change], account: str) -> dict[str, list[Row]]:
    by_record: dict[str, list[Change]] = defaultdict(list)
    for change in later:
        by_record[change.entity_id].append(change)
    return {
        name: [
            row
            for current in found
            if (row := row_before(current, by_record.get(current["id"], []))) is not None
            and row["removed_at"] is None
            and row.get("account_id", account) == account
        ]
        for name, found in rows.items()
    }


def row_before(current: Row, later: list[Change]) -> Row | None:
    """A row before `later` changes of it (newest first), with typed values; None where it did not exist yet."""
    was = folded_back(current, later)
    if was is None or not later:
        return was
    typed = {name: _typed(name, value) for name, value in was.items()}
    return typed | {"version": min(change.entity_version for change in later) - 1}


def seat_holder(sponsorships: Iterable[Row], role: str, day: date) -> str | None:
    """The contact whose seat it was at the end of `day`; on its last day a seat counts as vacant."""
    holders = [
        row
        for row in sponsorships
        if row["role"] == role and row["from_on"] <= day and (row["to_on"] is None or row["to_on"] > day)
    ]
    latest = max(holders, key=lambda row: (row["from_on"], row["id"]), default=None)
    return latest["contact_id"] if latest else None


def past_day(as_of: date | None, today: date) -> date | None:
    """The past day that is asked for; None where today's is."""
    if as_of is None or as_of == today:
        return None
    if as_of > today:
        raise Invalid(f"as_of {as_of} is in the future; today is {today}.", remedy="Give a past day, or leave it out.")
    return as_of


def _typed(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if name in _DATES:
            return date.fromisoformat(value)
        if name in _INSTANTS:
            return datetime.fromisoformat(value)
    return value


def first_known(current: Row, first: Change | None) -> Row:
    """A record as it was first recorded."""
    if first is None or first.kind is not ChangeKind.created or first.after is None:
        return current
    return current | {name: _typed(name, value) for name, value in first.after.items()} | {"version": 1}


_DAY_OF_FACT = {
    "subscription": "starts_on",
    "meeting": "held_on",
    "sponsorship": "from_on",
    "health_note": "written_on",
}


def _dated_by(table: str, row: Row, day: date) -> bool:
    column = _DAY_OF_FACT.get(table)
    return column is not None and row["removed_at"] is None and row[column] <= day


def _derived(account: Row, past: dict[str, list[Row]], day: date, arr_minor: int) -> Row:
    held = [row for row in past["meeting"] if row["status"] == "held" and row["held_on"] <= day]
    in_person = [row["held_on"] for row in held if row["kind"] not in NOT_A_MEETING]
    planned = [row["held_on"] for row in past["meeting"] if row["status"] == "planned" and row["held_on"] >= day]
    return account | {
        "arr_minor": arr_minor,
        "last_touch_on": max((row["held_on"] for row in held), default=None),
        "last_meeting_on": max(in_person, default=None),
        "next_meeting_on": min(planned, default=None),
        "executive_sponsor_id": seat_holder(past["sponsorship"], "executive_sponsor", day),
        "champion_id": seat_holder(past["sponsorship"], "champion", day),
        # Scores are not recomputed for the past; without a snapshot of that day nothing is known.
        "health_score": None,
        "health_band": "unknown",
        "health_trend": None,
    }
