"""From rows to the answer of get_account, within its budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from cs_mcp.db.read_path import Row
from cs_mcp.domain.contract import BYTES_PER_TOKEN, Amount, LeftOut, View
from cs_mcp.domain.text import Quoted, quote
from cs_mcp.services.accounts.views import (
    FULL_SECTIONS,
    SECTIONS,
    AccountView,
    ContactLine,
    MeetingLine,
    NoteLine,
    OpportunityLine,
    PersonRef,
    RenewalLine,
    Section,
    SubscriptionLine,
    TaskLine,
)
from cs_mcp.services.health.brief import HealthBrief
from cs_mcp.services.health.risk_views import risk_of_row
from cs_mcp.services.renewals.answer import risks_within

if TYPE_CHECKING:
    from cs_mcp.services.accounts.accounts import GetAccount

BRIEF_ITEMS = 5
FULL_ITEMS = 50
BRIEF_QUOTE = 600
FULL_QUOTE = 20_000
_MORE = {
    "contract": "get_account with sections ['contract'], detail 'full'",
    "people": "get_account with sections ['people'], detail 'full'",
    "renewal": "get_account with sections ['renewal'], detail 'full'",
    "opportunities": "get_account with sections ['opportunities'], detail 'full'",
    "risk": "get_account with sections ['risk'] and a larger budget_tokens",
    "tasks": "list_tasks with this account",
    "meetings": "get_account with sections ['meetings'], detail 'full'",
    "notes": "list_health_notes with this account",
}
_ROWS = {
    "contract": "contract",
    "people": "people",
    "renewal": "renewals",
    "opportunities": "opportunities",
    "risk": "risk",
    "tasks": "tasks",
    "meetings": "meetings",
    "notes": "notes",
}

ViewT = TypeVar("ViewT", bound=View)


def sections_of(ask: GetAccount) -> Sequence[Section]:
    if ask.sections is not None:
        return ask.sections
    return FULL_SECTIONS if ask.detail == "full" else SECTIONS


def account_view(
    found: dict[str, list[Row]],
    ask: GetAccount,
    matched_by: str,
    *,
    today: date,
    remark: str | None = None,
    health: HealthBrief | None = None,
) -> AccountView:
    """The head of the account is always whole; sections fill what the budget leaves, in the order asked."""
    [row] = found["account"]
    full = ask.detail == "full"
    quote_limit = FULL_QUOTE if full else BRIEF_QUOTE
    names = {person["id"]: person["name"] for person in (*found.get("named", ()), *found["people"])}

    def person(record: str | None) -> PersonRef | None:
        return PersonRef(id=record, name=names.get(record, "?")) if record is not None else None

    view = AccountView(
        id=row["id"],
        version=row["version"],
        name=row["name"],
        matched_by=matched_by,
        as_of=ask.as_of,
        domain=row["domain"],
        industry=row["industry"],
        employees=row["employees"],
        segment=row["segment"],
        tier=row["tier"],
        touch=row["touch"],
        stage=row["stage"],
        onboarding_status=row["onboarding_status"],
        owner=PersonRef(id=row["owner_id"], name=row.get("owner_name") or "?") if row["owner_id"] else None,
        team=[f"{seat['name']} ({seat['user_id']}, {seat['role']})" for seat in found["team"]],
        parent_id=row["parent_id"],
        created_on=row["created_on"],
        arr=Amount.of(row["arr_minor"], row["currency"]),
        renewal_on=row["renewal_on"],
        days_to_renewal=(row["renewal_on"] - today).days if row["renewal_on"] else None,
        # Of a past day the row knows no score; of today it is what lists go by.
        health_band=health.band if health is not None and ask.as_of is not None else row["health_band"],
        health_score=health.score if health is not None and ask.as_of is not None else row["health_score"],
        health=health,
        risk_reason=row["risk_reason"],
        executive_sponsor=person(row["executive_sponsor_id"]),
        champion=person(row["champion_id"]),
        last_touch_on=row["last_touch_on"],
        last_meeting_on=row["last_meeting_on"],
        next_meeting_on=row["next_meeting_on"],
        tags=row["tags"],
        custom=row["custom"],
        source=f"{row['source_system']}:{row['source_id']}" if row["source_id"] else None,
        remarks=[remark] if remark else [],
    )
    asked = sections_of(ask)
    build: dict[Section, Callable[[Row], View]] = {
        "contract": _subscription,
        "people": _contact,
        "renewal": lambda renewal: _renewal(renewal, found, today, past=ask.as_of is not None),
        "opportunities": _opportunity,
        "risk": lambda case: risk_of_row(case, today),
        "tasks": lambda task: _task(task, today),
        "meetings": lambda meeting: _meeting(meeting, names, quote_limit),
        "notes": lambda note: _note(note, quote_limit),
    }
    # Meetings and notes bring the text that fills a context; the short facts come first whatever was asked first.
    return _with_sections(view, [(name, [build[name](r) for r in found[_ROWS[name]]]) for name in asked], ask, full)


def _with_sections(
    view: AccountView, sections: list[tuple[Section, list[Any]]], ask: GetAccount, full: bool
) -> AccountView:
    allowed = ask.budget_tokens * BYTES_PER_TOKEN - 400
    text_used = len(view.text("0000").encode())
    json_used = len(view.model_dump_json(exclude_none=True).encode())
    most = FULL_ITEMS if full else BRIEF_ITEMS
    kept: dict[str, list[Any]] = {}
    left: list[LeftOut] = []
    for name, items in sections:
        text_used, json_used = text_used + 30, json_used + 20
        fit: list[Any] = []
        for item in items[:most]:
            text, structure = len(item.text("0000").encode()) + 1, len(item.model_dump_json(exclude_none=True).encode())
            if text_used + text > allowed or json_used + structure > allowed:
                break
            text_used, json_used = text_used + text, json_used + structure + 1
            fit.append(item)
        kept[name] = fit
        if len(items) > len(fit):
            left.append(LeftOut(what=f"{len(items) - len(fit)} of {len(items)} {name}", call=_MORE[name]))
    return view.model_copy(update=kept | {"left_out": left})


def _subscription(row: Row) -> SubscriptionLine:
    return SubscriptionLine(
        id=row["id"],
        product=row["product"],
        starts_on=row["starts_on"],
        ends_on=row["ends_on"],
        canceled_on=row["canceled_on"],
        arr=Amount.of(row["arr_minor"], row["currency"]),
        seats=row["seats"],
        seat_limit=row["seat_limit"],
        auto_renew=row["auto_renew"],
        notice_days=row["notice_days"],
        trial=row["trial"],
    )


def _contact(row: Row) -> ContactLine:
    return ContactLine.model_validate({name: row[name] for name in ContactLine.model_fields})


def _renewal(row: Row, found: Mapping[str, Sequence[Row]], today: date, *, past: bool) -> RenewalLine:
    return RenewalLine(
        id=row["id"],
        version=row["version"],
        stage=row["stage"],
        forecast_category=row["forecast_category"],
        amount=Amount.of(row["amount_minor"], row["currency"]),
        closes_on=row["closes_on"],
        notice_deadline_on=row["notice_deadline_on"],
        # Of a past day, meetings and tickets are not told as they were.
        risks=[] if past else [risk.value for risk in risks_within(row, found, today)],
    )


def _task(row: Row, today: date) -> TaskLine:
    return TaskLine(
        id=row["id"],
        version=row["version"],
        title=row["title"],
        assignee=PersonRef(id=row["assignee_id"], name=row.get("person_name") or "?") if row["assignee_id"] else None,
        due_on=row["due_on"],
        overdue=row["status"] == "open" and row["due_on"] is not None and row["due_on"] < today,
        priority=row["priority"],
        status=row["status"],
        purpose=row["purpose"],
        snoozed_until=row["snoozed_until"],
    )


def _opportunity(row: Row) -> OpportunityLine:
    return OpportunityLine(
        id=row["id"],
        version=row["version"],
        name=row["name"],
        kind=row["kind"],
        stage=row["stage"],
        amount=None if row["amount_minor"] is None else Amount.of(row["amount_minor"], row["currency"]),
        expected_on=row["expected_on"],
    )


def quoted_text(text: str | None, *, origin: str, author: str | None, on: date, limit: int) -> Quoted | None:
    return None if text is None else quote(text, origin=origin, author=author, written_on=on, limit=limit)


def _meeting(row: Row, names: dict[str, str], limit: int) -> MeetingLine:
    attendees = [
        names.get(a.get("contact_id") or "", a.get("name") or a.get("user_id") or a.get("contact_id") or "?")
        + ("" if a.get("attended", True) else " (absent)")
        for a in row["attendees"]
    ]
    # Once a meeting was held, what was said there stands for what it was to be about.
    agenda = None if row["summary"] else row["agenda"]
    return MeetingLine(
        id=row["id"],
        version=row["version"],
        kind=row["kind"],
        status=row["status"],
        held_on=row["held_on"],
        attendees=attendees,
        sentiment=row["sentiment"],
        agenda=quote(agenda, origin=f"agenda of {row['id']}", limit=limit) if agenda else None,
        summary=quoted_text(
            row["summary"], origin=f"summary of {row['id']}", author=None, on=row["held_on"], limit=limit
        ),
        decisions=row["decisions"],
    )


def _note(row: Row, limit: int) -> NoteLine:
    author = row.get("person_name") or row["author_name"]
    return NoteLine(
        id=row["id"],
        version=row["version"],
        written_on=row["written_on"],
        author=author,
        sentiment=row["sentiment"],
        risk=row["risk"],
        meeting_id=row["meeting_id"],
        corrects=row["corrects_id"],
        note=quote(row["text"], origin=f"note {row['id']}", author=author, written_on=row["written_on"], limit=limit),
    )
