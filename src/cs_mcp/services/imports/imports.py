"""Imports: one transaction a file, all under one run id, by which the whole import can be undone.

Rows come as fields by name (`ImportedRow.told`), not as the connectors' record models: services stand right of
connectors and may not know them, and a mapping says what no model with defaults can, that a column is not there.
`connectors/loading.py` reads the files and calls `ImportRun` once for each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from cs_mcp.db.failures import is_transient
from cs_mcp.db.history.changes import Act
from cs_mcp.db.store import Store
from cs_mcp.db.transfer.import_reads import ImportReads
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.errors import Conflict, NotAllowed
from cs_mcp.domain.identity import Principal, Role
from cs_mcp.services.imports.aims import CostSheet, GoalSheet, TargetSheet
from cs_mcp.services.imports.columns import Known
from cs_mcp.services.imports.health import OverrideSheet, RiskSheet
from cs_mcp.services.imports.ledger import LedgerStep, MovementSheet, Untold
from cs_mcp.services.imports.looks import LOOKS
from cs_mcp.services.imports.opportunities import OpportunitySheet
from cs_mcp.services.imports.rates import RateSheet
from cs_mcp.services.imports.report import (
    REJECTS_SHOWN,
    FileReport,
    ImportedRow,
    ImportReport,
    LeftOut,
    Looks,
    Reject,
    RejectedLine,
    State,
    Tally,
    Warnings,
)
from cs_mcp.services.imports.seats import ContactSheet
from cs_mcp.services.imports.settings import SettingSheet
from cs_mcp.services.imports.sheets import (
    AccountSheet,
    MeetingSheet,
    MemberSheet,
    NoteSheet,
    Sheet,
    SubscriptionSheet,
    TaskSheet,
    exchange_rates,
)
from cs_mcp.services.imports.signals import (
    CompanyEventSheet,
    InvoiceSheet,
    SurveySheet,
    TicketSheet,
    UsageSheet,
)

Chunks = Iterable[Sequence[ImportedRow | Reject | LeftOut]]
OnReject = Callable[[str, Reject], None]

SHEETS: Final[dict[str, type[Sheet]]] = {
    "settings": SettingSheet,
    "users": MemberSheet,
    "accounts": AccountSheet,
    "contacts": ContactSheet,
    "subscriptions": SubscriptionSheet,
    "arr_movements": MovementSheet,
    "opportunities": OpportunitySheet,
    "fx_rates": RateSheet,
    "meetings": MeetingSheet,
    "notes": NoteSheet,
    "tasks": TaskSheet,
    "usage": UsageSheet,
    "tickets": TicketSheet,
    "invoices": InvoiceSheet,
    "surveys": SurveySheet,
    "company_events": CompanyEventSheet,
    "health_overrides": OverrideSheet,
    "risks": RiskSheet,
    "targets": TargetSheet,
    "goals": GoalSheet,
    "cs_costs": CostSheet,
}
LEDGER: Final = "ledger"
# A file that was stopped holds back those whose rows name its records: they would lose owners, or be refused.
_AFTER: Final[dict[str, frozenset[str]]] = {
    "accounts": frozenset({"users"}),
    "contacts": frozenset({"accounts"}),
    "subscriptions": frozenset({"accounts"}),
    "arr_movements": frozenset({"accounts", "subscriptions"}),
    LEDGER: frozenset({"settings", "accounts", "subscriptions", "arr_movements"}),
    "opportunities": frozenset({"accounts"}),
    "meetings": frozenset({"accounts", "contacts"}),
    "notes": frozenset({"accounts"}),
    "tasks": frozenset({"accounts"}),
    "usage": frozenset({"accounts"}),
    "tickets": frozenset({"accounts"}),
    "invoices": frozenset({"accounts"}),
    "surveys": frozenset({"accounts", "contacts"}),
    "company_events": frozenset({"accounts"}),
    "health_overrides": frozenset({"accounts"}),
    "risks": frozenset({"accounts"}),
    "targets": frozenset({"users"}),
    "goals": frozenset({"users"}),
    "cs_costs": frozenset({"users"}),
}


class _Stopped(Exception):
    """Takes back the file's transaction."""


class _TakenBack(Exception):
    """Ends a preview."""


class Imports:
    """Use cases of the import."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def run(
        self,
        principal: Principal,
        *,
        source: str,
        preview: bool = False,
        keep_going: bool = False,
        on_reject: OnReject = lambda _file, _reject: None,
    ) -> AsyncGenerator[ImportRun, None]:
        """One import. A preview does it all in one transaction, the writer's on SQLite, and takes that back."""
        if principal.role is not Role.admin:
            raise NotAllowed(f"Your role {principal.role.value} may not import.", remedy="Ask an admin to import.")
        report = ImportReport(
            run_id=self._store.ids.new("run"), source=source, workspace=principal.workspace, preview=preview
        )
        run = ImportRun(self._store, principal, report, keep_going=keep_going, on_reject=on_reject)
        if not preview:
            yield run
            return
        try:
            async with self._store.unit_of_work(principal, run.act("preview")) as work:
                run.shared = work
                yield run
                raise _TakenBack
        except _TakenBack:
            run.shared = None


