"""The expansion pipeline as it is asked for; saving an opportunity is in `opportunities.saving`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field

from cs_mcp.db.opportunities.expansion_reads import LOOKED_AT, ExpansionReads
from cs_mcp.db.opportunities.opportunity_reads import UNDATED, GroupBy, OpportunityReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Segment
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.contract import (
    AccountRef,
    Amount,
    Budget,
    Cursor,
    CursorMark,
    Detail,
    LeftOut,
    Limit,
    Question,
    Ref,
    UserRef,
    View,
    fitted,
    question_hash,
    shown,
)
from cs_mcp.domain.errors import Invalid, NotFound
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.opportunities.expansion import early_because
from cs_mcp.domain.opportunities.opportunities import Opportunity, OpportunityKind, OpportunityStage
from cs_mcp.domain.records import is_id
from cs_mcp.services.criteria import expansion_criteria
from cs_mcp.services.naming import Names
from cs_mcp.services.opportunities.expansion import Expansion, value_of
from cs_mcp.services.opportunities.views import (
    Candidate,
    OpportunityPage,
    OpportunitySum,
    OpportunityView,
    WhitespaceLine,
    opportunity_view,
)

OpportunityRef = Annotated[Ref, Field(description="Id of one")]
_RESERVED: Final = 200  # bytes for the cursor and what is said of rows left out
ViewT = TypeVar("ViewT", bound=View)


class ListOpportunities(Question):
    opportunity: OpportunityRef | None = None
    account: AccountRef | None = None
    stage: Annotated[list[OpportunityStage], Field(description="Open ones when absent")] | None = None
    kind: list[OpportunityKind] | None = None
    owner: UserRef | None = None
    segment: list[Segment] | None = None
    period_start: Annotated[date, Field(description="First expected day")] | None = None
    period_end: Annotated[date, Field(description="Last expected day")] | None = None
    group_by: Annotated[GroupBy, Field(description="Also sum by")] | None = None
    look_for: (
        Annotated[
            list[Literal["candidates", "whitespace"]],
            Field(description="Also accounts with evidence nobody works on; products they lack"),
        ]
        | None
    ) = None
    detail: Detail = "brief"
    limit: Limit = 25
    cursor: Cursor | None = None
    budget_tokens: Budget = 4000


class Opportunities:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = OpportunityReads(store)
        self._found = ExpansionReads(store)
        self._expansion = Expansion(store)

    async def list(self, principal: Principal, question: ListOpportunities) -> OpportunityPage:
        calendar = (await self._store.workspace(principal.workspace)).calendar
        today = calendar.today(self._store.clock.now())
        filters = await self._filters(principal, question)
        mark, after = question_hash(question), None
        if question.cursor is not None:
            cursor = CursorMark.read(question.cursor, mark, date)
            after = (cursor.value, cursor.id)
        rows, sums = await self._reads.page(
            principal, filters, limit=question.limit, after=after, group=question.group_by
        )
        if question.opportunity is not None and not rows:
            raise unknown(question.opportunity)
        totals = _totals(sums)
        page = OpportunityPage(
            items=[],
            total=sum(one.opportunities for one in totals),
            scope="the whole workspace" if principal.sees_all else "the accounts you see",
            as_of=today,
            sums=totals,
            groups=_groups(sums, question.group_by, calendar) if question.group_by is not None else [],
        )
        shown_rows = rows[: question.limit]
        items = await self._views(principal, shown_rows, today, full=question.detail == "full")
        wanted = set(question.look_for or ())
        if wanted and question.cursor is None:
            page = await self._looked(principal, question, page, wanted, today)
        page = page.model_copy(update={"items": fitted_in(page, items, question.budget_tokens)})
        if len(rows) > len(page.items):
            last = shown_rows[len(page.items) - 1]
            token = CursorMark(of=mark, value=last["expected_on"] or UNDATED, id=last["id"]).token()
            page = page.model_copy(update={"next_cursor": token})
        return page

    async def _views(
        self, principal: Principal, rows: Sequence[Row], today: date, *, full: bool
    ) -> list[OpportunityView]:
        accounts = sorted({row["account_id"] for row in rows})
        roi = await self._found.roi(principal, accounts, today) if rows else {}
        criteria = expansion_criteria()
        views: list[OpportunityView] = []
        for row in rows:
            owner = row["responsible_id"]
            views.append(
                opportunity_view(
                    Opportunity.model_validate({name: row[name] for name in Opportunity.model_fields}),
                    row["account_name"],
                    {owner: row["owner_name"] or "?"},
                    responsible=owner,
                    early=early_because(value_of(row, roi.get(row["account_id"])), criteria, today),
                    full=full,
                )
            )
        return views

    async def _looked(
        self, principal: Principal, ask: ListOpportunities, page: OpportunityPage, wanted: Collection[str], today: date
    ) -> OpportunityPage:
        filters = await self._account_filters(principal, ask)
        looked = await self._expansion.look(
            principal, filters, today, candidates="candidates" in wanted, gaps="whitespace" in wanted
        )
        found = looked.candidates
        if ask.kind is not None:
            kinds = {kind.value for kind in ask.kind}
            found = [one for one in found if any(finding.kind in kinds for finding in one.found)]
        half = ask.budget_tokens // 2  # the other half is the pipeline's
        left = list(page.left_out)
        if "candidates" in wanted:
            page = _with_part(page, "candidates", found, ask, half // len(wanted), left)
        if "whitespace" in wanted:
            page = _with_part(page, "whitespace", looked.whitespace, ask, half // len(wanted), left)
        if looked.beyond:
            left.append(
                LeftOut(
                    what=f"accounts beyond the {LOOKED_AT} largest",
                    call="list_opportunities with look_for and one owner or segment",
                )
            )
        return page.model_copy(update={"left_out": left})

    async def _filters(self, principal: Principal, ask: ListOpportunities) -> dict[str, Any]:
        if ask.opportunity is not None:
            if not is_id(ask.opportunity, "opportunity"):
                raise unknown(ask.opportunity)
            return {"opportunity": ask.opportunity}
        filters = await self._account_filters(principal, ask)
        for name in ("stage", "kind"):
            if (values := getattr(ask, name)) is not None:
                filters[name] = [value.value for value in values]
        if ask.stage is None:
            filters["open"] = True
        start, end = ask.period_start, ask.period_end
        if start is not None and end is not None and start > end:
            raise Invalid(f"period_start {start} is after period_end {end}.", remedy="Swap the two days.")
        return filters | {name: day for name, day in (("period_start", start), ("period_end", end)) if day is not None}

    async def _account_filters(self, principal: Principal, ask: ListOpportunities) -> dict[str, Any]:
        names, filters = Names.reading(self._store, principal), dict[str, Any]()
        if ask.account is not None:
            filters["account"] = (await names.account(ask.account)).id
        if ask.owner is not None:
            filters["owner"] = (await names.member(ask.owner)).id
        if ask.segment is not None:
            filters["segment"] = [segment.value for segment in ask.segment]
        return filters


def fitted_in(page: OpportunityPage, items: list[OpportunityView], budget_tokens: int) -> list[OpportunityView]:
    if not items:
        return []
    return fitted(items, budget_tokens=budget_tokens, overhead_bytes=_size(page) + _RESERVED)


def _size(page: OpportunityPage) -> int:
    return max(len(page.text("0000").encode()), len(page.model_dump_json(exclude_none=True).encode()))


def _with_part(
    page: OpportunityPage,
    part: Literal["candidates", "whitespace"],
    found: Sequence[Candidate] | Sequence[WhitespaceLine],
    ask: ListOpportunities,
    budget_tokens: int,
    left: list[LeftOut],
) -> OpportunityPage:
    kept = fitted(found[: ask.limit], budget_tokens=budget_tokens, overhead_bytes=0) if found else []
    if len(found) > len(kept):
        call = "list_opportunities with look_for and one account, owner or segment"
        left.append(LeftOut(what=f"{part} of {len(found) - len(kept)} of {len(found)} accounts", call=call))
    return page.model_copy(update={part: kept})


def _totals(sums: Sequence[Row]) -> list[OpportunitySum]:
    return _added(sums, lambda _: None)


def _groups(sums: Sequence[Row], group: GroupBy, calendar: Calendar) -> list[OpportunitySum]:
    if group != "quarter":
        return _added(sums, lambda row: row["name"] or "none")
    return _added(
        sorted(sums, key=lambda row: row["name"] or UNDATED),
        lambda row: calendar.quarter_of(row["name"]).label if row["name"] is not None else "no day",
        keeps_order=True,
    )


def _added(
    sums: Sequence[Row], name: Callable[[Row], str | None], *, keeps_order: bool = False
) -> list[OpportunitySum]:
    """Rows added up by name and currency: totals cannot differ from their groups."""
    counts: defaultdict[tuple[str | None, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in sums:
        together = counts[name(row), row["currency"]]
        together[0] += row["opportunities"]
        together[1] += row["amount_minor"]
    keys = list(counts) if keeps_order else sorted(counts, key=lambda key: (key[0] == "none", key[0] or "", key[1]))
    return [
        OpportunitySum(group=key[0], opportunities=counts[key][0], amount=Amount.of(counts[key][1], key[1]))
        for key in keys
    ]


def unknown(ref: str) -> NotFound:
    return NotFound(
        f"No opportunity has the id {shown(ref)!r}.",
        remedy="list_opportunities shows the open ones with their ids; with stage [won, lost] the closed ones.",
    )
