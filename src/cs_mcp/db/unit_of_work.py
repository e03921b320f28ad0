"""One write: one transaction that holds the rows, their change entries, the answer to its key and its plan."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

from cs_mcp.db.accounts.accounts import AccountRepository, TeamRepository
from cs_mcp.db.base import REMEMBERED, Remembered
from cs_mcp.db.derived import SOURCES, rederive
from cs_mcp.db.health.health import HealthNoteRepository
from cs_mcp.db.health.overrides import HealthOverrideRepository
from cs_mcp.db.health.risks import RiskRepository
from cs_mcp.db.history.changes import CHANGES, PAYLOADS, Act, Capture, Captured, refuse_edits_in_place
from cs_mcp.db.history.writing import write_history
from cs_mcp.db.members import MemberRepository, MemberRow
from cs_mcp.db.opportunities.opportunities import OpportunityRepository
from cs_mcp.db.people.sponsors import ContactRepository, SponsorshipRepository
from cs_mcp.db.portfolio import any_of, texts, visible
from cs_mcp.db.promises import Answers, Plans
from cs_mcp.db.read_path import Statement
from cs_mcp.db.renewals.renewals import RenewalRepository
from cs_mcp.db.revenue.exchange_rates import ExchangeRateRepository
from cs_mcp.db.revenue.past_attributes import keep_attributes
from cs_mcp.db.revenue.rollup import keep_revenue
from cs_mcp.db.revenue.subscriptions import ArrMovementRepository, SubscriptionRepository
from cs_mcp.db.revenue.targets import CsCostRepository, GoalRepository, TargetRepository
from cs_mcp.db.signals.signals import (
    CompanyEventRepository,
    FeatureRepository,
    InvoiceRepository,
    SignalBatchRepository,
    SurveyResponseRepository,
    TicketRepository,
)
from cs_mcp.db.wire import Wire
from cs_mcp.db.work.meetings import MeetingRepository
from cs_mcp.db.work.tasks import TaskRepository
from cs_mcp.db.workspaces import HEADS, WorkspaceRepository
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.changes import ChangeKind, Fields
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.records import Ids
from cs_mcp.domain.workspaces import Workspace

if TYPE_CHECKING:
    from cs_mcp.domain.calendar import Clock


@dataclass(frozen=True, slots=True)
class Since:
    """One later change of a record, in brief."""

    change_id: str
    actor_id: str
    actor_name: str | None
    fields: list[str]
    at: datetime
    tool: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the history with its values."""

    seq: int
    change_id: str
    entity: str
    entity_id: str
    entity_version: int
    account_id: str | None
    kind: str
    fields: list[str]
    actor_id: str
    actor_name: str | None
    on_behalf_of: str | None
    tool: str
    at: datetime
    run_id: str | None
    undoes: str | None
    before: Fields | None
    after: Fields | None


class Savepoint:
    def __init__(self, work: UnitOfWork, nested: AsyncSessionTransaction, changes_before: int) -> None:
        self._work = work
        self._nested = nested
        self._changes_before = changes_before
        self.undone = False

    async def undo(self) -> None:
        """Take back everything since the savepoint."""
        await self._nested.rollback()
        self._work.forget_changes_since(self._changes_before)
        self.undone = True


