"""Telling signals: usage, tickets, invoices, survey responses, company events, features; each item on its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.contract import AccountRef, Amount, Command, Input, Item, Name, Ref, Text, View
from cs_mcp.domain.errors import CustomerSuccessError, Invalid
from cs_mcp.domain.signals.signals import (
    CompanyEventKind,
    LoopState,
    SignalBatch,
    SurveyKind,
)
from cs_mcp.services.signals.items import Ready, Signals
from cs_mcp.services.writes import Outcome

MOST_ITEMS: Final = 500
ITEMS_TOLD: Final = 40

SignalKind = Literal["usage", "ticket", "invoice", "survey", "company_event", "feature"]
SignalState = Literal["open", "waiting", "resolved", "paid", "void", "written_off"]  # of a ticket, or of an invoice


class Signal(Input):
    """One item; which fields a kind takes is checked item by item, so that one bad item stops no other."""

    kind: SignalKind
    account: AccountRef | None = None
    source_id: Annotated[Ref, Field(description="Its id at the source; needed for ticket, invoice, survey")] | None = (
        None
    )
    on: Annotated[date, Field(description="Day of usage or company_event")] | None = None
    figures: (
        Annotated[
            dict[str, float],
            Field(
                max_length=20,
                description="usage: active_users, power_sessions, logins, feature_events, seats_used, integrations, "
                'api_calls, e.g. {"active_users": 12}',
            ),
        ]
        | None
    ) = None
    department: Annotated[Name, Field(description="usage: whole account when absent")] | None = None
    feature: (
        Annotated[Name, Field(description="usage of one feature (feature_events), or the feature itself")] | None
    ) = None
    core: Annotated[bool, Field(description="feature: core, or peripheral when false")] | None = None
    status: SignalState | None = None
    severity: Annotated[int, Field(description="1 worst to 4")] | None = None
    category: Name | None = None
    subject: Name | None = None
    text: Text | None = None
    opened_at: datetime | None = None
    first_response_at: datetime | None = None
    resolved_at: datetime | None = None
    escalated: bool | None = None
    sla_breached: bool | None = None
    csat: Annotated[float, Field(description="ticket: 1 to 5")] | None = None
    amount: Amount | None = None
    due_on: date | None = None
    paid_on: date | None = None
    contact: Annotated[Ref, Field(description="Who asked or answered: id, e-mail or name")] | None = None
    survey: SurveyKind | None = None
    score: float | None = None
    scale_max: int | None = None
    answered_at: datetime | None = None
    invited: bool | None = None
    loop_state: LoopState | None = None
    tags: Annotated[list[Name], Field(max_length=20)] | None = None
    event: CompanyEventKind | None = None
    note: Text | None = None
    source_url: Annotated[str, Field(max_length=500)] | None = None
    told_by: Name | None = None


class RecordSignals(Command):
    tool: ClassVar[str] = "record_signals"

    items: Annotated[list[Signal], Field(min_length=1, max_length=MOST_ITEMS)]
    source: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,32}$", description="System that tells them")] = "signals"


class SignalsTold(View):
    """What became of a batch: items by outcome, and figures of usage by what they changed."""

    recorded: int
    unchanged: int
    refused: int
    by_kind: dict[str, int] = {}
    figures_new: int = 0
    figures_corrected: int = 0
    figures_unchanged: int = 0
    batch: str | None = None

    def text(self, nonce: str) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.by_kind.items())
        of_kinds = f" ({kinds})" if kinds else ""
        lines = [f"{self.recorded} items recorded{of_kinds}, {self.unchanged} known already, {self.refused} refused."]
        if self.figures_new or self.figures_corrected or self.figures_unchanged:
            batch = f" ({self.batch})" if self.batch else ""
            lines.append(
                f"Usage: {self.figures_new} figures new, {self.figures_corrected} corrected, "
                f"{self.figures_unchanged} as they were{batch}."
            )
        if self.refused > ITEMS_TOLD:
            lines.append(f"The first {ITEMS_TOLD} refused items are listed; send them again once they are right.")
        return "\n".join(lines)


class SignalsRecorder:
    """The use case behind record_signals."""

    async def record(self, work: UnitOfWork, command: RecordSignals) -> Outcome:
        """Each item on its own: one that is refused is reported, the others are recorded."""
        signals = Signals(work, command.source)
        refused: dict[int, str] = {}
        ready: list[Ready] = []
        for index, item in enumerate(command.items):
            try:
                ready.append(await signals.ready(index, item))
            except (CustomerSuccessError, ValueError) as why:
                refused[index] = str(why)
        await signals.prepare(ready)
        done: dict[int, tuple[str | None, bool]] = {}
        for one in ready:
            try:
                done[one.index] = await signals.take(one)
            except (CustomerSuccessError, ValueError) as why:
                refused[one.index] = str(why)
        if not done:
            raise _none_kept(refused)
        await signals.usage.write()
        batch = await signals.usage.finish()
        for index in done:
            if command.items[index].kind == "usage":
                done[index] = (batch.id if batch else None, signals.usage_changed(index))
        return _outcome(command, signals, done, refused, batch)


def _outcome(
    command: RecordSignals,
    signals: Signals,
    done: dict[int, tuple[str | None, bool]],
    refused: dict[int, str],
    batch: SignalBatch | None,
) -> Outcome:
    changed = {index for index, (_, moved) in done.items() if moved}
    written = signals.usage.written
    told = SignalsTold(
        recorded=len(changed),
        unchanged=len(done) - len(changed),
        refused=len(refused),
        by_kind=dict(sorted(Counter(command.items[index].kind for index in changed).items())),
        figures_new=written.created,
        figures_corrected=written.updated,
        figures_unchanged=written.unchanged,
        batch=batch.id if batch else None,
    )
    items = [Item(index=index, outcome="refused", why=why) for index, why in sorted(refused.items())][:ITEMS_TOLD]
    if len(command.items) <= ITEMS_TOLD:
        items += [
            Item(index=index, id=record if moved else None, outcome="done" if moved else "unchanged")
            for index, (record, moved) in done.items()
        ]
    return Outcome(record=told, items=sorted(items, key=lambda item: item.index))


def _none_kept(refused: dict[int, str]) -> Invalid:
    first: Sequence[str] = [f"item {index}: {why}" for index, why in sorted(refused.items())[:5]]
    more = f" And {len(refused) - 5} more." if len(refused) > 5 else ""
    return Invalid(
        f"None of the {len(refused)} items was recorded. {' '.join(first)}{more}",
        remedy="Send them again once they are right.",
    )
