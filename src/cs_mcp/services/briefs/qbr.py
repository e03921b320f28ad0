"""The brief behind a quarterly business review: what they got for their money first, what is missing said plainly."""

from __future__ import annotations

from datetime import date
from typing import Final

from cs_mcp.db.read_path import Row
from cs_mcp.domain.contract import Amount, Named, shown
from cs_mcp.domain.people.stakeholders import ENGAGED_DAYS
from cs_mcp.domain.renewals.checkpoints import REVIEWS
from cs_mcp.domain.text import quote
from cs_mcp.services.briefs.facts import INTERNAL_KINDS, Ground, attended, invited
from cs_mcp.services.briefs.views import QUOTE_LIMIT, Brief, BriefSection, Fact, name_of

UNVERIFIED_DAYS: Final = 45  # a sponsor neither met nor confirmed for longer is not known to be there
_SEATS: Final = (("executive_sponsor_id", "executive sponsor"), ("champion_id", "champion"))
_DECIDERS: Final = ("economic_buyer", "decision_maker", "procurement")
_REVIEW_KINDS: Final = frozenset(kind.value for kind in REVIEWS)


def qbr_brief(ground: Ground, start: date, end: date) -> Brief:
    account = ground.found.account
    here = account["id"]
    in_period = [m for m in ground.held if start <= m["held_on"] <= end]
    outcomes = _outcomes(ground, in_period)
    quoted = {fact.record for fact in outcomes}
    talks = [m for m in in_period if m["kind"] not in INTERNAL_KINDS and m["id"] not in quoted]
    meetings = f"get_account with account {here}, sections ['meetings'], detail 'full'"
    sections = [
        BriefSection(key="outcomes", title="Outcomes and value shown", facts=outcomes, more=meetings),
        BriefSection(key="adoption", title="Adoption", facts=_adoption(ground, in_period)),
        BriefSection(key="contract", title="What they pay for", facts=_contract(ground, end)),
        BriefSection(
            key="meetings", title="Meetings in the period", facts=[ground.meeting(m) for m in talks], more=meetings
        ),
        BriefSection(key="asks", title="What they asked for", facts=_asks(in_period)),
        BriefSection(key="next", title="Planned meetings", facts=[ground.meeting(m) for m in ground.planned[:5]]),
        BriefSection(key="risks", title="Risks", internal=True, facts=_risks(ground, start, end)),
        BriefSection(key="renewal", title="Renewal", internal=True, facts=_renewal(ground)),
        BriefSection(key="people", title="Who decides", internal=True, facts=_people(ground)),
        BriefSection(
            key="tasks",
            title="Our work",
            internal=True,
            facts=[ground.done_task(t) for t in ground.found.done if start <= t["done_on"] <= end]
            + [ground.open_task(t) for t in ground.found.tasks],
            more=f"list_tasks with account {here}",
        ),
        BriefSection(
            key="notes",
            title="Our notes",
            internal=True,
            facts=[ground.meeting(m, internal=True) for m in in_period if m["kind"] in INTERNAL_KINDS]
            + [ground.note(n) for n in ground.notes if start <= n["written_on"] <= end],
            more=f"list_health_notes with account {here}, detail 'full'",
        ),
        BriefSection(key="since", title="Since the period", internal=True, facts=_since(ground, end), more=meetings),
        BriefSection(key="money", title="How ARR moved", internal=True, facts=_movements(ground, start, end)),
    ]
    return Brief(
        kind="qbr",
        account=Named(id=here, name=account["name"]),
        as_of=ground.today,
        period_start=start,
        period_end=end,
        sections=sections,
        gaps=_gaps(ground, in_period),
    )


def _since(ground: Ground, end: date) -> list[Fact]:
    """What came after a period in the past: a review that knows nothing of it would surprise its readers."""
    meetings = [ground.meeting(m, internal=True) for m in ground.held if m["held_on"] > end]
    return meetings + [ground.note(n) for n in ground.notes if n["written_on"] > end]


def _outcomes(ground: Ground, in_period: list[Row]) -> list[Fact]:
    shown_in_period = [m for m in in_period if m["roi_shown"]]
    if shown_in_period:
        return [ground.meeting(m) for m in shown_in_period]
    earlier = next((m for m in ground.held if m["roi_shown"]), None)
    return [ground.meeting(earlier, lead="before the period: ")] if earlier is not None else []


