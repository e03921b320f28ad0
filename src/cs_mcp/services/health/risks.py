"""The risk case of an account: opened once, worked on, closed with an outcome. Whatever finds a risk adds evidence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.contract import AccountRef, Command, Input, Ref, ShortText, Text, UserRef, Version, shown
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.health.health import HealthNote, RiskCategory
from cs_mcp.domain.health.risks import Evidence, RiskCase, RiskState, Severity
from cs_mcp.domain.records import PREFIXES
from cs_mcp.services.health.risk_views import risk_view
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome

_ENTITIES: Final = {prefix: entity for entity, prefix in PREFIXES.items()}


class GivenEvidence(Input):
    what: Annotated[ShortText, Field(description="What was seen, in one line")]
    record: Annotated[Ref, Field(description="Id of the ticket, note, meeting … it is seen in")] | None = None
    on: Annotated[date, Field(description="Its day; today when absent")] | None = None


class SaveRisk(Command):
    tool: ClassVar[str] = "save_risk"

    account: AccountRef
    expected_version: Annotated[Version, Field(description="Of the open case; leave out to open one")] | None = None
    category: Annotated[RiskCategory, Field(description="Required to open a case")] | None = None
    severity: Severity | None = None
    owner: Annotated[UserRef, Field(description="One of us; the account's owner when absent")] | None = None
    due_on: Annotated[date, Field(description="When the mitigation should have worked")] | None = None
    summary: Annotated[ShortText, Field(description="What threatens the account")] | None = None
    mitigation: Annotated[Text, Field(description="The plan, and how to tell that it worked")] | None = None
    evidence: Annotated[list[GivenEvidence], Field(max_length=20, description="Added to what is there")] | None = None
    outcome: Annotated[ShortText, Field(description="What came of it; closes the case")] | None = None
    clear: list[Literal["severity", "owner", "due_on", "summary", "mitigation"]] | None = None


class Risks:
    async def save(self, work: UnitOfWork, command: SaveRisk) -> Outcome:
        account = await work.accounts.get((await Names.writing(work).account(command.account)).id)
        case = await work.risks.open_of(account.id)
        if case is None:
            case = await _opened(work, account, command)
        elif command.expected_version is None:
            raise _is_open(account, case)
        else:
            await check_version(work, case, command.expected_version, "risk case")
        fields = await _fields(work, command)
        if command.outcome is not None:
            fields |= {"state": RiskState.closed, "outcome": command.outcome, "closed_on": work.today}
        after = case.changed(**fields).with_evidence(await checked_evidence(work, account, command.evidence or ()))
        work.risks.save(after)
        await work.flush()
        done = work.risks.now(case.id)
        people = await work.members.names([done.owner_id])
        said: list[str] = []
        if done.state is RiskState.closed:
            said.append(f"The risk case of {shown(account.name)} is closed; a new risk opens a new case.")
        return Outcome(record=risk_view(done, account.name, work.today, people), triggered=said)


async def attach_evidence(
    work: UnitOfWork,
    account: Account,
    category: RiskCategory,
    evidence: Sequence[Evidence],
    *,
    summary: str | None = None,
    severity: Severity | None = None,
) -> RiskCase:
    """Add to the account's open case what was found, or open one for its owner. What is known adds nothing."""
    known = await add_to_open_case(work, account.id, evidence)
    if known is not None:
        return known
    case = _new_case(work, account, category).changed(summary=summary, severity=severity)
    return work.risks.add(case.with_evidence(evidence))


async def add_to_open_case(work: UnitOfWork, account: str, evidence: Sequence[Evidence]) -> RiskCase | None:
    """The account's open case with the evidence in it; None where it has none."""
    case = await work.risks.open_of(account)
    return None if case is None else work.risks.save(case.with_evidence(evidence))


async def note_as_evidence(work: UnitOfWork, note: HealthNote) -> list[str]:
    """A note that names a risk goes into the account's open case; what that triggered, in words."""
    if note.risk is None:
        return []
    seen = Evidence(what=f"Health note names the risk: {note.risk.value}", record=note.id, on=note.written_on)
    case = await add_to_open_case(work, note.account_id, [seen])
    return [] if case is None else [f"The note is evidence in the open risk case {case.id} now."]


def _new_case(work: UnitOfWork, account: Account, category: RiskCategory) -> RiskCase:
    return RiskCase(
        id=work.ids.new("risk"),
        account_id=account.id,
        category=category,
        owner_id=account.owner_id or work.principal.on_behalf_of or work.principal.user,
        opened_on=work.today,
    )


async def _opened(work: UnitOfWork, account: Account, command: SaveRisk) -> RiskCase:
    where = f"{account.name} ({account.id}) has no open risk case"
    if command.outcome is not None:
        raise Invalid(f"{where} to close. Nothing was done.", remedy="Leave `outcome` out to open one.")
    if command.expected_version is not None:
        raise Conflict(
            f"{where}: the one you read is closed or was taken back. Nothing was done.",
            remedy="Leave expected_version out to open a new one.",
        )
    if command.category is None:
        listed = ", ".join(category.value for category in RiskCategory)
        raise Invalid(f"{where}, and a new one needs a category.", remedy=f"Give `category`: {listed}.")
    return work.risks.add(_new_case(work, account, command.category))


def _is_open(account: Account, case: RiskCase) -> Conflict:
    return Conflict(
        f"{account.name} ({account.id}) has an open risk case: {case.id}, {case.category.value}, opened "
        f"{case.opened_on}, version {case.version}. An account has one. Nothing was done.",
        remedy=f"To change or close it, call again with expected_version {case.version}.",
    )


async def _fields(work: UnitOfWork, command: SaveRisk) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: value
        for name in ("category", "severity", "due_on", "summary", "mitigation")
        if (value := getattr(command, name)) is not None
    }
    if command.due_on is not None and command.due_on < work.today:
        raise Invalid(f"due_on {command.due_on} is past; today is {work.today}.", remedy="Give today or a later day.")
    if command.owner is not None:
        fields["owner_id"] = (await Names.writing(work).member(command.owner)).id
    for name in command.clear or ():
        column = "owner_id" if name == "owner" else name
        if column in fields:
            raise Invalid(f"{name} is both set and cleared.", remedy="Give it in one of the two only.")
        fields[column] = None
    return fields


async def checked_evidence(work: UnitOfWork, account: Account, given: Sequence[GivenEvidence]) -> list[Evidence]:
    """Evidence as it is kept: its records are the account's own, its days have been."""
    wanted = {one.record: _ENTITIES.get(one.record.partition("_")[0], "") for one in given if one.record is not None}
    there = {(entity, record) for record, entity in wanted.items() if entity in REMEMBERED}
    rows = await work.rows_of(there)
    checked: list[Evidence] = []
    for one in given:
        on = one.on or work.today
        if on > work.today:
            raise Invalid(f"Evidence of {on} is in the future; today is {work.today}.", remedy="Give a day that was.")
        if one.record is not None:
            row = rows.get((wanted[one.record], one.record))
            if row is None or row.removed_at is not None or _account_of(row) != account.id:
                raise Invalid(
                    f"{one.record} is no record of {account.name} ({account.id}). Nothing was done.",
                    remedy="Name a record of this account by its id (get_account and get_timeline show them), "
                    "or leave `record` out.",
                )
        checked.append(Evidence(what=one.what, record=one.record, on=on))
    return checked


def _account_of(row: Any) -> str | None:
    return row.id if row.__tablename__ == "account" else getattr(row, "account_id", None)
