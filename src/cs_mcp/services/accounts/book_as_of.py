"""A list of accounts as it was on a past day: record fields folded back, ARR from the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from cs_mcp.db.accounts.accounts import name_key
from cs_mcp.db.accounts.pages import SORTS
from cs_mcp.db.accounts.reads import AccountReads
from cs_mcp.db.history.history import MOST_FOLDED, HistoryReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.changes import Change
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.services.accounts.as_of import first_known, row_before
from cs_mcp.services.health.past_health import OVERRIDES, PastBook, PastHealth

if TYPE_CHECKING:
    from cs_mcp.domain.calendar import Calendar

# A past day is folded in memory, so it has a bound; a book is far below it.
MOST_ACCOUNTS: Final = 20_000
# The touches of that day are not read, so nothing is sorted by them.
_SORTS: Final = {name: by for name, by in SORTS.items() if by[0] != "last_touch_on"}
_ONLY_TODAY: Final = (
    "touch_before", "sponsor", "missing_executive_sponsor", "missing_champion", "missing_last_touch_on",
    "missing_subscription", "missing_contacts", "missing_usage", "missing_tickets", "missing_surveys",
    "missing_invoices",
)  # fmt: skip
FIELDS: Final = frozenset(
    {"domain", "segment", "tier", "stage", "owner", "arr", "renewal_on", "health", "tags", "version"}
)
REMARK: Final = (
    "As of a past day: record fields and health as they were, ARR from the ledger as known today. Touches and sponsors "
    "of that day are in get_account with as_of."
)

_TESTS: Final[dict[str, Callable[[Row, Any], bool]]] = {
    "segment": lambda row, wanted: row["segment"] in wanted,
    "tier": lambda row, wanted: row["tier"] in wanted,
    "stage": lambda row, wanted: row["stage"] in wanted,
    "owner": lambda row, wanted: row["owner_id"] == wanted,
    "no_owner": lambda row, _: row["owner_id"] is None,
    "currency": lambda row, wanted: row["currency"] == wanted,
    "arr_min": lambda row, least: row["arr_minor"] >= least,
    "arr_max": lambda row, most: row["arr_minor"] <= most,
    "renews_from": lambda row, day: row["renewal_on"] is not None and row["renewal_on"] >= day,
    "renews_to": lambda row, day: row["renewal_on"] is not None and row["renewal_on"] <= day,
    "text": lambda row, text: name_key(text) in row["name_key"] or name_key(text) in (row["domain"] or ""),
    "tag": lambda row, tag: tag in row["tags"],
    "custom": lambda row, wanted: all(row["custom"].get(name) == value for name, value in wanted.items()),
    "band": lambda row, wanted: row["health_band"] in wanted,
    "score_min": lambda row, least: row["health_score"] is not None and row["health_score"] >= least,
    "score_max": lambda row, most: row["health_score"] is not None and row["health_score"] <= most,
    "missing_health_score": lambda row, _: row["health_score"] is None,
    "missing_renewal_on": lambda row, _: row["renewal_on"] is None,
    "missing_domain": lambda row, _: row["domain"] is None,
    "missing_industry": lambda row, _: row["industry"] is None,
}


class BookAsOf:
    def __init__(self, store: Store) -> None:
        self._accounts = AccountReads(store)
        self._history = HistoryReads(store)
        self._health = PastHealth(store)

    async def page(
        self,
        principal: Principal,
        filters: dict[str, Any],
        *,
        day: date,
        calendar: Calendar,
        sort: str,
        limit: int,
        after: tuple[Any, str] | None,
    ) -> tuple[list[Row], int, dict[str, int], list[str]]:
        """One row more than `limit` where there are more, the exact total, ARR by currency over all, and remarks."""
        refused = [name for name in filters if name in _ONLY_TODAY]
        if refused or sort not in _SORTS:
            what = ", ".join(refused) or f"sort {sort}"
            raise Invalid(
                f"{what} is not known for a past day in a list.",
                remedy="Leave it out, or read one account with get_account and as_of.",
            )
        rows, arr = await self._accounts.all_with_arr(principal, day, MOST_ACCOUNTS + 1)
        later = await self._history.of_entities_since(principal, ["account", OVERRIDES], calendar.end_of(day))
        if len(rows) > MOST_ACCOUNTS or len(later) >= MOST_FOLDED:
            raise Invalid(
                f"as_of {day} would fold back more than {MOST_ACCOUNTS} accounts or changes.",
                remedy="Read single accounts with get_account and as_of.",
            )
        by_record: dict[str, list[Change]] = defaultdict(list)
        for change in later:
            by_record[change.entity_id].append(change)
        health = await self._health.on(principal, day, by_record)
        names = await self._accounts.member_names(principal)
        found: list[Row] = [
            row | {"owner_name": names.get(row["owner_id"]), "sponsor_name": None}
            for row in _as_they_were(rows, by_record, arr, day, health)
            if all(_TESTS[name](row, wanted) for name, wanted in filters.items())
        ]
        column, descending = _SORTS[sort]
        ordered = sorted(found, key=lambda row: row["id"])
        ordered.sort(key=lambda row: _sort_key(row[column], descending), reverse=descending)
        start = 0
        if after is not None:
            place = next((i for i, row in enumerate(ordered) if (row[column], row["id"]) == after), None)
            if place is None:
                raise Invalid("The cursor's account is not in this list.", remedy="Start again without `cursor`.")
            start = place + 1
        sums: dict[str, int] = defaultdict(int)
        for row in ordered:
            sums[row["currency"]] += row["arr_minor"]
        remarks = [" ".join(filter(None, (REMARK, health.remark(day))))]
        if before_record := sum(row["before_record"] for row in ordered):
            remarks.append(
                f"{before_record} of them came on record after {day}: ARR of that day from the ledger, other fields as "
                "first recorded."
            )
        return ordered[start : start + limit + 1], len(ordered), dict(sorted(sums.items())), remarks


def _sort_key(value: Any, descending: bool) -> tuple[bool, Any]:
    return ((value is None) != descending, value if value is not None else 0)  # nulls last


def _as_they_were(
    rows: list[Row], later: dict[str, list[Change]], arr: dict[str, int], day: date, health: PastBook
) -> list[Row]:
    """Accounts of that day. One that came on record later belongs to it if dated facts say it was a customer then."""
    past: list[Row] = []
    for row in rows:
        changes = later.get(row["id"], [])
        was, arr_then = row_before(row, changes), arr.get(row["id"], 0)
        before_record = was is None
        if was is None:
            first = first_known(row, changes[-1])
            since = first["created_on"]
            was = first if arr_then or (since is not None and since <= day) else None
        if was is not None and was["removed_at"] is None:
            band, score, trend = health.of(row["id"])
            told: Row = {"health_band": band, "health_score": score, "health_trend": trend}
            told |= {"arr_minor": arr_then, "name_key": name_key(was["name"]), "before_record": before_record}
            past.append(was | told)
    return past
