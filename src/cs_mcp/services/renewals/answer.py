"""From stored rows to what is shown of renewals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from cs_mcp.db.read_path import Row
from cs_mcp.domain.accounts.accounts import Tier
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.people.stakeholders import ENGAGED_DAYS
from cs_mcp.domain.renewals.checkpoints import (
    REVIEW_DAYS,
    REVIEWS,
    RISK_FORMULA,
    ROI_DAYS,
    Checkpoint,
    CheckpointState,
    Facts,
    RenewalRisk,
    checkpoints,
    motion_starts_on,
    review_counts_from,
    risks_of,
)
from cs_mcp.domain.renewals.renewals import Renewal, term_end_of
from cs_mcp.domain.renewals.stages import Known, missing, next_stage
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.renewals.views import (
    CheckpointLine,
    ConcessionLine,
    Heard,
    OfferLine,
    RenewalCard,
    RenewalDone,
    RenewalRow,
    RenewalSum,
)

HEARD_SHOWN = 3


def deadline_of(row: Row) -> date:
    return row["notice_deadline_on"] or row["closes_on"]


def named_risks(row: Row, today: date) -> list[RenewalRisk]:
    """Risks of an open renewal; a closed one has none."""
    if row["closed_on"] is not None:
        return []
    over = row["subscription_id"] is not None and (
        row["canceled_on"] is not None
        or row["subscription_removed_at"] is not None
        # Without a notice, an auto-renewing contract goes on after its term.
        or (row["ends_on"] is not None and row["ends_on"] < today and not row["auto_renew"])
    )
    facts = Facts(
        deadline_on=deadline_of(row),
        amount_minor=row["amount_minor"],
        arr_minor=row["arr_minor"],
        has_sponsor=row["executive_sponsor_id"] is not None,
        reviewed=row["reviewed"],
        roi_shown=row["roi_shown"],
        engaged=row["engaged"],
        subscription_over=over,
        open_sev1=row["open_sev1"],
    )
    return risks_of(facts, today)


MEETINGS_OF_AN_ACCOUNT: Final = 20  # the newest ones, as get_account reads them


def risks_within(renewal: Row, found: Mapping[str, Sequence[Row]], today: date) -> list[RenewalRisk]:
    """Risks of an open renewal from what get_account read of its account, with no further read.

    What older meetings than those might tell is not judged.
    """
    [account], meetings = found["account"], found["meetings"]
    held = [m for m in meetings if m["status"] == "held" and m["held_on"] <= today]
    since = min(m["held_on"] for m in meetings) if len(meetings) >= MEETINGS_OF_AN_ACCOUNT else date.min

    def told(days: int, applies: Callable[[Row], bool]) -> bool | None:
        start = today - timedelta(days=days)
        if any(applies(meeting) for meeting in held if meeting["held_on"] >= start):
            return True
        return False if since < start else None

    active = {contact["id"] for contact in found["people"] if contact["status"] == "active"}
    fresh = today - timedelta(days=REVIEW_DAYS)
    lately = [who for m in held if m["held_on"] >= fresh for who in m["attendees"] if who.get("attended") is not False]
    engaged = len({who.get("contact_id") for who in lately} & active)
    contract = next((s for s in found["contract"] if s["id"] == renewal["subscription_id"]), None)
    beside = {
        "arr_minor": renewal["amount_minor"] if contract is None else contract["arr_minor"],
        "executive_sponsor_id": account["executive_sponsor_id"],
        "open_sev1": account["open_sev1"],
        "reviewed": told(REVIEW_DAYS, lambda meeting: meeting["kind"] in REVIEWS),
        "roi_shown": told(ROI_DAYS, lambda meeting: bool(meeting["roi_shown"])),
        "engaged": engaged if engaged > 1 or since < fresh else None,
        "subscription_removed_at": None,
    }
    of_contract = ("canceled_on", "ends_on", "auto_renew")
    return named_risks(renewal | beside | {name: contract and contract[name] for name in of_contract}, today)


def line(row: Row, fields: frozenset[str], today: date, *, names_currency: bool = True) -> RenewalRow:
    def money(minor: int) -> str:
        return Amount.of(minor, row["currency"]).amount

    values: dict[str, Any] = {
        "stage": row["stage"] if row["stage"] != "not_started" else None,
        "forecast_category": row["forecast_category"],
        "arr": money(row["arr_minor"]) if "arr" in fields else None,
        "amount": money(row["amount_minor"]) if "amount" in fields else None,
        "deadline_on": deadline_of(row),
        "days_left": (deadline_of(row) - today).days,
        "band": row["health_band"],
        "owner": row["owner_name"],
        "sponsor": row["sponsor_name"],
        "risks": [risk.value for risk in named_risks(row, today)] or None,
        "version": row["version"],
    }
    return RenewalRow(
        id=row["id"],
        account=row["account_name"],
        account_id=row["account_id"],
        closes_on=row["closes_on"],
        currency=row["currency"] if names_currency and fields & {"arr", "amount"} else None,
        **{name: value for name, value in values.items() if name in fields},
    )


def sums_of(rows: Sequence[Row], *, grouped: bool) -> list[RenewalSum]:
    return [
        RenewalSum(
            group=(row["name"] or "none") if grouped else None,
            renewals=row["renewals"],
            arr=Amount.of(row["arr_minor"], row["currency"]),
            amount=Amount.of(row["amount_minor"], row["currency"]),
        )
        for row in rows
    ]


def totals_of(rows: Sequence[Row]) -> list[Row]:
    """Groups added up by currency: a total cannot differ from its groups."""
    totals: dict[str, Row] = {}
    for row in rows:
        total = totals.setdefault(
            row["currency"], {"currency": row["currency"], "renewals": 0, "arr_minor": 0, "amount_minor": 0}
        )
        for name in ("renewals", "arr_minor", "amount_minor"):
            total[name] += row[name]
    return [totals[currency] for currency in sorted(totals)]


def record_of(row: Row) -> Renewal:
    return Renewal.model_validate({name: row[name] for name in Renewal.model_fields})


def card(row: Row, meetings: Sequence[Row], open_ones: Sequence[Row], today: date) -> RenewalCard:
    """One renewal with its checkpoints; `meetings` held with the account, newest first, and its open renewals."""
    renewal, deadline = record_of(row), deadline_of(row)
    reviews = [heard for heard in meetings if heard["kind"] in REVIEWS]
    reviewed = any(heard["held_on"] >= review_counts_from(deadline) for heard in reviews)
    points = checkpoints(renewal, deadline_on=deadline, tier=Tier(row["tier"]), reviewed=reviewed, today=today)
    told = [heard for heard in meetings if heard["renewal_intent"] or heard["forecast_hint"]]
    sponsor, owner = row["executive_sponsor_id"], row["responsible_id"]
    known = Known(renewal, owned=owner is not None, reviewed=reviewed)
    return RenewalCard(
        id=renewal.id,
        version=renewal.version,
        account=PersonRef(id=row["account_id"], name=row["account_name"]),
        subscription_id=row["subscription_id"],
        product=row["product"],
        term_starts_on=row["starts_on"],
        term_ends_on=renewal.term_ends_on,
        auto_renew=row["auto_renew"],
        co_terms=_co_terms(renewal, open_ones),
        owner=PersonRef(id=owner, name=row["owner_name"] or "?") if owner else None,
        stage=renewal.stage.value,
        forecast_category=row["forecast_category"],
        category_reason=row["category_reason"],
        arr=Amount.of(row["arr_minor"], renewal.currency),
        amount=Amount.of(renewal.amount_minor, renewal.currency),
        expected_amount=Amount.of(renewal.expected_minor, renewal.currency) if renewal.expected_minor else None,
        closes_on=renewal.closes_on,
        deadline_on=deadline,
        days_left=(deadline - today).days,
        motion_starts_on=motion_starts_on(deadline, Tier(row["tier"])),
        executive_sponsor=PersonRef(id=sponsor, name=row["sponsor_name"] or "?") if sponsor else None,
        health_band=row["health_band"],
        stakeholders_confirmed_on=renewal.stakeholders_confirmed_on,
        decision_criteria=renewal.decision_criteria,
        procurement_steps=renewal.procurement_steps,
        options=[
            OfferLine(tier=o.tier.value, amount=Amount.of(o.amount_minor, renewal.currency), includes=o.includes)
            for o in renewal.options
        ],
        concessions=[
            ConcessionLine(kind=c.kind.value, value=c.value, given_for=c.given_for) for c in renewal.concessions
        ],
        risks={risk.value: RISK_FORMULA[risk] for risk in named_risks(row, today)},
        noted_risks=renewal.risks,
        heard=[_heard(heard) for heard in told[:HEARD_SHOWN]],
        last_value_review=_heard(reviews[0]) if reviews else None,
        checkpoints=[_checkpoint(point) for point in points],
        gaps=_gaps(points) if not renewal.stage.is_closed else [],
        next_steps=_next_steps(known, points, row, today),
        closed_on=renewal.closed_on,
        loss_reason=renewal.loss_reason,
    )


def _co_terms(renewal: Renewal, open_ones: Sequence[Row]) -> list[str]:
    """The account's other open renewals whose terms end on the same day: what is negotiated as one."""
    mine = [row for row in open_ones if row["id"] != renewal.id]
    return [row["id"] for row in mine if term_end_of(row) == renewal.term_ends_on]