class ImportRun:
    """Call `load` for each file after those it refers to, then `ledger`, then `look` for what is only counted."""

    def __init__(
        self, store: Store, principal: Principal, report: ImportReport, *, keep_going: bool, on_reject: OnReject
    ) -> None:
        self.report = report
        self.shared: UnitOfWork | None = None
        self.warnings = Warnings()
        # The one currency an account's subscriptions are in, for accounts whose file tells none.
        self.currency_told_by_subscriptions: Callable[[str], str | None] = lambda _account: None
        self._store = store
        self._principal = principal
        self._keep_going = keep_going
        self._on_reject = on_reject
        self._untold = Untold()
        self._loaded: set[str] = set()
        self._held_back: set[str] = set()
        self._once: dict[str, bool] = {}

    def act(self, what: str) -> Act:
        """What all changes of one file share."""
        principal, report, store = self._principal, self.report, self._store
        return Act(
            change_id=store.ids.new("change"),
            actor_id=principal.user,
            tool="import",
            at=store.clock.now(),
            on_behalf_of=principal.on_behalf_of,
            client=principal.client,
            reason=f"Import of {what} from {report.source}"[:500],
            run_id=report.run_id,
        )

    async def load(self, kind: str, name: str, chunks: Chunks) -> FileReport:
        """Upsert a file's rows by source id: all of them or none, or with `keep_going` those that can be stored.

        After a row that cannot, the rest is read and checked all the same, so that one import tells every reason.
        """
        report = self._entered(kind, name)
        if report.state is State.not_reached:
            return report
        self._loaded.add(kind)
        incoming = _Incoming(self, report)
        try:
            async with self._part(name) as work:
                reads = await self._reads(work)
                sheet = SHEETS[kind](work, reads, await self._known(work, reads), report, self.report.source)
                for chunk in chunks:
                    if rows := incoming.good(chunk):
                        await sheet.put(rows, incoming.refused, is_stopping=lambda: incoming.stopping)
                    if kind == "accounts":
                        self._note_untold(rows)
                if incoming.stopping:
                    raise _Stopped
                await sheet.take_gone(incoming.gone())
                await sheet.finish()
                for source_id, (looks, reason) in sheet.objections.items():
                    if self._keep_going:
                        self.warnings.add(looks, f"{source_id}: {reason}")
                    else:
                        incoming.object_to(source_id, reason)
                if incoming.stopping:
                    raise _Stopped
        except _Stopped:
            report.nothing_written(
                f"{report.skipped} of {report.rows} rows cannot be stored, so nothing of the file was written."
            )
            self._held_back.add(kind)
        except Exception as failure:
            if not is_transient(failure):
                raise
            raise Conflict(
                f"{name}: somebody else changed the same records meanwhile; nothing of the file was written.",
                remedy="Import again: what is done stays done.",
            ) from failure
        return report

    async def ledger(self) -> FileReport | None:
        """Derive the movements where no file tells them; then segments and renewal dates the file left to us.

        A transaction a page of accounts: what is derived for one account depends on no other.
        """
        if not self._loaded & {"accounts", "subscriptions", "arr_movements"}:
            return None
        report = self._entered(LEDGER, LEDGER)
        if report.state is State.not_reached:
            return report
        derives, source = "arr_movements" not in self._loaded, self.report.source
        accounts, renewals = Tally(), Tally()
        after: str | None = ""
        gap, rates = 0, None
        while after is not None:
            async with self._part(LEDGER) as work:
                reads = await self._reads(work)
                if rates is None:
                    # As this import left it: in a preview nobody else sees it yet.
                    [profile] = await work.workspaces.where()
                    gap, rates = profile.revenue.reactivation_gap_days, await exchange_rates(work)
                tallies = (report.records, accounts, renewals)
                step = LedgerStep(work, reads, self.warnings, source, self._untold, derives, *tallies, rates, gap)
                after = await step.run(after)
        if accounts.changed:
            report.others["account"] = accounts
        if renewals.changed:
            report.others["renewal"] = renewals
        return report

    async def look(self, kind: str, name: str, chunks: Chunks) -> FileReport:
        """Read rows that are not kept yet, for what they say about those that are."""
        report = self._entered(kind, name)
        report.state = State.not_read_yet
        report.why = "This version keeps no such records; import again when it does."
        incoming = _Incoming(self, report)
        look = LOOKS.get(kind)
        for chunk in chunks:
            rows = incoming.good(chunk)
            if look is not None and rows and not self._held_back & _AFTER[LEDGER]:
                # A transaction a chunk: nothing is written, and on SQLite nobody else could meanwhile.
                async with self._part(name) as work:
                    reads = await self._reads(work)
                    await look(reads, rows, self.warnings)
        report.skipped = report.rows
        return report

    def finish(self) -> ImportReport:
        self.report.warnings = self.warnings.listed()
        return self.report

    # -- parts ----------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def _part(self, name: str) -> AsyncGenerator[UnitOfWork, None]:
        """The transaction of one file; in a preview, its savepoint."""
        if self.shared is None:
            async with self._store.unit_of_work(self._principal, self.act(name)) as work:
                yield work
            return
        stopped: _Stopped | None = None
        async with self.shared.savepoint() as point:
            try:
                yield self.shared
                await self.shared.flush()
            except _Stopped as stop:
                await point.undo()
                stopped = stop
        if stopped is not None:
            raise stopped

    def _entered(self, kind: str, name: str) -> FileReport:
        report = FileReport(file=name, kind=kind)
        self.report.files.append(report)
        if blocking := _AFTER.get(kind, frozenset()) & self._held_back:
            report.state = State.not_reached
            report.why = f"It refers to {' and '.join(sorted(blocking))}, which were not written."
            self._held_back.add(kind)
        return report

    async def _reads(self, work: UnitOfWork) -> ImportReads:
        return ImportReads(await work.wire(), self.report.workspace, self.report.source, self._once)

    async def _known(self, work: UnitOfWork, reads: ImportReads) -> Known:
        return Known(
            calendar=work.calendar,
            now=work.now,
            currency=work.workspace.currency,
            warnings=self.warnings,
            members=await reads.members(),
            currency_told_by_subscriptions=self.currency_told_by_subscriptions,
        )

    def _note_untold(self, rows: Sequence[ImportedRow]) -> None:
        self._untold.segment.update(row.source_id for row in rows if row.told.get("segment") is None)
        self._untold.renewal_on.update(row.source_id for row in rows if row.told.get("renewal_on") is None)

    def reject(self, report: FileReport, reject: Reject) -> None:
        report.skipped += 1
        if len(report.rejects) < REJECTS_SHOWN:
            report.rejects.append(RejectedLine(line=reject.line, reason=reject.reason))
        self._on_reject(report.file, reject)

    def leave_out(self, report: FileReport, row: LeftOut) -> None:
        report.skipped += 1
        report.left_out[row.why] = report.left_out.get(row.why, 0) + 1
        self._on_reject(report.file, Reject(row.line, row.why, row.row))

    @property
    def keeps_going(self) -> bool:
        return self._keep_going


