"""Renewals: the pipeline, one whole, and what is known of it; closing one is in `renewals.closing`."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.accounts.pages import COUNTED
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.reads import GroupBy, RenewalReads
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Band, Segment
from cs_mcp.domain.calendar import Calendar, FiscalQuarter, add_months
from cs_mcp.domain.contract import (
    AccountRef,
    Amount,
    Budget,
    Command,
    Cursor,
    CursorMark,
    Detail,
    Input,
    LeftOut,
    Limit,
    Question,
    Ref,
    ShortText,
    UserRef,
    Version,
    fitted,
    question_hash,
    shown,
)
from cs_mcp.domain.errors import Ambiguous, Invalid, NotFound
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.money import Money
from cs_mcp.domain.records import is_id
from cs_mcp.domain.renewals.checkpoints import review_counts_from
from cs_mcp.domain.renewals.renewals import (
    Concession,
    ConcessionKind,
    ForecastCategory,
    Offer,
    OfferTier,
    Renewal,
    RenewalStage,
)
from cs_mcp.domain.renewals.stages import refuse_closed
from cs_mcp.services.accounts.as_of import past_day
from cs_mcp.services.accounts.filters import said_of_no_band, without_band
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.renewals.answer import card, deadline_of, done, line, sums_of, totals_of
from cs_mcp.services.renewals.as_of import RenewalsAsOf
from cs_mcp.services.renewals.cycles import Opened, open_due
from cs_mcp.services.renewals.views import DEFAULT_FIELDS, RenewalPage, RowField
from cs_mcp.services.writes import Outcome

RenewalRef = Annotated[Ref, Field(description="Id, or an account with one open renewal")]
HEARD_DAYS: Final = 400
_FISCAL: Final = re.compile(r"Q([1-4]) ?FY ?(\d{4})", re.IGNORECASE)


class ListRenewals(Question):
    renewal: RenewalRef | None = None
    quarter: Annotated[str, Field(max_length=20, description='current, next, or fiscal: "Q3 FY2026"')] | None = None
    period_start: Annotated[date, Field(description="First close day")] | None = None
    period_end: Annotated[date, Field(description="Last close day")] | None = None
    stage: Annotated[list[RenewalStage], Field(description="Open ones when absent")] | None = None
    forecast_category: list[ForecastCategory] | None = None
    band: Annotated[list[Band], Field(description="Health band of the account")] | None = None
    segment: list[Segment] | None = None
    owner: UserRef | None = None
    account: AccountRef | None = None
    group_by: Annotated[GroupBy, Field(description="Also sum by")] | None = None
    fields: Annotated[list[RowField], Field(description="Columns to return")] | None = None
    as_of: Annotated[date, Field(description="A past day, YYYY-MM-DD")] | None = None
    exact_total: Annotated[bool, Field(description="Sum up more than 1000 too")] = False
    detail: Detail = "brief"
    limit: Limit = 25
    cursor: Cursor | None = None
    budget_tokens: Budget = 4000


class NewOffer(Input):
    tier: OfferTier
    amount: Amount
    includes: ShortText | None = None


class NewConcession(Input):
    kind: ConcessionKind
    value: Annotated[ShortText, Field(description='e.g. "5 % in year 1"')]
    given_for: Annotated[ShortText, Field(description='What we got, e.g. "two-year term"')]


class UpdateRenewal(Command):
    tool: ClassVar[str] = "update_renewal"

    renewal: RenewalRef
    expected_version: Version
    amount: Annotated[Amount, Field(description="ARR it should renew at")] | None = None
    forecast_category: Annotated[ForecastCategory, Field(description="Needs `reason`")] | None = None
    closes_on: Annotated[date, Field(description="Expected signature")] | None = None
    owner: UserRef | None = None
    stakeholders_confirmed_on: date | None = None
    decision_criteria: Annotated[list[ShortText], Field(max_length=20)] | None = None
    procurement_steps: Annotated[list[ShortText], Field(max_length=20)] | None = None
    options: Annotated[list[NewOffer], Field(max_length=3)] | None = None
    concessions: Annotated[list[NewConcession], Field(max_length=20)] | None = None
    clear: list[Literal["forecast_category", "owner"]] | None = None


class Renewals:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = RenewalReads(store)
        self._as_of = RenewalsAsOf(store)

    # -- reads ----------------------------------------------------------------------------------------------
    async def list(self, principal: Principal, question: ListRenewals) -> RenewalPage:
        calendar = (await self._store.workspace(principal.workspace)).calendar
        today = calendar.today(self._store.clock.now())
        past, notes = past_day(question.as_of, today), list[str]()
        day = past or today
        filters = await self._filters(principal, question, calendar, day)
        mark, after = question_hash(question), None
        if question.cursor is not None:
            cursor = CursorMark.read(question.cursor, mark, date)
            after = (cursor.value, cursor.id)
        asked: dict[str, Any] = {"limit": question.limit, "after": after, "group": question.group_by}
        if past is not None:
            rows, sums, notes = await self._as_of.page(principal, filters, day=past, calendar=calendar, **asked)
        else:
            whole = question.renewal is not None
            rows, sums = await self._reads.page(
                principal, filters, today=today, exact=question.exact_total, whole=whole, **asked
            )
            if not rows and (otherwise := without_band(filters)):
                _, unknown = await self._reads.page(principal, otherwise, today=today, limit=1)
                count = None if unknown is None else sum(row["renewals"] for row in unknown)
                notes = said_of_no_band(count, "renewals")
        if question.renewal is not None:
            page = await self._one(principal, question, rows, day, calendar if past else None)
            return page.model_copy(update={"notes": notes})
        page = RenewalPage(items=[], total=f"{COUNTED}+", as_of=day, notes=notes)
        if sums is None:
            page.left_out.append(
                LeftOut(what=f"sums of more than {COUNTED} renewals", call="list_renewals with exact_total true")
            )
        else:
            totals = totals_of(sums)
            page = RenewalPage(
                items=[],
                total=sum(total["renewals"] for total in totals),
                as_of=day,
                notes=notes,
                currency=totals[0]["currency"] if len(totals) == 1 else None,
                sums=sums_of(totals, grouped=False),
                groups=sums_of(sums, grouped=True) if question.group_by else [],
            )
        return _filled(page, question, rows, mark, day)

    async def _one(
        self, principal: Principal, ask: ListRenewals, rows: list[Row], today: date, past: Calendar | None
    ) -> RenewalPage:
        """With `past`, as of the day that stands for `today`."""
        ref = ask.renewal or ""
        if not rows and past is not None:
            raise NotFound(
                f"{shown(ref)!r} had no open renewal on record on {today}, or none that is yours to see.",
                remedy="Leave `as_of` out for today's, or ask list_changes when it came on record.",
            )
        if not rows:
            raise _unknown(ref)
        if len(rows) > 1:
            raise _ambiguous(ref, [(row["id"], row["closes_on"]) for row in rows])
        [row] = rows
        fields = frozenset(ask.fields or (*DEFAULT_FIELDS, "forecast_category", "deadline_on", "version"))
        page = RenewalPage(items=[line(row, fields, today)], total=1, as_of=today)
        if ask.detail == "brief":
            call = f"list_renewals with renewal {row['id']}, detail full" + (f", as_of {today}" if past else "")
            return page.model_copy(update={"left_out": [LeftOut(what="checkpoints, gaps and next steps", call=call)]})
        since = min(today - timedelta(days=HEARD_DAYS), review_counts_from(deadline_of(row)))
        # The card says all that the row would, so the row is left out beside it.
        if past is None:
            heard, open_ones = await self._reads.heard(principal, row["account_id"], since=since, today=today)
            return page.model_copy(update={"items": [], "renewal": card(row, heard, open_ones, today)})
        heard = await self._as_of.heard(principal, row["account_id"], since=since, day=today, calendar=past)
        # What was to be done next on a past day is no advice for today, nor what could then be signed together.
        then = card(row, heard, [], today).model_copy(update={"next_steps": []})
        return page.model_copy(update={"items": [], "renewal": then})

    async def _filters(
        self, principal: Principal, ask: ListRenewals, calendar: Calendar, today: date
    ) -> dict[str, Any]:
        names = Names.reading(self._store, principal)
        if ask.renewal is not None:
            if is_id(ask.renewal, "renewal"):
                return {"renewal": ask.renewal}
            return {"account": (await names.account(ask.renewal)).id, "open": True}
        filters: dict[str, Any] = {}
        for name in ("stage", "forecast_category", "band", "segment"):
            if (values := getattr(ask, name)) is not None:
                filters[name] = [value.value for value in values]
        if ask.stage is None:
            filters["open"] = True
        if ask.owner is not None:
            filters["owner"] = (await names.member(ask.owner)).id
        if ask.account is not None:
            filters["account"] = (await names.account(ask.account)).id
        start, end = ask.period_start, ask.period_end
        if ask.quarter is not None:
            quarter = quarter_named(ask.quarter, calendar, today)
            start = max(start or quarter.starts_on, quarter.starts_on)
            end = min(end or quarter.ends_on, quarter.ends_on)
        if start is not None and end is not None and start > end:
            raise Invalid(f"No day is between {start} and {end}.", remedy="Swap the two days, or drop `quarter`.")
        return filters | {name: day for name, day in (("period_start", start), ("period_end", end)) if day is not None}

    # -- writes ---------------------------------------------------------------------------------------------
    async def update(self, work: UnitOfWork, command: UpdateRenewal) -> Outcome:
        renewal = await renewal_named(work, command.renewal)
        await check_version(work, renewal, command.expected_version, "renewal")
        refuse_closed(renewal)
        fields: dict[str, Any] = {
            name: value
            for name in ("forecast_category", "closes_on", "decision_criteria", "procurement_steps")
            if (value := getattr(command, name)) is not None
        }
        if command.amount is not None:
            fields["amount_minor"] = minor_of(command.amount, renewal)
        if command.owner is not None:
            fields["owner_id"] = (await Names.writing(work).member(command.owner)).id
        if (confirmed := command.stakeholders_confirmed_on) is not None:
            if confirmed > work.today:
                raise Invalid(f"stakeholders_confirmed_on {confirmed} is in the future.", remedy="Give a past day.")
            fields["stakeholders_confirmed_on"] = confirmed
        if command.options is not None:
            fields["options"] = _offers(command.options, renewal)
        if command.concessions is not None:
            fields["concessions"] = [
                Concession(kind=new.kind, value=new.value, given_for=new.given_for) for new in command.concessions
            ]
        for name in command.clear or ():
            column = {"owner": "owner_id"}.get(name, name)
            if column in fields:
                raise Invalid(f"{name} is both set and cleared.", remedy="Give it in one of the two only.")
            fields[column] = None
        moved = fields.get("forecast_category", renewal.forecast_category) != renewal.forecast_category
        if moved and command.reason is None:
            raise Invalid(
                f"A forecast moved from {_value(renewal.forecast_category)} to "
                f"{_value(fields['forecast_category'])} needs a reason. Nothing was done.",
                remedy="Say in `reason` what changed the judgement.",
            )
        if "forecast_category" in fields:
            # What a category was set for goes with the category.
            judged = fields["forecast_category"] is not None
            fields["category_reason"] = (command.reason or renewal.category_reason) if judged else None
        work.renewals.save(renewal.changed(**fields))
        await work.flush()
        account = await work.accounts.get(renewal.account_id)
        return Outcome(record=done(work.renewals.now(renewal.id), account.name))

    async def open_due(self, work: UnitOfWork) -> Opened:
        """Open what every subscription of the workspace is due. Run again, it changes nothing."""
        return await open_due(work)


def _filled(page: RenewalPage, ask: ListRenewals, rows: list[Row], mark: str, today: date) -> RenewalPage:
    fields = frozenset(ask.fields if ask.fields is not None else DEFAULT_FIELDS)
    rows_shown = rows[: ask.limit]
    head = max(len(page.text("0000").encode()), len(page.model_dump_json(exclude_none=True).encode()))
    # Beside the head: the cursor, and what is said of rows left out.
    items = fitted(
        [line(row, fields, today, names_currency=page.currency is None) for row in rows_shown],
        budget_tokens=ask.budget_tokens,
        overhead_bytes=head + 200,
    )
    cursor = None
    if len(rows) > len(items):
        last = rows_shown[len(items) - 1]
        cursor = CursorMark(of=mark, value=last["closes_on"], id=last["id"]).token()
    return page.model_copy(update={"items": items, "next_cursor": cursor})


def _value(category: ForecastCategory | None) -> str:
    return category.value if category is not None else "none"


def minor_of(amount: Amount, renewal: Renewal) -> int:
    money = Money.of(amount.amount, amount.currency)
    if amount.currency != renewal.currency:
        raise Invalid(
            f"{renewal.id} is in {renewal.currency}, the amount given in {amount.currency}. Nothing was done.",
            remedy=f"Give the amount in {renewal.currency}; nothing is converted silently.",
        )
    if money.minor < 0:
        raise Invalid(f"An amount of {amount} is below zero. Nothing was done.", remedy="Give the ARR it renews at.")
    return money.minor


def _offers(options: list[NewOffer], renewal: Renewal) -> list[Offer]:
    tiers = [option.tier for option in options]
    if len(set(tiers)) < len(tiers):
        raise Invalid("Two options are of one tier. Nothing was done.", remedy="Give each of good, better, best once.")
    order = list(OfferTier)
    return sorted(
        (Offer(tier=o.tier, amount_minor=minor_of(o.amount, renewal), includes=o.includes) for o in options),
        key=lambda offer: order.index(offer.tier),
    )


def quarter_named(text: str, calendar: Calendar, today: date) -> FiscalQuarter:
    current = calendar.quarter_of(today)
    if (word := text.strip().casefold()) == "current":
        return current
    if word == "next":
        return calendar.quarter_of(add_months(current.starts_on, 3))
    if (named := _FISCAL.fullmatch(text.strip())) is not None:
        quarters = (int(named[2]) - current.fiscal_year) * 4 + int(named[1]) - current.quarter
        return calendar.quarter_of(add_months(current.starts_on, 3 * quarters))
    raise Invalid(
        f"{shown(text)!r} names no quarter.",
        remedy=f'Use "current", "next" or e.g. "{current.label}" (the current one).',
    )


async def renewal_named(work: UnitOfWork, ref: str) -> Renewal:
    """By id, or by an account that has one open renewal."""
    if is_id(ref, "renewal"):
        return await work.renewals.get(ref)
    account = await Names.writing(work).account(ref)
    found = await work.renewals.open_of_account(account.id)
    if not found:
        raise _unknown(ref)
    if len(found) > 1:
        raise _ambiguous(ref, [(renewal.id, renewal.closes_on) for renewal in found])
    return found[0]


def _unknown(ref: str) -> NotFound:
    if is_id(ref, "renewal"):
        return NotFound(f"No renewal has the id {ref!r}.", remedy="list_renewals shows the open ones with their ids.")
    return NotFound(
        f"{shown(ref)!r} has no open renewal.",
        remedy="list_renewals with this account and stage [closed_won, closed_lost] shows its closed ones.",
    )


def _ambiguous(ref: str, found: list[tuple[str, date]]) -> Ambiguous:
    listed = "; ".join(f"{renewal} closes {day}" for renewal, day in found[:5])
    return Ambiguous(
        f"{shown(ref)!r} has {len(found)} open renewals: {listed}. Nothing was done.",
        remedy="Call again with the id of the one you mean.",
    )
