"""Where an account could grow: evidence that nobody works on yet, and products it does not have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from cs_mcp.db.opportunities.expansion_reads import LOOKED_AT, ExpansionReads, Known
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.opportunities.expansion import (
    ExpansionCriteria,
    Finding,
    Telemetry,
    Value,
    early_because,
    findings,
    product_key,
    whitespace,
)
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.criteria import expansion_criteria
from cs_mcp.services.opportunities.views import Candidate, Found, Gap, WhitespaceLine

DECLINED_DAYS: Final = 90  # who said no so lately is not asked for the same again
GAPS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found; `beyond`: there are more accounts than were looked at."""

    candidates: list[Candidate]
    whitespace: list[WhitespaceLine]
    beyond: bool


def value_of(row: Row, roi_shown_on: date | None) -> Value:
    """From a row with its account's `onboarding_status` and `health_band`."""
    return Value(
        roi_shown_on=roi_shown_on,
        onboarded=row["onboarding_status"] == "complete",
        first_value_reached=None,
        health_band=row["health_band"],
    )


class Expansion:
    def __init__(self, store: Store) -> None:
        self._reads = ExpansionReads(store)

    async def look(
        self, principal: Principal, filters: dict[str, Any], today: date, *, candidates: bool, gaps: bool
    ) -> Looked:
        """Over the accounts that fit, largest first. Raises nothing: an account without data has no findings."""
        criteria = expansion_criteria()
        accounts = await self._reads.accounts(principal, filters)
        beyond, accounts = len(accounts) > LOOKED_AT, accounts[:LOOKED_AT]
        known = await self._reads.known(
            principal,
            [row["id"] for row in accounts],
            today=today,
            new_from=today - timedelta(days=criteria.new_within_days - 1),
            declined_from=today - timedelta(days=DECLINED_DAYS),
        )
        found = _candidates(accounts, known, criteria, today) if candidates else []
        lacking: list[WhitespaceLine] = []
        if gaps:
            sold, payers = await self._reads.sold(principal, today)
            lacking = _whitespace(accounts, known, sold, payers)
        return Looked(found, lacking, beyond)


def _by_account(rows: Sequence[Row]) -> defaultdict[str, list[Row]]:
    grouped: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["account_id"]].append(row)
    return grouped


def _candidates(accounts: Sequence[Row], known: Known, criteria: ExpansionCriteria, today: date) -> list[Candidate]:
    seats = {row["account_id"]: row for row in known.seats}
    first = {row["account_id"]: row["day"] for row in known.first_days}
    roi = {row["account_id"]: row["shown_on"] for row in known.roi}
    subscriptions, departments = _by_account(known.subscriptions), _by_account(known.departments)
    features, funded, worked_on = (_by_account(rows) for rows in (known.features, known.funded, known.opportunities))
    candidates: list[Candidate] = []
    for row in accounts:
        account = row["id"]
        used, begun = seats.get(account), first.get(account)
        told = Telemetry(
            seats_used=used["seats_used"] if used else None,
            seats_used_on=date.fromordinal(used["day"]) if used else None,
            seat_limit=sum(one["seat_limit"] or one["seats"] or 0 for one in subscriptions[account]) or None,
            first_day=date.fromordinal(begun) if begun is not None else None,
            departments={
                one["department"]: (date.fromordinal(one["day"]), one["active"]) for one in departments[account]
            },
            features={one["name"]: date.fromordinal(one["day"]) for one in features[account]},
            funded=[(one["on"], one["id"]) for one in funded[account]],
        )
        news = [one for one in findings(told, criteria, today) if not _is_known(one, worked_on[account])]
        if news:
            candidates.append(
                Candidate(
                    account=PersonRef(id=account, name=row["name"]),
                    arr=Amount.of(row["arr_minor"], row["currency"]),
                    health_band=row["health_band"],
                    found=[Found.of(one) for one in news],
                    early=early_because(value_of(row, roi.get(account)), criteria, today),
                )
            )
    return candidates


def _is_known(finding: Finding, worked_on: Sequence[Row]) -> bool:
    """Whether an opportunity is about this already, or was declined lately."""

    def is_about(row: Row) -> bool:
        if row["trigger"] is None:
            return row["kind"] == finding.kind.value
        same = row["trigger"] == finding.trigger.value
        return same and (finding.department is None or _same_name(row["department"], finding.department))

    return any(is_about(row) for row in worked_on)


def _same_name(told: str | None, name: str) -> bool:
    return told is None or product_key(told) == product_key(name)


def _whitespace(
    accounts: Sequence[Row], known: Known, sold: Sequence[Row], payers: Sequence[Row]
) -> list[WhitespaceLine]:
    catalogue, customers = _sold_by_segment(sold), {row["segment"]: row["accounts"] for row in payers}
    subscriptions, worked_on = _by_account(known.subscriptions), _by_account(known.opportunities)
    lines: list[WhitespaceLine] = []
    for row in accounts:
        has = list(dict.fromkeys(one["product"] for one in subscriptions[row["id"]] if one["product"]))
        if not subscriptions[row["id"]]:
            continue  # they pay for nothing: a first purchase is no expansion
        asked = [one["product"] for one in worked_on[row["id"]] if one["product"]]
        segment = row["segment"]
        gaps = whitespace([*has, *asked], catalogue.get(segment, {}), customers.get(segment, 0))
        if gaps:
            lines.append(
                WhitespaceLine(
                    account=PersonRef(id=row["id"], name=row["name"]),
                    arr=Amount.of(row["arr_minor"], row["currency"]),
                    has=has,
                    lacks=[Gap(product=g.product, have_it=g.have_it, of=g.of) for g in gaps[:GAPS_SHOWN]],
                )
            )
    return lines


def _sold_by_segment(sold: Sequence[Row]) -> Mapping[str, dict[str, int]]:
    """Products by segment under one spelling each: the most common, of equals the first by name."""
    spelt: dict[str, tuple[int, str]] = {}
    for row in sorted(sold, key=lambda row: row["product"]):
        key = product_key(row["product"])
        if row["accounts"] > spelt.get(key, (0, ""))[0]:
            spelt[key] = (row["accounts"], row["product"])
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in sold:
        name = spelt[product_key(row["product"])][1]
        found[row["segment"]][name] = found[row["segment"]].get(name, 0) + row["accounts"]
    return found