def _adoption(ground: Ground, in_period: list[Row]) -> list[Fact]:
    facts: list[Fact] = []
    for row in _live(ground, ground.today):
        if row["seats"] is not None:
            of = f" of {row['seat_limit']}" if row["seat_limit"] else ""
            share = f" taken ({row['seats'] / row['seat_limit']:.0%})" if row["seat_limit"] else ""
            facts.append(
                Fact(what=f"{_product(row)}: {row['seats']}{of} seats{share}", record=row["id"], on=ground.today)
            )
    trained = [m for m in in_period if m["kind"] == "training"]
    people = {contact for m in trained for contact in attended(m)}
    if trained:
        named = ", ".join(m["id"] for m in trained[:5])
        facts.append(
            Fact(what=f"trainings in the period: {len(trained)} ({named}), known contacts there: {len(people)}")
        )
    return facts


def _contract(ground: Ground, end: date) -> list[Fact]:
    facts = [Fact(what=f"ARR {ground.amount(ground.found.arr_minor)}", record=ground.found.account["id"], on=end)]
    for row in _live(ground, end):
        until = f"to {row['ends_on']}" if row["ends_on"] else "open end"
        what = f"{_product(row)}: {Amount.of(row['arr_minor'], row['currency'])} a year, {row['starts_on']} {until}"
        facts.append(Fact(what=what + (", trial" if row["trial"] else ""), record=row["id"]))
    return facts


def _live(ground: Ground, day: date) -> list[Row]:
    return [
        row
        for row in ground.found.contract
        if row["starts_on"] <= day
        and (row["ends_on"] is None or row["ends_on"] >= day)
        and (row["canceled_on"] is None or row["canceled_on"] > day)
    ]


def _product(row: Row) -> str:
    return name_of(row["product"] or "subscription")


def _asks(in_period: list[Row]) -> list[Fact]:
    """Each request once, with every meeting of the period it came up in."""
    asked: dict[str, list[Row]] = {}
    for meeting in in_period:
        for request in meeting["product_requests"]:
            asked.setdefault(shown(request), []).append(meeting)
    return [
        Fact(
            what=f"asked for: {request}" + (f" ({len(found)} times)" if len(found) > 1 else ""),
            record=found[0]["id"],
            on=found[0]["held_on"],
        )
        for request, found in asked.items()
    ]


def _movements(ground: Ground, start: date, end: date) -> list[Fact]:
    currency = ground.found.account["currency"]
    moved = [m for m in ground.found.movements if m["currency"] == currency]
    before = ground.found.arr_minor - sum(m["amount_minor"] for m in moved)
    # A movement of the first day is the period's: the opening is the evening before.
    facts = [Fact(what=f"ARR {ground.amount(before)} before {start}, {ground.amount(ground.found.arr_minor)} on {end}")]
    for row in moved:
        said = row["reason"] or row["note"]
        facts.append(
            Fact(
                what=f"{row['kind'].replace('_', ' ')} {Amount.of(row['amount_minor'], row['currency'])}",
                record=row["id"],
                on=row["on"],
                said=quote(said, origin=f"reason of {row['id']}", written_on=row["on"], limit=QUOTE_LIMIT)
                if said
                else None,
            )
        )
    return facts


def _risks(ground: Ground, start: date, end: date) -> list[Fact]:
    account = ground.found.account
    here = account["id"]
    facts: list[Fact] = []
    if account["risk_reason"]:
        said = quote(account["risk_reason"], origin=f"churn risk of {here}", limit=QUOTE_LIMIT)
        facts.append(Fact(what="churn risk noted on the account", record=here, said=said))
    if account["health_band"] in ("red", "yellow"):
        score = "" if account["health_score"] is None else f", score {account['health_score']:.0f}"
        facts.append(Fact(what=f"health is {account['health_band']}{score}", record=here, on=ground.today))
    if account["executive_sponsor_id"] is None:
        facts.append(Fact(what="the executive sponsor's seat is vacant", record=here, on=ground.today))
    for person in ground.found.people:
        role = _role(ground, person)
        if person["departed_on"] and start <= person["departed_on"] <= ground.today:
            what = f"{name_of(person['name'])} ({role}) departed"
            facts.append(Fact(what=what, record=person["id"], on=person["departed_on"]))
        elif person["leaves_on"] and not person["departed_on"]:
            what = f"{name_of(person['name'])} ({role}) will leave"
            facts.append(Fact(what=what, record=person["id"], on=person["leaves_on"]))
    for meeting in ground.held:
        if start <= meeting["held_on"] <= end and meeting["sentiment"] == "negative":
            what = f"a {meeting['kind'].replace('_', ' ')} went badly (quoted above)"
            facts.append(Fact(what=what, record=meeting["id"], on=meeting["held_on"]))
    late = [t for t in ground.found.tasks if t["due_on"] is not None and t["due_on"] < ground.today]
    if late:
        named = ", ".join(t["id"] for t in late[:5])
        facts.append(Fact(what=f"tasks of ours overdue: {len(late)} ({named})", on=ground.today))
    return facts