class UnitOfWork:
    """Repositories over one transaction. `record()` must be the last thing before the commit."""

    def __init__(
        self,
        session: AsyncSession,
        principal: Principal,
        act: Act,
        *,
        workspace: Workspace | None,
        clock: Clock,
        ids: Ids,
        salt: str,
    ) -> None:
        self.session = session
        self.principal = principal
        self.act = act
        self.clock = clock
        self.ids = ids
        self._workspace = workspace
        self._salt = salt
        self._capture: Capture = session.info["capture"]
        self._recorded = 0
        self._derived = 0
        self._wire: Wire | None = None
        self._created: set[str] = set()  # accounts

    # -- what it works by -------------------------------------------------------------------------------------
    @property
    def workspace(self) -> Workspace:
        assert self._workspace is not None, "the workspace has no profile yet"
        return self._workspace

    @property
    def calendar(self) -> Calendar:
        return self._workspace.calendar if self._workspace is not None else Calendar()

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def today(self) -> date:
        return self.calendar.today(self.clock.now())

    # -- repositories, one a concept --------------------------------------------------------------------------
    @cached_property
    def accounts(self) -> AccountRepository:
        return AccountRepository(self)

    @cached_property
    def team(self) -> TeamRepository:
        return TeamRepository(self)

    @cached_property
    def members(self) -> MemberRepository:
        return MemberRepository(self)

    @cached_property
    def workspaces(self) -> WorkspaceRepository:
        return WorkspaceRepository(self)

    @cached_property
    def contacts(self) -> ContactRepository:
        return ContactRepository(self)

    @cached_property
    def sponsorships(self) -> SponsorshipRepository:
        return SponsorshipRepository(self)

    @cached_property
    def subscriptions(self) -> SubscriptionRepository:
        return SubscriptionRepository(self)

    @cached_property
    def movements(self) -> ArrMovementRepository:
        return ArrMovementRepository(self)

    @cached_property
    def exchange_rates(self) -> ExchangeRateRepository:
        return ExchangeRateRepository(self)

    @cached_property
    def targets(self) -> TargetRepository:
        return TargetRepository(self)

    @cached_property
    def goals(self) -> GoalRepository:
        return GoalRepository(self)

    @cached_property
    def costs(self) -> CsCostRepository:
        return CsCostRepository(self)

    @cached_property
    def meetings(self) -> MeetingRepository:
        return MeetingRepository(self)

    @cached_property
    def notes(self) -> HealthNoteRepository:
        return HealthNoteRepository(self)

    @cached_property
    def tasks(self) -> TaskRepository:
        return TaskRepository(self)

    @cached_property
    def renewals(self) -> RenewalRepository:
        return RenewalRepository(self)

    @cached_property
    def opportunities(self) -> OpportunityRepository:
        return OpportunityRepository(self)

    @cached_property
    def overrides(self) -> HealthOverrideRepository:
        return HealthOverrideRepository(self)

    @cached_property
    def risks(self) -> RiskRepository:
        return RiskRepository(self)

    @cached_property
    def tickets(self) -> TicketRepository:
        return TicketRepository(self)

    @cached_property
    def invoices(self) -> InvoiceRepository:
        return InvoiceRepository(self)

    @cached_property
    def surveys(self) -> SurveyResponseRepository:
        return SurveyResponseRepository(self)

    @cached_property
    def company_events(self) -> CompanyEventRepository:
        return CompanyEventRepository(self)

    @cached_property
    def features(self) -> FeatureRepository:
        return FeatureRepository(self)

    @cached_property
    def signal_batches(self) -> SignalBatchRepository:
        return SignalBatchRepository(self)

    @cached_property
    def answers(self) -> Answers:
        return Answers(self.wire, self.principal.workspace, self.principal.user)

    @cached_property
    def plans(self) -> Plans:
        return Plans(self.session, self.principal.workspace)

    # -- the record -------------------------------------------------------------------------------------------
    @property
    def changes(self) -> list[Captured]:
        """What the flushes of this unit changed so far."""
        return self._capture.entries

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[Savepoint, None]:
        """A part of the unit that can be taken back whole: rows, captured changes, identities."""
        nested = await self.session.begin_nested()
        await self.session.connection()  # makes it: the first statement of the ORM would, one of `wire` would not
        point = Savepoint(self, nested, len(self.changes))
        try:
            yield point
        except BaseException:
            await point.undo()
            raise
        if not point.undone:
            await nested.commit()

    def forget_changes_since(self, count: int) -> None:
        """Drop captured changes whose rows were taken back."""
        del self.changes[count:]
        self._derived = min(self._derived, count)

    async def wire(self) -> Wire:
        """The driver connection of this transaction, for statements that need no ORM."""
        if self._wire is None:
            self._wire = await Wire.of(self.session)
        return self._wire

    async def flush(self) -> None:
        """Write the rows: versions rise, changes are captured, derived columns follow."""
        refuse_edits_in_place(self.session.sync_session)  # the session flushes nothing where it sees no change
        await self.session.flush()
        fresh = self.changes[self._derived :]
        self._derived = len(self.changes)
        accounts = {entry.account_id for entry in fresh if entry.account_id is not None}
        # A record that moved between accounts changes what follows for both.
        accounts |= {left for entry in fresh if (left := (entry.before or {}).get("account_id")) is not None}
        entities = {entry.entity for entry in fresh}
        if not fresh:
            return
        wire, workspace = await self.wire(), self.principal.workspace
        self._created |= {e.entity_id for e in fresh if e.entity == "account" and e.kind is ChangeKind.created}
        made, now = self._created, self.now
        await keep_revenue(wire, workspace, fresh, self.act, now=now, calendar=self.calendar, created=made)
        await keep_attributes(wire, workspace, fresh, now, but=made)
        if accounts and entities & SOURCES:
            await rederive(wire, workspace, accounts, entities, self.today)

    async def changes_since(self, record: str, version: int) -> list[Since]:
        """Who changed which fields of a record after a version, oldest first."""
        rows = await (await self.wire()).rows(
            _SINCE, {"workspace": self.principal.workspace, "record": record, "version": version}
        )
        return [Since(**row) for row in rows]

    async def entries(
        self,
        *,
        change: str | None = None,
        run: str | None = None,
        records: Sequence[str] | None = None,
        accounts: Sequence[str] | None = None,
        after_seq: int = 0,
    ) -> list[Entry]:
        """Entries of one write, one run, some records, or on some accounts; newest first."""
        given: dict[str, Any] = {"workspace": self.principal.workspace, "after_seq": after_seq}
        if change is not None:
            shape, given["value"] = "change_id", change
        elif run is not None:
            shape, given["value"] = "run_id", run
        else:
            shape, given["value"] = ("entity_id", records) if records is not None else ("account_id", accounts)
            if not given["value"]:
                return []
        return [Entry(**row) for row in await (await self.wire()).rows(_ENTRIES[shape], given)]

    async def rows_of(self, records: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Remembered]:
        """Remembered rows by entity and id, removed ones too, that the caller may see: what undo works on."""
        wanted: dict[str, list[str]] = {}
        for entity, record in records:
            wanted.setdefault(entity, []).append(record)
        found: dict[tuple[str, str], Remembered] = {}
        for entity, ids in wanted.items():
            row = REMEMBERED[entity]
            statement = select(row).where(
                row.workspace == self.principal.workspace,
                any_of(row.id, texts("wanted", ids)),
                *visible(row.__table__, self.principal),
            )
            for one in (await self.session.execute(statement)).scalars():
                found[entity, one.id] = one
        return found

    async def head_seq(self) -> int:
        """The last entry of the workspace's history as this transaction sees it."""
        [found] = await (await self.wire()).rows(_HEAD_SEQ, {"workspace": self.principal.workspace})
        return found["seq"]

    async def record(self) -> None:
        """Give the captured changes their place in the history.

        The head row is taken here, last: whoever commits later has the higher seq, so a reader's cursor
        never passes an entry that is still to come.
        """
        entries = self.changes[self._recorded :]
        if not entries:
            return
        act, workspace = self.act, self.principal.workspace
        await write_history(await self.wire(), workspace, act, self.clock.now(), self._salt, entries)
        self._recorded = len(self.changes)


