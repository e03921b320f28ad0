"""Accounts: find them, read one whole, create and update."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.accounts.pages import sort_column
from cs_mcp.db.accounts.reads import AccountReads
from cs_mcp.db.health.health_reads import HealthReads
from cs_mcp.db.health.score_trend import SLACK_DAYS
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import TOUCH_OF_SEGMENT, Account, OnboardingStatus, Segment, Tier
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.contract import (
    AccountRef,
    Amount,
    Budget,
    Command,
    Cursor,
    CursorMark,
    Limit,
    Name,
    Place,
    Question,
    Version,
    fitted,
    question_hash,
    shown,
    total_of,
)
from cs_mcp.domain.errors import Conflict, Invalid, NotFound
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.money import Money
from cs_mcp.domain.records import is_id
from cs_mcp.services.accounts.answer import account_view, sections_of
from cs_mcp.services.accounts.as_of import AsOf, past_day
from cs_mcp.services.accounts.book_as_of import FIELDS as PAST_FIELDS
from cs_mcp.services.accounts.book_as_of import BookAsOf
from cs_mcp.services.accounts.edits import AccountEdits, SharedFields, cleared
from cs_mcp.services.accounts.filters import AccountFilters, CustomValue, said_of_no_band, without_band
from cs_mcp.services.accounts.views import AccountLine, AccountPage, AccountView, PersonRef, Section
from cs_mcp.services.health.brief import HealthBrief, HealthBriefs
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome

Field_ = Literal[
    "domain", "segment", "tier", "stage", "owner", "arr", "renewal_on", "health", "last_touch_on", "next_meeting_on",
    "executive_sponsor", "tags", "version",
]  # fmt: skip
DEFAULT_FIELDS: Final[tuple[Field_, ...]] = (
    "segment", "stage", "owner", "arr", "renewal_on", "health", "last_touch_on", "executive_sponsor",
)  # fmt: skip


class FindAccounts(AccountFilters, Question):
    sort: Literal[
        "-arr", "arr", "name", "renewal_on", "health_score", "-health_score", "health_trend", "last_touch_on",
        "-last_touch_on",
    ] = "-arr"  # fmt: skip
    fields: Annotated[list[Field_], Field(description="Columns to return")] | None = None
    as_of: Annotated[date, Field(description="A past day: fields, ARR and health then")] | None = None
    sum_arr: Annotated[bool, Field(description="Also sum ARR over all matches")] = False
    exact_total: bool = False
    limit: Limit = 25
    cursor: Cursor | None = None
    budget_tokens: Budget = 4000


class GetAccount(Question):
    account: AccountRef
    sections: (
        Annotated[list[Section], Field(description="All when absent, opportunities if full; [] for the head")] | None
    ) = None
    as_of: Annotated[date, Field(description="A past day, YYYY-MM-DD")] | None = None
    detail: Literal["brief", "full"] = "brief"
    budget_tokens: Budget = 4000


class AccountFields(SharedFields):
    """Fields of an account a person sets; ARR and dates of contact follow from other records."""

    domain: (
        Annotated[str, Field(max_length=253, pattern=r"^[^\s/@]+\.[^\s/@]+$", description="e.g. acme.com")] | None
    ) = None
    employees: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    parent: AccountRef | None = None


class CreateAccount(AccountFields, Command):
    tool: ClassVar[str] = "create_account"

    name: Name
    tags: Annotated[list[Name], Field(max_length=50)] | None = None
    custom: Annotated[dict[Name, CustomValue], Field(max_length=100)] | None = None
    allow_duplicate: Annotated[bool, Field(description="Create beside a look-alike; needs `reason`")] = False


Clearable = Literal[
    "domain", "industry", "employees", "owner", "renewal_on", "risk_reason", "parent",
]  # fmt: skip


class UpdateAccount(AccountFields, AccountEdits, Command):
    tool: ClassVar[str] = "update_account"

    account: AccountRef
    expected_version: Version
    name: Name | None = None
    clear: Annotated[list[Clearable], Field(description="Fields to empty")] | None = None


_SEVERAL_CURRENCIES: Final = (
    "Sorted by the amounts as they are, each in its own currency: compare those of one currency only."
)


class Accounts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = AccountReads(store)
        self._as_of = AsOf(store)
        self._book_as_of = BookAsOf(store)
        self._scores = HealthReads(store)
        self._health = HealthBriefs(store)

    # -- reads ----------------------------------------------------------------------------------------------
    async def find(self, principal: Principal, question: FindAccounts) -> AccountPage:
        mark = question_hash(question)
        after = None
        if question.cursor is not None:
            cursor = CursorMark.read(question.cursor, mark, _SORTED_BY[sort_column(question.sort)])
            after = (cursor.value, cursor.id)
        currency = (await self._store.workspace(principal.workspace)).currency
        filters = await question.parameters(Names.reading(self._store, principal), currency)
        calendar = (await self._store.workspace(principal.workspace)).calendar
        if (day := past_day(question.as_of, calendar.today(self._store.clock.now()))) is not None:
            return await self._find_past(principal, question, day, calendar, filters, after)
        rows, total, sums = await self._reads.page(
            principal,
            filters,
            sort=question.sort,
            limit=question.limit,
            after=after,
            exact_total=question.exact_total,
            sums=question.sum_arr,
        )
        page = self._page(question, rows, total, [Amount.of(row["arr_minor"], row["currency"]) for row in sums])
        if not rows and (otherwise := without_band(filters)):
            _, unknown, _ = await self._reads.page(principal, otherwise, sort=question.sort, limit=1)
            page.notes.extend(said_of_no_band(unknown, "accounts"))
        return page

    async def _find_past(
        self,
        principal: Principal,
        ask: FindAccounts,
        day: date,
        calendar: Calendar,
        filters: dict[str, Any],
        after: tuple[Any, str] | None,
    ) -> AccountPage:
        rows, total, sums, remarks = await self._book_as_of.page(
            principal, filters, day=day, calendar=calendar, sort=ask.sort, limit=ask.limit, after=after
        )
        totals = [Amount.of(minor, currency) for currency, minor in sums.items()] if ask.sum_arr else []
        page = self._page(ask, rows, total, totals, known=PAST_FIELDS)
        return page.model_copy(update={"as_of": day, "notes": page.notes + remarks})

    def _page(
        self,
        ask: FindAccounts,
        rows: list[Row],
        total: int | None,
        sums: list[Amount],
        *,
        known: frozenset[str] | None = None,
    ) -> AccountPage:
        fields = frozenset(ask.fields if ask.fields is not None else DEFAULT_FIELDS)
        fields = fields if known is None else fields & known
        shown_rows = rows[: ask.limit]
        items = fitted([_line(row, fields) for row in shown_rows], budget_tokens=ask.budget_tokens)
        next_cursor = None
        if len(rows) > len(items):
            last = shown_rows[len(items) - 1]
            next_cursor = CursorMark(of=question_hash(ask), value=last[sort_column(ask.sort)], id=last["id"]).token()
        several = len({row["currency"] for row in shown_rows}) > 1 and sort_column(ask.sort) == "arr_minor"
        return AccountPage(
            items=items,
            total=total_of(total),
            next_cursor=next_cursor,
            arr_total=sums,
            notes=[_SEVERAL_CURRENCIES] if several else [],
        )

    async def get(self, principal: Principal, question: GetAccount) -> AccountView:
        workspace = await self._store.workspace(principal.workspace)
        today = workspace.calendar.today(self._store.clock.now())
        day = past_day(question.as_of, today)
        growth = "opportunities" in sections_of(question)
        if day is None and is_id(question.account, "account"):
            found = await self._reads.one(principal, question.account, today, opportunities=growth)
            if found["account"]:  # an id names one record: nothing to resolve first
                health = await self._health_of(principal, found, today)
                return account_view(found, question, "id", today=today, health=health)
        match = await Names.reading(self._store, principal).account(question.account)
        if day is None:
            found = await self._reads.one(principal, match.id, today, opportunities=growth)
            went = f"{shown(question.account)} was merged into this account." if match.by == "merged" else None
            health = await self._health_of(principal, found, today)
            return account_view(found, question, match.by, today=today, remark=went, health=health)
        past = await self._as_of.account(principal, match.id, day, workspace.calendar)
        assert past is not None, "resolved a moment ago"
        found = {
            "account": [past.account],
            "team": past.team,
            "people": sorted(past.rows["contact"], key=lambda row: (row["name"], row["id"])),
            "named": past.contacts,
            "contract": sorted(past.rows["subscription"], key=lambda row: row["starts_on"], reverse=True),
            "renewals": [r for r in past.rows["renewal"] if r["stage"] not in ("closed_won", "closed_lost")],
            "opportunities": sorted(
                (row for row in past.rows["opportunity"] if row["stage"] not in ("won", "lost")),
                key=lambda row: (row["expected_on"] or date.max, row["id"]),
            ),
            "risk": [row for row in past.rows["risk"] if row["state"] == "open"],
            "tasks": [row for row in past.rows["task"] if row["status"] == "open"],
            "meetings": sorted(past.rows["meeting"], key=lambda row: (row["held_on"], row["id"]), reverse=True),
            "notes": sorted(past.rows["health_note"], key=lambda row: (row["written_on"], row["id"]), reverse=True),
            **await self._scores.by(principal, match.id, day, SLACK_DAYS),
        }
        health = await self._health_of(principal, found, day)
        return account_view(found, question, match.by, today=day, remark=past.remark, health=health)

    async def _health_of(self, principal: Principal, found: dict[str, list[Row]], day: date) -> HealthBrief | None:
        return await self._health.of(principal, found, day)

    # -- writes ---------------------------------------------------------------------------------------------
    async def create(self, work: UnitOfWork, command: CreateAccount) -> Outcome:
        await self._refuse_duplicate(work, command)
        segment = command.segment or Segment.smb
        owner = (await Names.writing(work).member(command.owner)).id if command.owner else None
        parent = (await Names.writing(work).account(command.parent)).id if command.parent else None
        account = Account(
            id=work.ids.new("account"),
            name=command.name,
            domain=command.domain.casefold() if command.domain else None,
            industry=command.industry,
            employees=command.employees,
            segment=segment,
            tier=command.tier or Tier.standard,
            touch=command.touch or TOUCH_OF_SEGMENT[segment],
            onboarding_status=command.onboarding_status or OnboardingStatus.not_started,
            owner_id=owner,
            currency=Money.zero(command.currency or work.workspace.currency).currency,
            created_on=work.today,
            renewal_on=command.renewal_on,
            risk_reason=command.risk_reason,
            tags=sorted(set(command.tags or ())),
            custom=dict(command.custom or {}),
            parent_id=parent,
        )
        work.accounts.add(account)
        await work.flush()
        return Outcome(record=_written(work.accounts.now(account.id)))

    async def _refuse_duplicate(self, work: UnitOfWork, command: CreateAccount) -> None:
        if command.allow_duplicate:
            if command.reason is None:
                raise Invalid("allow_duplicate needs a reason.", remedy="Say in `reason` why a second record is right.")
            return
        twins = await work.accounts.look_alikes(command.name, command.domain.casefold() if command.domain else None)
        if twins:
            listed = "; ".join(f"{twin.name} ({twin.id}, {twin.domain or 'no domain'})" for twin in twins)
            raise Conflict(
                f"{command.name!r} looks like an account that exists: {listed}. Nothing was done.",
                remedy="Use that account, or call again with allow_duplicate: true and a reason.",
            )

    async def update(self, work: UnitOfWork, command: UpdateAccount) -> Outcome:
        names = Names.writing(work)
        account = await _named(work, names, command.account)
        await check_version(work, account, command.expected_version, "account")
        fields = command.edits(account)
        fields |= {name: value for name in ("name", "employees") if (value := getattr(command, name)) is not None}
        if command.domain is not None:
            fields["domain"] = command.domain.casefold()
        if command.currency is not None and command.currency != account.currency:
            fields["currency"] = await self._new_currency(work, account, command.currency)
        if command.owner is not None:
            fields["owner_id"] = (await names.member(command.owner)).id
        if command.parent is not None:
            fields["parent_id"] = await self._new_parent(work, account, command.parent)
        fields = cleared(fields, command.clear or ())
        work.accounts.save(account.changed(**fields))
        triggered = await _case_follows(work, account, fields["owner_id"]) if fields.get("owner_id") else []
        await work.flush()
        return Outcome(record=_written(work.accounts.now(account.id)), triggered=triggered)

    async def _new_currency(self, work: UnitOfWork, account: Account, currency: str) -> str:
        Money.zero(currency)
        if await work.movements.any_of_account(account.id):
            raise Conflict(
                f"{account.name} ({account.id}) has ARR movements in {account.currency}, so its currency stays.",
                remedy="Reverse the movements first, or open a second account for the other currency.",
            )
        return currency

    async def _new_parent(self, work: UnitOfWork, account: Account, ref: str) -> str:
        parent = (await Names.writing(work).account(ref)).id
        above: str | None = parent
        for _ in range(50):
            if above is None:
                return parent
            if above == account.id:
                break
            above = (await work.accounts.get(above)).parent_id
        raise Conflict(
            f"{parent} is {account.id} itself or below it.", remedy="Choose a parent outside its own family."
        )


async def _case_follows(work: UnitOfWork, account: Account, owner: str) -> list[str]:
    """The open risk case goes to the account's new owner where the one before held it."""
    case = await work.risks.open_of(account.id) if owner != account.owner_id else None
    if case is None or case.owner_id != account.owner_id:
        return []
    work.risks.save(case.changed(owner_id=owner))
    return [f"The open risk case {case.id} goes to the new owner too."]


