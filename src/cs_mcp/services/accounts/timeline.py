"""Everything that happened to an account, typed and dated, newest first."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from cs_mcp.db.accounts.reads import AccountReads
from cs_mcp.db.history.timeline import ACCOUNT_FIELDS, FIRST_DAY, LAST_DAY, TIMED, Event, Place, TimelineReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import (
    AccountRef,
    Amount,
    Budget,
    Cursor,
    CursorMark,
    Detail,
    FieldChange,
    Limit,
    Page,
    Question,
    View,
    bad_cursor,
    fitted,
    question_hash,
    quoted,
    shown,
    total_of,
)
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.text import Quoted, quote
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import shown_value

Kind = Literal[
    "meeting", "note", "task", "sponsorship", "arr", "renewal", "opportunity", "subscription", "departure", "account",
    "risk", "override", "ticket", "survey", "company_event",

]  # fmt: skip
_SOURCES_OF: Final[dict[Kind, tuple[str, ...]]] = {
    "meeting": ("meeting",),
    "note": ("note",),
    "task": ("task_created", "task_done"),
    "sponsorship": ("seat_taken", "seat_ended"),
    "arr": ("arr",),
    "renewal": ("renewal_moved",),
    "opportunity": ("opportunity_begun", "opportunity_moved"),
    "subscription": ("subscription_started", "subscription_ended", "subscription_canceled"),
    "departure": ("departure",),
    "account": ("account_changed",),
    "risk": ("risk_opened", "risk_closed"),
    "override": ("override_set", "override_ended", "override_expired"),
    "ticket": ("ticket_opened", "ticket_resolved"),
    "survey": ("survey",),
    "company_event": ("company_event",),
}
_KIND_OF: Final = {source: kind for kind, sources in _SOURCES_OF.items() for source in sources}
_STAMPED: Final = re.compile(r"[0-9]{20}#([0-9]{16}|[a-z]{3}_[0-9a-z]{18})")
BRIEF_QUOTE: Final = 300
WHOLE_QUOTE: Final = 20_000


class GetTimeline(Question):
    account: AccountRef
    period_start: date | None = None
    period_end: Annotated[date, Field(description="Absent: what is planned or ends later comes too")] | None = None
    kinds: Annotated[list[Kind], Field(max_length=15, description="All when absent")] | None = None
    detail: Annotated[Detail, Field(description="brief cuts each text at 300 characters")] = "brief"
    limit: Limit = 25
    cursor: Cursor | None = None
    budget_tokens: Budget = 4000


class TimelineEvent(View):
    """One event: the record it comes from, what happened in words, and the fields that say it."""

    on: date
    kind: Kind
    id: str
    what: str
    people: list[PersonRef] = []
    amount: Amount | None = None
    fields: list[FieldChange] = []
    change_id: str | None = None
    quotes: list[Quoted] = []

    def text(self, nonce: str) -> str:
        extra = [person.text(nonce) for person in self.people]
        extra += [str(self.amount)] if self.amount else []
        extra += [f"{f.field}: {shown(f.before or 'none')} → {shown(f.after or 'none')}" for f in self.fields]
        extra += [self.change_id] if self.change_id else []
        tail = f"; {'; '.join(extra)}" if extra else ""
        lines = [f"- {self.on} {self.kind}: {shown(self.what, 300)} ({self.id}){tail}"]
        return "\n".join(lines + [quoted(said, nonce) for said in self.quotes])


class TimelinePage(Page[TimelineEvent]):
    account: PersonRef

    def title(self) -> str:
        return f"What happened to {self.account.text('')}, newest first"


class Timeline:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = TimelineReads(store)
        self._accounts = AccountReads(store)

    async def get(self, principal: Principal, question: GetTimeline) -> TimelinePage:
        match = await Names.reading(self._store, principal).account(question.account)
        calendar = (await self._store.workspace(principal.workspace)).calendar
        first, last = question.period_start or FIRST_DAY, question.period_end or LAST_DAY
        if first > last:
            raise Invalid(
                f"period_start {first} is after period_end {last}.", remedy="Give the earlier day as period_start."
            )
        mark = question_hash(question)
        events, total = await self._reads.page(
            principal,
            match.id,
            calendar,
            {source for kind in question.kinds or _SOURCES_OF for source in _SOURCES_OF[kind]},
            first=first,
            last=last,
            limit=question.limit,
            after=_place(question.cursor, mark),
        )
        shown_events = events[: question.limit]
        members = await self._owners(principal, shown_events)
        today = calendar.today(self._store.clock.now())
        cut = BRIEF_QUOTE if question.detail == "brief" else WHOLE_QUOTE
        items = fitted(
            [_event(event, members, today, cut) for event in shown_events], budget_tokens=question.budget_tokens
        )
        next_cursor = None
        if len(events) > len(items):
            place = shown_events[len(items) - 1].place
            next_cursor = CursorMark(of=mark, value=place.on, id=f"{place.source} {place.id}").token()
        return TimelinePage(
            account=PersonRef(id=match.id, name=match.name),
            items=items,
            total=total_of(total),
            next_cursor=next_cursor,
        )

    async def _owners(self, principal: Principal, events: list[Event]) -> dict[str, str]:
        """Names of us, where an owner changed hands."""
        moved = any("owner_id" in (event.row.get("after") or {}) for event in events)
        return await self._accounts.member_names(principal) if moved else {}


def _place(cursor: str | None, mark: str) -> Place | None:
    if cursor is None:
        return None
    read = CursorMark.read(cursor, mark, date)
    source, _, record = read.id.partition(" ")
    if source not in _KIND_OF or not record:
        raise bad_cursor()
    if (source in TIMED) is not _is_stamped(record):
        raise bad_cursor()
    return Place(read.value, source, record)


def _is_stamped(place: str) -> bool:
    """Whether it is the place of an event with an instant: that, and what orders events of one instant."""
    if _STAMPED.fullmatch(place) is None:
        return False
    try:
        datetime.strptime(place.partition("#")[0], "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


# -- events in words ------------------------------------------------------------------------------------------


def _event(event: Event, members: dict[str, str], today: date, cut: int) -> TimelineEvent:
    source, row = event.place.source, event.row
    say = _WORDS[source]
    return TimelineEvent(
        **{"on": event.place.on, "kind": _KIND_OF[source], "id": row.get("entity_id") or row["id"]}
        | say(row | {"event_on": event.place.on}, today, cut, members)
    )


def _meeting(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    status = {"held": "held", "planned": "planned", "canceled": "canceled"}[row["status"]]
    quotes = [
        quote(said, origin=f"{name} of {row['id']}", written_on=row["held_on"], limit=cut)
        for name in ("agenda", "summary")
        if (said := row[name])
    ]
    decided = f", decided: {'; '.join(row['decisions'])}" if row["decisions"] else ""
    return {"what": f"{row['kind']} {status}{decided}", "quotes": quotes}


def _note(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    author = row["person_name"] or row["author_name"]
    said = ", ".join(filter(None, (row["sentiment"], f"risk {row['risk']}" if row["risk"] else None)))
    quotes = [quote(row["text"], origin=f"note {row['id']}", author=author, written_on=row["written_on"], limit=cut)]
    corrects = f", corrects {row['corrects_id']}" if row["corrects_id"] else ""
    return {"what": "health note" + (f", {said}" if said else "") + corrects, "quotes": quotes}


def _task_created(row: Row, _today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
    due = f", due {row['due_on']}" if row["due_on"] else ""
    return {"what": f"task created: {shown(row['title'])}{due}", "change_id": row["change_id"]}


def _task_done(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    outcome = row["outcome"]
    quotes = [quote(outcome, origin=f"outcome of {row['id']}", written_on=row["done_on"], limit=cut)] if outcome else []
    return {"what": f"task done: {shown(row['title'])}", "quotes": quotes}


def _seat(says: str) -> Any:
    def say(row: Row, _today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
        person = PersonRef(id=row["contact_id"], name=row["person_name"] or "?")
        return {"what": f"{row['role']} {says}", "people": [person]}

    return say


def _arr(row: Row, _today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
    reason = f", {shown(row['reason'])}" if row["reason"] else ""
    return {"what": f"ARR {row['kind']}{reason}", "amount": Amount.of(row["amount_minor"], row["currency"])}


def _subscription(day: str, past: str, coming: str) -> Any:
    def say(row: Row, today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
        said = past if row[day] <= today else coming
        return {
            "what": f"{shown(row['product'] or 'subscription')} {said}",
            "amount": Amount.of(row["arr_minor"], row["currency"]),
        }

    return say


def _opportunity(row: Row, _today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
    amount = Amount.of(row["amount_minor"], row["currency"]) if row["amount_minor"] is not None else None
    why = f" after {row['trigger']}" if row["trigger"] else ""
    return {"what": f"{row['kind']} opportunity{why}: {shown(row['name'])}", "amount": amount}


def _departure(row: Row, _today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
    title = f", {shown(row['title'])}," if row["title"] else ""
    return {"what": f"contact{title} departed", "people": [PersonRef(id=row["id"], name=row["name"])]}


def _risk_opened(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    severity = f", {row['severity']}" if row["severity"] else ""
    return {"what": f"risk case opened: {row['category']}{severity}", "quotes": _said(row, "summary", cut)}


def _risk_closed(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    return {"what": f"risk case closed: {row['category']}", "quotes": _said(row, "outcome", cut)}


def _override_set(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    score = "" if row["score_tenths"] is None else f" (score {row['score_tenths'] / 10:g})"
    what = f"health overridden to {row['band']}{score} until {row['expires_on']}"
    return {"what": what, "quotes": _said(row, "reason", cut, row["person_name"])}


def _override_ended(row: Row, _today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
    return {"what": f"health override to {row['band']} was ended"}


def _override_expired(row: Row, today: date, _cut: int, _members: dict[str, str]) -> dict[str, Any]:
    return {"what": f"health override to {row['band']} {'expired' if row['expires_on'] < today else 'expires'}"}


def _ticket_opened(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    told = [f"severity {row['severity']}"] if row["severity"] else []
    told += [name for name in ("escalated",) if row[name]]
    told += ["its SLA was breached"] if row["sla_breached"] else []
    quotes = [*_said(row, "subject", cut), *_said(row, "text", cut)]
    return {"what": ", ".join(["ticket opened", *told]), "quotes": quotes}


def _ticket_resolved(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    hours = (row["resolved_at"] - row["opened_at"]).total_seconds() / 3600
    csat = f", CSAT {row['csat']} of 5" if row["csat"] is not None else ""
    return {"what": f"ticket resolved after {hours:.0f} hours{csat}", "quotes": _said(row, "subject", cut)}


def _survey(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    people = [PersonRef(id=row["contact_id"], name=row["person_name"] or "?")] if row["contact_id"] else []
    what = f"{row['kind'].upper()} {row['score']:g} of {row['scale_max']}" + ("" if row["invited"] else ", unsolicited")
    return {"what": what, "people": people, "quotes": _said(row, "comment", cut, row["person_name"])}


def _company_event(row: Row, _today: date, cut: int, _members: dict[str, str]) -> dict[str, Any]:
    return {"what": row["kind"].replace("_", " "), "quotes": _said(row, "note", cut, row["told_by"])}


def _said(row: Row, name: str, cut: int, author: str | None = None) -> list[Quoted]:
    """The prose of a column, where there is any."""
    if not row[name]:
        return []
    origin = f"{name} of {row['id']}"
    return [quote(row[name], origin=origin, author=author, written_on=row["event_on"], limit=cut)]


def _changed(entity: str, says: str, fields: tuple[str, ...]) -> Any:
    def say(row: Row, _today: date, _cut: int, members: dict[str, str]) -> dict[str, Any]:
        before: dict[str, Any] = row["before"] or {}
        after: dict[str, Any] = row["after"] or {}

        def value(values: dict[str, Any], name: str) -> Any:
            held = values.get(name)
            if name == "owner_id" and held is not None:
                return f"{members.get(held, '?')} ({held})"
            return shown_value(entity, name, held)

        changed = [
            FieldChange(field=name, before=value(before, name), after=value(after, name))
            for name in fields
            if name in after
        ]
        by = f" by {shown(row['person_name'])}" if row["person_name"] else ""
        why = f", reason: {shown(row['reason'], 200)}" if row["reason"] else ""
        return {"what": f"{says}{by}{why}", "fields": changed, "change_id": row["change_id"]}

    return say


_WORDS: Final[dict[str, Any]] = {
    "account_changed": _changed("account", "account changed", ACCOUNT_FIELDS),
    "arr": _arr,
    "company_event": _company_event,
    "departure": _departure,
    "meeting": _meeting,
    "note": _note,
    "override_ended": _override_ended,
    "override_expired": _override_expired,
    "override_set": _override_set,
    "opportunity_begun": _opportunity,
    "opportunity_moved": _changed("opportunity", "opportunity moved", ("stage",)),
    "renewal_moved": _changed("renewal", "renewal moved", ("stage",)),
    "risk_closed": _risk_closed,
    "risk_opened": _risk_opened,
    "seat_ended": _seat("seat ended"),
    "seat_taken": _seat("seat taken"),
    "subscription_canceled": _subscription("canceled_on", "was canceled", "is canceled"),
    "subscription_ended": _subscription("ends_on", "ended its term", "ends its term"),
    "subscription_started": _subscription("starts_on", "started", "starts"),
    "survey": _survey,
    "task_created": _task_created,
    "task_done": _task_done,
    "ticket_opened": _ticket_opened,
    "ticket_resolved": _ticket_resolved,
}