_HEAD_SEQ = Statement(lambda: select(HEADS.c.seq).where(HEADS.c.workspace == bindparam("workspace")))
_SINCE = Statement(
    lambda: (
        select(
            CHANGES.c.change_id,
            CHANGES.c.actor_id,
            MemberRow.name.label("actor_name"),
            CHANGES.c.fields,
            CHANGES.c.at,
            CHANGES.c.tool,
        )
        .outerjoin_from(
            CHANGES,
            MemberRow.__table__,
            (MemberRow.workspace == CHANGES.c.workspace) & (MemberRow.id == CHANGES.c.actor_id),
        )
        .where(
            CHANGES.c.workspace == bindparam("workspace"),
            CHANGES.c.entity_id == bindparam("record"),
            CHANGES.c.entity_version > bindparam("version"),
        )
        .order_by(CHANGES.c.seq)
        .limit(20)
    )
)


def _entries(column: str, *, many: bool) -> Statement:
    def build() -> Any:
        wanted = CHANGES.c[column]
        names = (
            "seq",
            "change_id",
            "entity",
            "entity_id",
            "entity_version",
            "account_id",
            "kind",
            "fields",
            "actor_id",
            "run_id",
            "undoes",
        )
        return (
            select(
                *(CHANGES.c[name] for name in names),
                MemberRow.name.label("actor_name"),
                CHANGES.c.on_behalf_of,
                CHANGES.c.tool,
                CHANGES.c.at,
                PAYLOADS.c.before,
                PAYLOADS.c.after,
            )
            .outerjoin_from(  # a payload is always there; the join must not start from it
                CHANGES,
                PAYLOADS,
                (PAYLOADS.c.workspace == CHANGES.c.workspace) & (PAYLOADS.c.seq == CHANGES.c.seq),
            )
            .outerjoin(
                MemberRow.__table__,
                (MemberRow.workspace == CHANGES.c.workspace) & (MemberRow.id == CHANGES.c.actor_id),
            )
            .where(
                CHANGES.c.workspace == bindparam("workspace"),
                any_of(wanted, texts("value")) if many else wanted == bindparam("value"),
                CHANGES.c.seq > bindparam("after_seq", type_=BigInteger),
            )
            .order_by(CHANGES.c.seq.desc())
        )

    return Statement(build)


_ENTRIES = {
    "change_id": _entries("change_id", many=False),
    "run_id": _entries("run_id", many=False),
    "entity_id": _entries("entity_id", many=True),
    "account_id": _entries("account_id", many=True),
}