async def _named(work: UnitOfWork, names: Names, ref: str) -> Account:
    if is_id(ref, "account"):
        with suppress(NotFound):  # `names` says what is near
            return await work.accounts.get(ref)
    return await work.accounts.get((await names.account(ref)).id)


_SORTED_BY: Final[dict[str, Any]] = {
    "arr_minor": Place,
    "name_key": str,
    "renewal_on": date | None,
    "last_touch_on": date | None,
    "health_score": float | None,
    "health_trend": float | None,
}


def _line(row: Row, fields: frozenset[str]) -> AccountLine:
    def ref(record: str | None, name: str | None) -> PersonRef | None:
        return PersonRef(id=record, name=name or "?") if record is not None else None

    values: dict[str, Any] = {
        "domain": row["domain"],
        "segment": row["segment"],
        "tier": row["tier"],
        "stage": row["stage"],
        "owner": ref(row["owner_id"], row["owner_name"]),
        "arr": Amount.of(row["arr_minor"], row["currency"]),
        "renewal_on": row["renewal_on"],
        "last_touch_on": row["last_touch_on"],
        "next_meeting_on": row["next_meeting_on"],
        "executive_sponsor": ref(row["executive_sponsor_id"], row["sponsor_name"]),
        "tags": row["tags"] or None,
        "version": row["version"],
    }
    chosen = {name: value for name, value in values.items() if name in fields}
    if "health" in fields:
        chosen |= {name: row[name] for name in ("health_band", "health_score", "health_trend")}
    return AccountLine(id=row["id"], name=row["name"], **chosen)


def _written(account: Account) -> AccountLine:
    return AccountLine(
        id=account.id,
        name=account.name,
        domain=account.domain,
        segment=account.segment.value,
        tier=account.tier.value,
        stage=account.stage.value,
        arr=Amount.of(account.arr_minor, account.currency),
        renewal_on=account.renewal_on,
        tags=account.tags or None,
        version=account.version,
    )
