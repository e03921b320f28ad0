"""A folder, a workspace, and the import between them; and an export that says a little of everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import text

from cs_mcp.connectors.loading import load_source
from cs_mcp.db.history.changes import Act
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal
from cs_mcp.services.imports.imports import Imports
from cs_mcp.services.imports.report import FileReport, ImportReport, Looks
from cs_mcp.services.wiring import Services

TODAY = date(2026, 3, 16)

USERS = """\
    user_id,name,email,role
    U1,Ana Ruiz,Ana@Acme.example,csm
    U2,Kim Sato,kim@acme.example,account_manager
"""
ACCOUNTS = """\
    account_id,name,domain,owner_email,account_manager_email,currency,created_on,parent_account_id,tags,custom.Region
    A1,Globex,Globex.example,ana@acme.example,kim@acme.example,USD,2024-01-01,A2,vip;beta,EMEA
    A2,Initech,initech.example,ANA@acme.example,,USD,2024-01-01,,,
"""
CONTACTS = """\
    contact_id,account_id,name,email,roles,status,departed_on
    C1,A1,Hank Scorpio,hank@globex.example,executive_sponsor,active,
    C2,A1,Homer S.,homer@globex.example,champion;power_user,,
"""
SUBSCRIPTIONS = """\
    subscription_id,account_id,product,starts_on,ends_on,arr,currency,seats,trial
    S1,A1,Pro,2025-01-01,2026-12-31,12000.50,USD,20,false
    S2,A1,Add-on,2025-07-01,2026-06-30,3000,,5,
    S3,A2,Pro,2025-01-01,2025-12-31,250000,USD,,
    S4,A2,Pilot,2026-01-01,2026-05-31,900,USD,,true
"""
MEETINGS = """\
    meeting_id,account_id,kind,held_at,attendees,summary
    M1,A1,qbr,2026-03-02T15:00:00+01:00,hank@globex.example;Homer S.;ana@acme.example;A Guest,"All fine
    so far"
    M2,A1,check_in,2026-04-01T09:00:00Z,,
"""
NOTES = """\
    note_id,account_id,written_at,author_email,text,sentiment,risk
    N1,A1,2026-02-01T23:30:00Z,ana@acme.example,They like it,positive,
    N2,A1,2026-02-02T10:00:00Z,gone@acme.example,Budget is tight,negative,commercial
"""
TASKS = """\
    task_id,account_id,title,due_on,status,assignee_email,priority
    T1,A1,Send deck,2026-03-20,,ana@acme.example,high
    T2,A2,Call back,,done,,
"""
EVERYTHING = {
    "users": USERS,
    "accounts": ACCOUNTS,
    "contacts": CONTACTS,
    "subscriptions": SUBSCRIPTIONS,
    "meetings": MEETINGS,
    "notes": NOTES,
    "tasks": TASKS,
}
TABLES = (
    "member", "account", "account_team", "contact", "sponsorship", "subscription", "arr_movement", "meeting",
    "health_note", "task", "change", "change_payload",
)  # fmt: skip


@dataclass
class Desk:
    """A folder, a workspace, and the import between them."""

    store: Store
    services: Services
    principal: Principal
    folder: Path
    progress: list[tuple[str, int, int | None]] = field(default_factory=list)

    def write(self, **files: str) -> None:
        for kind, content in files.items():
            lines = "\n".join(line.removeprefix("    ") for line in content.splitlines())
            (self.folder / f"{kind}.csv").write_text(lines + "\n", encoding="utf-8")

    def drop(self, kind: str) -> None:
        (self.folder / f"{kind}.csv").unlink()

    async def run(self, **options: Any) -> ImportReport:
        def note(file: str, done: int, total: int | None) -> None:
            self.progress.append((file, done, total))

        options.setdefault("progress", note)
        return await load_source(Imports(self.store), self.principal, self.folder, **options)

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of the workspace, removed ones too, in id order."""
        key = "seq" if table.startswith("change") else "id"
        async with self.store.unit_of_work(self.principal, self.act()) as work:
            found = await work.session.execute(
                text(f'select * from "{table}" where workspace = :w order by {key}'), {"w": self.principal.workspace}
            )
            return [dict(row) for row in found.mappings()]

    async def by_source(self, table: str) -> dict[str, dict[str, Any]]:
        return {row["source_id"]: row for row in await self.rows(table) if row["source_id"]}

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        return {table: await self.rows(table) for table in TABLES}

    async def arr(self) -> dict[str, int]:
        return {key: row["arr_minor"] for key, row in (await self.by_source("account")).items()}

    def act(self) -> Act:
        return Act(self.store.ids.new("change"), self.principal.user, "test", self.store.clock.now())


async def open_desk(services: Services, tmp_path: Path) -> Desk:
    workspace = await services.identity.found_workspace(name="Acme Software")
    folder = tmp_path / "export"
    folder.mkdir()
    return Desk(services.store, services, await services.identity.operator(workspace), folder)


def of(report: ImportReport, kind: str) -> FileReport:
    return next(file for file in report.files if file.kind == kind)


def warned(report: ImportReport) -> dict[Looks, int]:
    return {warning.kind: warning.count for warning in report.warnings}


def counts(report: FileReport) -> tuple[int, int, int, int]:
    tally = report.records
    return tally.created, tally.updated, tally.restored, tally.unchanged