def _heard(row: Row) -> Heard:
    return Heard(
        meeting_id=row["id"],
        held_on=row["held_on"],
        renewal_intent=row["renewal_intent"],
        forecast_hint=row["forecast_hint"],
    )


def _checkpoint(point: Checkpoint) -> CheckpointLine:
    return CheckpointLine(days=point.days, on=point.on, asks=point.asks, state=point.state.value, lacks=point.lacks)


def _gaps(points: Sequence[Checkpoint]) -> list[str]:
    """What checkpoints that have come still lack, each once."""
    come = (CheckpointState.missed, CheckpointState.due)
    return list(dict.fromkeys(what for point in points if point.state in come for what in point.lacks))


def _next_steps(known: Known, points: Sequence[Checkpoint], row: Row, today: date) -> list[str]:
    renewal, steps = known.renewal, list[str]()
    to = next_stage(renewal.stage)
    if to is None:
        return steps
    lacking = missing(known, to)
    if lacking:
        steps.append(f"Before {to.value}: " + "; ".join(f"{needed.what} ({needed.call})" for needed in lacking))
    else:
        steps.append(f"Move it to {to.value}: move_renewal {renewal.id}, expected_version {renewal.version}")
    if row["auto_renew"] and row["canceled_on"] is None:
        deadline = deadline_of(row)
        steps.append(
            f"It renews by itself after {renewal.term_ends_on} unless notice is given by {deadline}"
            if today <= deadline
            else f"The last day for notice, {deadline}, has passed: it renews by itself after {renewal.term_ends_on}; "
            "without notice, move it to closed_won with the reason"
        )
    if (coming := next((p for p in points if p.state is CheckpointState.next), None)) is not None:
        steps.append(f"By {coming.on} ({coming.days} days before the deadline): {coming.asks}")
    risks = named_risks(row, today)
    if RenewalRisk.no_sponsor in risks:
        steps.append("Seat an executive sponsor: assign_sponsor")
    if RenewalRisk.open_sev1 in risks:
        steps.append("Have the open ticket of severity 1 escalated: create_tasks")
    if RenewalRisk.single_threaded in risks:
        steps.append(f"Meet a second contact; fewer than two were met in {ENGAGED_DAYS} days: list_contacts")
    return steps


def done(renewal: Renewal, account_name: str, *, following: str | None = None) -> RenewalDone:
    return RenewalDone(
        id=renewal.id,
        version=renewal.version,
        account=PersonRef(id=renewal.account_id, name=account_name),
        stage=renewal.stage.value,
        forecast_category=renewal.forecast_category.value if renewal.forecast_category else None,
        amount=Amount.of(renewal.amount_minor, renewal.currency),
        closes_on=renewal.closes_on,
        deadline_on=renewal.notice_deadline_on,
        closed_on=renewal.closed_on,
        next_renewal_id=following,
    )
