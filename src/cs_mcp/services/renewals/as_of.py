"""The pipeline as it was on a past day, folded back from the history; people and meetings are those of its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cs_mcp.db.accounts.reads import AccountReads
from cs_mcp.db.history.history import MOST_FOLDED, HistoryReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.past import RenewalHistoryReads
from cs_mcp.db.renewals.reads import GroupBy, put_beside
from cs_mcp.db.store import Store
from cs_mcp.domain.changes import Change
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.renewals.checkpoints import ROI_DAYS
from cs_mcp.domain.renewals.renewals import RenewalStage
from cs_mcp.domain.signals.signals import TicketStatus
from cs_mcp.services.accounts.as_of import row_before, seat_holder
from cs_mcp.services.health.past_health import OVERRIDES, PastBook, PastHealth

if TYPE_CHECKING:
    from cs_mcp.domain.calendar import Calendar

# A past day is folded in memory, so it has a bound; a person's book is far below it.
MOST_RENEWALS: Final = 20_000
REMARK: Final = "As of {}: renewals, contracts, people and meetings as on record then."
_CLOSED: Final = frozenset(stage.value for stage in RenewalStage if stage.is_closed)
_SUBSCRIPTION: Final = ("product", "starts_on", "ends_on", "canceled_on", "auto_renew", "term_months", "notice_days")

_TESTS: Final[dict[str, Callable[[Row, Any], bool]]] = {
    "renewal": lambda row, wanted: row["id"] == wanted,
    "open": lambda row, _: row["stage"] not in _CLOSED,
    "stage": lambda row, wanted: row["stage"] in wanted,
    "forecast_category": lambda row, wanted: row["forecast_category"] in wanted,
    "account": lambda row, wanted: row["account_id"] == wanted,
    "period_start": lambda row, day: row["closes_on"] >= day,
    "period_end": lambda row, day: row["closes_on"] <= day,
    "segment": lambda row, wanted: row["segment"] in wanted,
    "owner": lambda row, wanted: row["responsible_id"] == wanted,
    "band": lambda row, wanted: row["health_band"] in wanted,
}
_GROUPS: Final = {
    "stage": "stage",
    "forecast_category": "forecast_category",
    "owner": "owner_name",
    "segment": "segment",
    "band": "health_band",
}


class PastPipeline(NamedTuple):
    """One row more than asked for where there are more; exact sums over all; what to know of the day."""

    rows: list[Row]
    sums: list[Row]
    remarks: list[str]


class RenewalsAsOf:
    def __init__(self, store: Store) -> None:
        self._reads = RenewalHistoryReads(store)
        self._history = HistoryReads(store)
        self._accounts = AccountReads(store)
        self._health = PastHealth(store)

    async def page(
        self,
        principal: Principal,
        filters: dict[str, Any],
        *,
        day: date,
        calendar: Calendar,
        limit: int,
        after: tuple[date, str] | None,
        group: GroupBy | None,
    ) -> PastPipeline:
        """By close day, with the columns that `RenewalReads.page` gives; filters are the same."""
        account = filters.get("account")
        found = await self._reads.pipeline(principal, account, MOST_RENEWALS + 1)
        later = await self._later(principal, [*found, OVERRIDES], day, calendar, [account] if account else None)
        if any(len(rows) > MOST_RENEWALS for rows in found.values()):
            raise _too_much(day)
        now_on = {row["id"]: row["account_id"] for row in found["renewal"]}
        health = await self._health.on(principal, day, later, account)
        rows, unrecorded = _as_they_were(found, later, await self._accounts.member_names(principal), health)
        fitting = [row for row in rows if all(_TESTS[name](row, wanted) for name, wanted in filters.items())]
        fitting.sort(key=lambda row: (row["closes_on"], row["id"]))
        sums = _sums(fitting, group)
        if after is not None:
            fitting = [row for row in fitting if (row["closes_on"], row["id"]) > after]
        page = fitting[: limit + 1]
        # What stood beside a renewal may have moved with it since, where two accounts became one.
        held_by = {row["account_id"] for row in page} | {now_on[row["id"]] for row in page}
        await self._put_beside(principal, page, sorted(held_by), day, calendar)
        remarks = [" ".join(filter(None, (REMARK.format(day), health.remark(day))))]
        if unrecorded:
            remarks.append(f"Left out: {unrecorded} renewals that came on record after {day}.")
        return PastPipeline(page, sums, remarks)

    async def heard(
        self, principal: Principal, account: str, *, since: date, day: date, calendar: Calendar
    ) -> list[Row]:
        """Meetings held with the account from `since` to `day`, as on record then, newest first."""
        beside = await self._beside(principal, [account], since, day, calendar)
        held = [row for row in beside["meeting"] if row["account_id"] == account and _held(row, day)]
        return sorted(held, key=lambda row: (row["held_on"], row["id"]), reverse=True)

    async def _put_beside(
        self, principal: Principal, page: list[Row], accounts: list[str], day: date, calendar: Calendar
    ) -> None:
        beside = await self._beside(principal, accounts, day - timedelta(days=ROI_DAYS), day, calendar)
        names = {row["id"]: row["name"] for row in beside["contact"]}
        seats: dict[str, list[Row]] = defaultdict(list)
        for seat in beside["sponsorship"]:
            seats[seat["account_id"]].append(seat)
        for row in page:
            row["executive_sponsor_id"] = sponsor = seat_holder(seats[row["account_id"]], "executive_sponsor", day)
            row["sponsor_name"] = names.get(sponsor) if sponsor else None
        active = {row["id"] for row in beside["contact"] if row["status"] == "active"}
        night = calendar.end_of(day)
        burning = {row["account_id"] for row in beside["ticket"] if _open_at(row, night)}
        put_beside(page, [row for row in beside["meeting"] if _held(row, day)], active, burning, day)

    async def _beside(
        self, principal: Principal, accounts: list[str], since: date, day: date, calendar: Calendar
    ) -> dict[str, list[Row]]:
        found = await self._reads.beside(principal, accounts, since)
        later = await self._later(principal, list(found), day, calendar, accounts)
        return {name: [was for row in rows if (was := _live_before(row, later))] for name, rows in found.items()}

    async def _later(
        self, principal: Principal, entities: list[str], day: date, calendar: Calendar, accounts: list[str] | None
    ) -> dict[str, list[Change]]:
        """What happened after `day`, by record, newest first."""
        changes = await self._history.of_entities_since(principal, entities, calendar.end_of(day), accounts)
        if len(changes) >= MOST_FOLDED:
            raise _too_much(day)
        by_record: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            by_record[change.entity_id].append(change)
        return by_record


def _too_much(day: date) -> Invalid:
    return Invalid(
        f"as_of {day} would fold back more than {MOST_RENEWALS} renewals or changes.",
        remedy="Ask for one `account`, or for a later day.",
    )


def _live_before(row: Row, later: dict[str, list[Change]]) -> Row | None:
    was = row_before(row, later.get(row["id"], []))
    return was if was is not None and was["removed_at"] is None else None


def _held(meeting: Row, day: date) -> bool:
    return meeting["status"] == "held" and meeting["held_on"] <= day


def _open_at(ticket: Row, moment: datetime) -> bool:
    if ticket["opened_at"] >= moment:
        return False
    if ticket["resolved_at"] is not None:
        return ticket["resolved_at"] >= moment
    return ticket["status"] != TicketStatus.resolved.value


def _as_they_were(
    found: dict[str, list[Row]], later: dict[str, list[Change]], names: dict[str, str], health: PastBook
) -> tuple[list[Row], int]:
    """Renewals with their account and subscription as of the day, and how many of today's were not on record yet."""
    accounts = {row["id"]: was for row in found["account"] if (was := _live_before(row, later))}
    subscriptions = {row["id"]: row_before(row, later.get(row["id"], [])) for row in found["subscription"]}
    rows: list[Row] = []
    unrecorded = 0
    for renewal in found["renewal"]:
        was = row_before(renewal, later.get(renewal["id"], []))
        if was is None:
            unrecorded += renewal["removed_at"] is None
            continue
        account = accounts.get(was["account_id"])
        if was["removed_at"] is not None or account is None:
            continue
        subscription = subscriptions.get(was["subscription_id"] or "")
        owner = was["owner_id"] or account["owner_id"]
        rows.append(
            was
            | {name: subscription[name] if subscription else None for name in _SUBSCRIPTION}
            | {
                "subscription_removed_at": subscription["removed_at"] if subscription else None,
                "arr_minor": subscription["arr_minor"] if subscription else was["amount_minor"],
                "account_name": account["name"],
                "segment": account["segment"],
                "tier": account["tier"],
                "health_band": health.of(account["id"]).band,
                "health_score": health.of(account["id"]).score,
                "responsible_id": owner,
                "owner_name": names.get(owner) if owner else None,
            }
        )
    return rows, unrecorded


def _sums(rows: Iterable[Row], group: GroupBy | None) -> list[Row]:
    sums: dict[tuple[str | None, str], Row] = {}
    for row in rows:
        name = row[_GROUPS[group]] if group else None
        total = sums.setdefault(
            (name, row["currency"]),
            {"name": name, "currency": row["currency"], "renewals": 0, "arr_minor": 0, "amount_minor": 0},
        )
        total["renewals"] += 1
        for figure in ("arr_minor", "amount_minor"):
            total[figure] += row[figure]
    return [sums[key] for key in sorted(sums, key=lambda key: (key[0] is None, key[0] or "", key[1]))]