class _Incoming:
    """The rows of one file as they come in: counted, each source id taken once, rejects told."""

    def __init__(self, run: ImportRun, report: FileReport) -> None:
        self._run = run
        self._report = report
        self._met: dict[str, tuple[int, int]] = {}  # source id → line, and what the row said
        self._gone: dict[str, LeftOut] = {}
        self.stopping = False

    def gone(self) -> list[LeftOut]:
        """Rows of records that the source has no more, but for those that another row still has."""
        return [row for key, row in self._gone.items() if key not in self._met]

    def good(self, chunk: Sequence[ImportedRow | Reject | LeftOut]) -> list[ImportedRow]:
        rows: list[ImportedRow] = []
        for row in chunk:
            self._report.rows += not (isinstance(row, Reject) and row.final)
            if isinstance(row, Reject):
                self._reject(row)
            elif isinstance(row, LeftOut):
                if row.gone is not None:
                    self._gone[row.gone] = row
                self._run.leave_out(self._report, row)
            elif self._is_new(row):
                rows.append(row)
        return rows

    def _is_new(self, row: ImportedRow) -> bool:
        if self._report.kind not in SHEETS:
            return True
        said = hash(repr(sorted(row.told.items())))
        line, earlier = self._met.setdefault(row.source_id, (row.line, said))
        if line == row.line:
            return True
        if said == earlier:
            self._report.skipped += 1  # the same row twice contradicts nothing
        else:
            self.refused(row, f"{row.source_id!r} is here already, at line {line}, and says otherwise")
        return False

    def refused(self, row: ImportedRow, reason: str) -> None:
        self._reject(Reject(row.line, reason, row.told))

    def object_to(self, source_id: str, reason: str) -> None:
        """Refuse a row that was taken: only the whole file showed what is wrong with it."""
        line, _ = self._met.get(source_id, (0, 0))
        self._reject(Reject(line, reason, {"source_id": source_id}))

    def _reject(self, reject: Reject) -> None:
        if reject.final or not self._run.keeps_going:
            self.stopping = True
        self._run.reject(self._report, reject)


__all__ = ["LEDGER", "SHEETS", "ImportRun", "Imports", "Looks"]
