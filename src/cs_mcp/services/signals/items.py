"""One signal at a time: which fields its kind takes, whose it is, and the record or the figures it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cs_mcp.db.repository import Repository
from cs_mcp.db.signals.signal_reads import by_source, taken_sources
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.writing import FigureKey
from cs_mcp.domain.contract import shown
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.money import Money
from cs_mcp.domain.records import Record
from cs_mcp.domain.signals.signals import (
    LOWEST_SEVERITY,
    SCALES,
    CompanyEvent,
    Invoice,
    InvoiceStatus,
    SurveyResponse,
    Ticket,
    TicketStatus,
    csat_of,
    event_key,
    invoice_status,
)
from cs_mcp.domain.signals.usage import department_key, figure, place_of, refuse_future
from cs_mcp.services.naming import Names
from cs_mcp.services.signals.usage import UsageTelling

if TYPE_CHECKING:
    from cs_mcp.services.signals.signals import Signal

_GRACE: Final = timedelta(days=1)  # for who is ahead of the workspace's clock
_FIRST_YEAR, _LAST_YEAR = 1900, 2199
_LONGEST_SCALE: Final = 1_000

# By kind: what an item needs, and what it may have besides.
NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "usage": ("account", "on", "figures"),
    "ticket": ("account", "source_id", "opened_at"),
    "invoice": ("account", "source_id", "amount", "due_on"),
    "survey": ("account", "source_id", "survey", "score", "answered_at"),
    "company_event": ("account", "on", "event"),
    "feature": ("feature", "core"),
}
_OF_TICKET: Final = ("severity", "category", "subject", "text", "escalated", "sla_breached", "csat")
_TIMES: Final = ("first_response_at", "resolved_at")
ALLOWED: Final[dict[str, tuple[str, ...]]] = {
    "usage": ("department", "feature"),
    "ticket": (*_OF_TICKET, *_TIMES, "status", "contact"),
    "invoice": ("paid_on", "status"),
    "survey": ("contact", "scale_max", "invited", "loop_state", "text", "tags"),
    "company_event": ("source_id", "note", "source_url", "told_by"),
    "feature": (),
}


@dataclass(frozen=True, slots=True)
class Ready:
    """An item whose fields fit its kind. `key` is its source id, for kinds that are records."""

    index: int
    item: Signal
    account: str | None
    key: str | None


class Signals:
    """The items of one call: `ready` each, `prepare` them together, `take` each."""

    def __init__(self, work: UnitOfWork, source: str) -> None:
        self._work = work
        self._source = source
        self._names = Names.writing(work)
        self._accounts: dict[str, str | CustomerSuccessError] = {}
        self._stored: dict[str, dict[str, Any]] = {}
        self._hidden: dict[str, set[str]] = {}
        self._met: dict[tuple[str, str], int] = {}
        self._figures: dict[FigureKey, int] = {}
        self._of_item: dict[int, set[FigureKey]] = {}
        self.usage = UsageTelling(work, source)
        self.usage.written.keys = set()

    async def ready(self, index: int, item: Signal) -> Ready:
        """Raises ValueError or what naming raises."""
        _refuse_misplaced(item)
        account = await self._account(item.account) if item.account is not None else None
        key = item.source_id
        if item.kind == "company_event" and key is None:
            assert account is not None
            assert item.on is not None
            assert item.event is not None
            key = event_key(account, item.on, item.event.value)
        if key is not None and (first := self._met.setdefault((item.kind, key), index)) != index:
            raise ValueError(f"it tells the same {item.kind} as item {first}: {shown(key)}")
        return Ready(index, item, account, key)

    async def _account(self, ref: str) -> str:
        known = self._accounts.get(ref)
        if known is None:
            try:
                known = (await self._names.account(ref)).id
            except CustomerSuccessError as unknown:
                known = unknown
            self._accounts[ref] = known
        if isinstance(known, CustomerSuccessError):
            raise known
        return known

    async def prepare(self, items: Sequence[Ready]) -> None:
        """Fetch what the items name."""
        work = self._work
        repositories: dict[str, Repository[Any, Any]] = {
            "ticket": work.tickets,
            "invoice": work.invoices,
            "survey": work.surveys,
            "company_event": work.company_events,
        }
        for kind, repository in repositories.items():
            keys = sorted({ready.key for ready in items if ready.item.kind == kind and ready.key})
            if keys:
                self._stored[kind] = await by_source(work, repository, self._source, keys)
                taken = await taken_sources(work, repository.row, self._source, keys)
                self._hidden[kind] = taken - self._stored[kind].keys()
        await self.usage.meet_features([ready.item.feature for ready in items if ready.item.feature])

    async def take(self, ready: Ready) -> tuple[str | None, bool]:
        """The id of the item's record, and whether it changed. Raises ValueError or CustomerSuccessError."""
        item, work = ready.item, self._work
        if item.kind == "usage":
            self._tell(ready)
            return None, True
        if item.kind == "feature":
            assert item.feature is not None
            assert item.core is not None
            return self.usage.feature(item.feature), self.usage.mark_core(item.feature, item.core)
        if item.kind == "ticket":
            return self._save(ready, work.tickets, Ticket, await self._ticket(ready))
        if item.kind == "invoice":
            return self._save(ready, work.invoices, Invoice, self._invoice(ready))
        if item.kind == "survey":
            return self._save(ready, work.surveys, SurveyResponse, await self._survey(ready))
        assert item.event is not None
        told: dict[str, Any] = {"on": item.on, "kind": item.event} | _told(item, "note", "source_url", "told_by")
        return self._save(ready, work.company_events, CompanyEvent, told)

    def usage_changed(self, index: int) -> bool:
        """Whether a usage item changed a figure; known after `usage.write`."""
        changed = self.usage.written.keys or set()
        return bool(self._of_item.get(index, set()) & changed)

    def _save(
        self, ready: Ready, repository: Repository[Any, Any], model: type[Record], told: dict[str, Any]
    ) -> tuple[str, bool]:
        assert ready.key is not None
        kind = ready.item.kind
        if ready.key in self._hidden.get(kind, ()):
            raise ValueError(f"source_id {shown(ready.key)} cannot be used here; it names no {kind} you can see")
        told["account_id"] = ready.account
        before = self._stored.get(kind, {}).get(ready.key)
        if before is None:
            name = {"source_system": self._source, "source_id": ready.key}
            record = repository.add(model(id=self._work.ids.new(repository.table), **name, **told))
            return record.id, True
        after = before.changed(**told, removed_at=None)
        if after == before:
            return before.id, False
        return repository.save(after).id, True

    # -- fields of each kind ------------------------------------------------------------------------------------
    def _tell(self, ready: Ready) -> None:
        item = ready.item
        assert ready.account is not None
        assert item.on is not None
        assert item.figures is not None
        refuse_future(item.on, self._work.today)
        department, day = department_key(item.department or ""), item.on.toordinal()
        if item.feature is not None and list(item.figures) != ["feature_events"]:
            raise ValueError("figures of a feature are its feature_events and nothing else")
        feature = self.usage.feature(item.feature) if item.feature is not None else None
        told = {
            (ready.account, day, feature or metric, department): (place_of(metric), figure(metric, value))
            for metric, value in item.figures.items()
        }
        for key, (_, value) in told.items():
            if self._figures.setdefault(key, value) != value:
                raise ValueError(f"{key[2]} of {item.on} is told by an item before it, which says otherwise")
        for place, value in told.values():
            if feature is not None:
                self.usage.told.tell_feature(ready.account, day, feature, value, department)
            else:
                self.usage.told.tell(ready.account, day, place, value, department)
        self._of_item[ready.index] = set(told)

    async def _ticket(self, ready: Ready) -> dict[str, Any]:
        item = ready.item
        self._refuse_to_come(item, "opened_at", *_TIMES)
        for name in _TIMES:
            at: datetime | None = getattr(item, name)
            if at is not None and item.opened_at is not None and at < item.opened_at:
                opened = item.opened_at.isoformat()
                raise ValueError(f"{name}: {at.isoformat()} is before it was opened, {opened}")
        if item.severity is not None and not 1 <= item.severity <= LOWEST_SEVERITY:
            raise ValueError(f"severity: {item.severity} is not 1 (worst) to {LOWEST_SEVERITY}")
        told = _told(item, *_OF_TICKET, "opened_at", *_TIMES)
        if item.csat is not None:
            told["csat"] = csat_of(item.csat)
        if item.status is not None:
            told["status"] = _one_of(TicketStatus, item.status)
        elif item.resolved_at is not None:
            told["status"] = TicketStatus.resolved
        return told | await self._contact(ready)

    def _invoice(self, ready: Ready) -> dict[str, Any]:
        item = ready.item
        assert item.amount is not None
        if item.paid_on is not None and item.paid_on > self._work.today + _GRACE:
            raise ValueError(f"paid_on: {item.paid_on} is in the future")
        told = _told(item, "due_on", "paid_on") | {
            "amount_minor": Money.of(item.amount.amount, item.amount.currency).minor,
            "currency": item.amount.currency,
        }
        if item.status is not None or item.paid_on is not None:
            status = None if item.status is None else _one_of(InvoiceStatus, item.status).value
            told["status"] = invoice_status(status, item.paid_on)
        return told

    async def _survey(self, ready: Ready) -> dict[str, Any]:
        item = ready.item
        assert item.survey is not None
        assert item.score is not None
        self._refuse_to_come(item, "answered_at")
        top = item.scale_max or SCALES[item.survey]
        if not 1 <= top <= _LONGEST_SCALE:
            raise ValueError(f"scale_max: {top} is not between 1 and {_LONGEST_SCALE}")
        if not 0 <= item.score <= top:
            raise ValueError(f"score: {item.score:g} is not on a scale of 0 to {top}")
        told = _told(item, "score", "answered_at", "invited", "loop_state", "tags")
        told |= {"kind": item.survey, "scale_max": top}
        if item.text is not None:
            told["comment"] = item.text
        return told | await self._contact(ready)

    async def _contact(self, ready: Ready) -> dict[str, Any]:
        if ready.item.contact is None:
            return {}
        assert ready.account is not None
        return {"contact_id": (await self._names.contact(ready.item.contact, ready.account)).id}

    def _refuse_to_come(self, item: Signal, *names: str) -> None:
        for name in names:
            at: datetime | None = getattr(item, name)
            if at is not None and at.tzinfo is None:
                raise ValueError(f"{name}: {at.isoformat()} names no time zone (add Z, or +02:00)")
            if at is not None and at > self._work.now + _GRACE:
                raise ValueError(f"{name}: {at.isoformat()} is in the future")


def _refuse_misplaced(item: Signal) -> None:
    """Fields that the kind lacks, or does not take."""
    sent = {name for name in item.model_fields_set - {"kind"} if getattr(item, name) is not None}
    needed, allowed = NEEDED[item.kind], ALLOWED[item.kind]
    if missing := [name for name in needed if name not in sent]:
        raise ValueError(f"{item.kind} needs {', '.join(missing)}")
    if beyond := sorted(sent - {*needed, *allowed}):
        takes = ", ".join((*needed, *allowed))
        raise ValueError(f"{', '.join(beyond)} does not go with {item.kind}, which takes {takes}")
    if item.figures is not None and not item.figures:
        raise ValueError("figures is empty")
    for name in sent:
        day = getattr(item, name)
        if isinstance(day, date) and not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            raise ValueError(f"{name}: {day.isoformat()} is not between {_FIRST_YEAR} and {_LAST_YEAR}")


def _told(item: Signal, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(item, name)) is not None}


def _one_of(states: Any, told: Any) -> Any:
    if str(told) not in set(states):
        raise ValueError(f"status: {told} is not one of {', '.join(states)}")
    return states(str(told))