def _role(ground: Ground, person: Row) -> str:
    """What they are, or were before they left."""
    seats = [seat["role"] for seat in ground.found.seats if seat["contact_id"] == person["id"]]
    roles = dict.fromkeys([*seats, *person["roles"]])
    return "/".join(role.replace("_", " ") for role in roles) or "contact"


def _renewal(ground: Ground) -> list[Fact]:
    facts = [ground.renewal(row) for row in ground.found.renewals]
    heard = next((m for m in ground.held if m["renewal_intent"]), None)
    if heard is not None:
        what = f"last renewal intent heard: {heard['renewal_intent']}"
        facts.append(Fact(what=what, record=heard["id"], on=heard["held_on"]))
    return facts


def _people(ground: Ground) -> list[Fact]:
    account = ground.found.account
    facts: list[Fact] = []
    seats: dict[str, list[str]] = {}
    for column, seat in _SEATS:
        if account[column] in ground.people:
            seats.setdefault(account[column], []).append(seat)
    for person in ground.found.people:
        roles = [role.replace("_", " ") for role in _DECIDERS if role in person["roles"]]
        if roles and person["status"] != "departed":
            seats.setdefault(person["id"], []).extend(roles)
    facts += [ground.person(ground.people[who], " and ".join(held), internal=True) for who, held in seats.items()]
    engaged = {
        person["id"]
        for person in ground.found.people
        if person["status"] == "active"
        and (met := ground.last_met(person["id"])) is not None
        and (ground.today - met["held_on"]).days <= ENGAGED_DAYS
    }
    what = f"active contacts met in the last {ENGAGED_DAYS} days: {len(engaged)}"
    facts.append(Fact(what=what + (", so the account hangs on too few" if len(engaged) < 2 else ""), on=ground.today))
    return facts


def _gaps(ground: Ground, in_period: list[Row]) -> list[str]:
    account, gaps = ground.found.account, list[str]()
    roi = "" if any(m["roi_shown"] for m in in_period) else "; no meeting of the period showed quantified ROI"
    gaps.append(
        "Outcomes in money: no value realization (metric, before, after, money, confirmed by them) is on record" + roi
    )
    gaps.append("Success plan: no objective (baseline, target, current value) is on record")
    gaps.append("Adoption: no usage facts are on record; seats say what was taken up, not what is used")
    gaps.append("Support and voice: no tickets and no survey responses are on record")
    gaps.append("Peers: no benchmark is on record")
    if account["health_score"] is None:
        gaps.append("Health: no score has been computed")
    reviews = [m for m in ground.held if m["kind"] in _REVIEW_KINDS]
    if not any(m["kind"] in _REVIEW_KINDS for m in in_period):
        last = f"; the last was {reviews[0]['held_on']} ({reviews[0]['id']})" if reviews else ", nor before it"
        gaps.append(f"Review: none was held in the period{last}")
    gaps += _sponsor_gaps(ground)
    if not any(m["renewal_intent"] for m in ground.held):
        gaps.append("Renewal intent: no meeting of the last 13 months records that it was asked")
    if not ground.found.renewals:
        gaps.append("Renewal: none is open on record")
    return gaps


def _sponsor_gaps(ground: Ground) -> list[str]:
    """Whether the person for whom the review is held is known to be there, and is invited."""
    sponsor = ground.people.get(ground.found.account["executive_sponsor_id"] or "")
    if sponsor is None:
        return ["Executive sponsor: nobody holds the seat, so it is open for whom this review is"]
    gaps: list[str] = []
    name = f"{name_of(sponsor['name'])} ({sponsor['id']})"
    met = ground.last_met(sponsor["id"])
    known = [day for day in (sponsor["last_confirmed_on"], met["held_on"] if met else None) if day is not None]
    if not known or (ground.today - max(known)).days > UNVERIFIED_DAYS:
        since = f"since {max(known)}" if known else "at all"
        gaps.append(f"Executive sponsor: {name} was neither met nor confirmed {since}")
    coming = next((m for m in ground.planned if m["kind"] in _REVIEW_KINDS), None)
    if coming is None:
        gaps.append("Next review: none is planned")
    elif sponsor["id"] not in invited(coming):
        gaps.append(f"Next review: {name} is not invited to {coming['id']} on {coming['held_on']}")
    return gaps
