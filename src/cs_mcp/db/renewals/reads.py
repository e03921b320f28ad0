"""Pages of renewals with what is shown beside them, and their sums; the facts behind one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Date, String, and_, bindparam, cast, func, or_, select

from cs_mcp.db.accounts.pages import COUNTED
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE as SCORE
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.renewals import CLOSED
from cs_mcp.db.renewals.scope import (
    ACCOUNT,
    RENEWAL,
    SUBSCRIPTION,
    in_book,
    open_sev1,
    with_account,
)
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, live, page_rows
from cs_mcp.db.signals.signals import TicketRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.renewals.checkpoints import REVIEW_DAYS, REVIEWS, ROI_DAYS

CONTACT: Final = ContactRow.__table__
MEETING: Final = MeetingRow.__table__
MEMBER: Final = MemberRow.__table__
GroupBy = Literal["stage", "forecast_category", "band", "owner", "segment"]

_REVIEWS: Final = frozenset(kind.value for kind in REVIEWS)
_TODAY: Final = bindparam("today", type_=Date)

_FILTERS: Final[dict[str, Callable[[], Any]]] = {
    "renewal": lambda: RENEWAL.c.id == bindparam("renewal", type_=String),
    "open": lambda: and_(*(RENEWAL.c.stage != stage for stage in CLOSED)),
    "stage": lambda: any_of(RENEWAL.c.stage, texts("stage")),
    "forecast_category": lambda: any_of(RENEWAL.c.forecast_category, texts("forecast_category")),
    "account": lambda: RENEWAL.c.account_id == bindparam("account", type_=String),
    "period_start": lambda: RENEWAL.c.closes_on >= bindparam("period_start", type_=Date),
    "period_end": lambda: RENEWAL.c.closes_on <= bindparam("period_end", type_=Date),
    "band": lambda: any_of(RENEWAL.c.account_band, texts("band")),
    "segment": lambda: any_of(RENEWAL.c.account_segment, texts("segment")),
    "owner": lambda: RENEWAL.c.responsible_id == bindparam("owner", type_=String),
}
_GROUPS: Final[dict[str, Any]] = {
    "stage": RENEWAL.c.stage,
    "forecast_category": RENEWAL.c.forecast_category,
    "band": RENEWAL.c.account_band,
    "owner": RENEWAL.c.responsible_id,
    "segment": RENEWAL.c.account_segment,
}


def _wanted(columns: list[Any], scope: Conditions, filters: tuple[str, ...], *, account: bool = False) -> Any:
    """Renewals, joined to their accounts where `account` and within a portfolio."""
    # Otherwise none is read: what is live belongs to one that is.
    book = in_book(scope)
    source = with_account() if account or book else RENEWAL
    return select(*columns).select_from(source).where(*scope, *book, *(_FILTERS[name]() for name in filters))


_ACCOUNT_COLUMNS: Final = (
    ACCOUNT.c.name.label("account_name"),
    ACCOUNT.c.segment,
    ACCOUNT.c.tier,
    ACCOUNT.c.health_band,
    ACCOUNT.c.executive_sponsor_id,
)
_SUBSCRIPTION_COLUMNS: Final = (
    SUBSCRIPTION.c.product,
    SUBSCRIPTION.c.starts_on,
    SUBSCRIPTION.c.ends_on,
    SUBSCRIPTION.c.canceled_on,
    SUBSCRIPTION.c.removed_at.label("subscription_removed_at"),
    SUBSCRIPTION.c.auto_renew,
    SUBSCRIPTION.c.term_months,
    SUBSCRIPTION.c.notice_days,
)


# What a row of the pipeline is made of; lists and long texts take as long to read as all of these.
_OF_A_ROW: Final = frozenset({
    "id", "version", "account_id", "subscription_id", "stage", "forecast_category", "amount_minor", "currency",
    "closes_on", "notice_deadline_on", "closed_on", "responsible_id",
})  # fmt: skip


@lru_cache(maxsize=512)
def _page(filters: tuple[str, ...], cursor: bool, rows: int, whole: bool) -> Scoped:
    def build(scope: Conditions) -> Any:
        own = (c for c in RENEWAL.c if (whole and c.key != "workspace") or c.key in _OF_A_ROW)
        columns = [*own, *_ACCOUNT_COLUMNS]
        wanted = _wanted(columns, scope, filters, account=True)
        # The page first, what stands beside it after: PostgreSQL plans the joins for all that the filters let through.
        page = _cut(wanted, cursor, rows).subquery("page")
        workspace, sponsor = bindparam("workspace", type_=String), CONTACT.alias("sponsor")
        joined = (
            page.outerjoin(
                SUBSCRIPTION, and_(SUBSCRIPTION.c.workspace == workspace, SUBSCRIPTION.c.id == page.c.subscription_id)
            )
            .outerjoin(MEMBER, and_(MEMBER.c.workspace == workspace, MEMBER.c.id == page.c.responsible_id))
            .outerjoin(sponsor, and_(sponsor.c.workspace == workspace, sponsor.c.id == page.c.executive_sponsor_id))
            .outerjoin(SCORE, and_(SCORE.c.workspace == workspace, SCORE.c.account_id == page.c.account_id))
        )
        beside = [
            SCORE.c.score.label("health_score"),
            *_SUBSCRIPTION_COLUMNS,
            func.coalesce(SUBSCRIPTION.c.arr_minor, page.c.amount_minor).label("arr_minor"),
            MEMBER.c.name.label("owner_name"),
            sponsor.c.name.label("sponsor_name"),
        ]
        return select(*page.c, *beside).select_from(joined).order_by(page.c.closes_on, page.c.id)

    return Scoped("renewal", build)


def _cut(statement: Any, cursor: bool, rows: int) -> Any:
    if cursor:
        day, record = bindparam("cursor_value", type_=Date), bindparam("cursor_id", type_=String)
        # The first condition alone bounds the walk of the index; the second places it within the day.
        statement = statement.where(RENEWAL.c.closes_on >= day, or_(RENEWAL.c.closes_on > day, RENEWAL.c.id > record))
    return statement.order_by(RENEWAL.c.closes_on, RENEWAL.c.id).limit(rows)


# Of the page's accounts alone: as columns of the page, PostgreSQL would read all contacts for each of its rows.
@lru_cache(maxsize=512)
def _met(filters: tuple[str, ...], cursor: bool, rows: int) -> Scoped:
    """Meetings held lately, with who attended, and those of the last half year that showed ROI."""

    def build(scope: Conditions) -> Any:
        page = _cut(_wanted([RENEWAL.c.account_id], scope, filters), cursor, rows).subquery("page")
        held = (
            *live(MEETING),
            MEETING.c.account_id.in_(select(page.c.account_id)),
            MEETING.c.status == "held",
            MEETING.c.held_on >= bindparam("roi_from", type_=Date),
            MEETING.c.held_on <= _TODAY,
        )
        lately = MEETING.c.held_on >= bindparam("fresh_from", type_=Date)
        columns = (MEETING.c.account_id, MEETING.c.kind, MEETING.c.held_on, MEETING.c.roi_shown, MEETING.c.attendees)
        return select(*columns).where(*held, or_(lately, MEETING.c.roi_shown.is_(True)))

    return Scoped("renewal", build)


@lru_cache(maxsize=512)
def _active(filters: tuple[str, ...], cursor: bool, rows: int) -> Scoped:
    """Contacts who have not left."""

    def build(scope: Conditions) -> Any:
        page = _cut(_wanted([RENEWAL.c.account_id], scope, filters), cursor, rows).subquery("page")
        return select(CONTACT.c.id).where(
            *live(CONTACT), CONTACT.c.account_id.in_(select(page.c.account_id)), CONTACT.c.status == "active"
        )

    return Scoped("renewal", build)


@lru_cache(maxsize=512)
def _burning(filters: tuple[str, ...], cursor: bool, rows: int) -> Scoped:
    """Accounts with a ticket of severity 1 that is open."""

    def build(scope: Conditions) -> Any:
        page = _cut(_wanted([RENEWAL.c.account_id], scope, filters), cursor, rows).subquery("page")
        ticket: Any = TicketRow.__table__
        of_page = (*live(ticket), ticket.c.account_id.in_(select(page.c.account_id)))
        return select(ticket.c.account_id).where(*of_page, open_sev1(ticket)).distinct()

    return Scoped("renewal", build)


def put_beside(rows: list[Row], met: list[Row], active: set[str], burning: set[str], today: date) -> None:
    """Whether a review was held and ROI shown lately, how many active contacts attended, and an open sev-1."""
    fresh_from, of_account = _days(today)["fresh_from"], defaultdict[str, list[Row]](list)
    for meeting in met:
        of_account[meeting["account_id"]].append(meeting)
    for row in rows:
        meetings = of_account[row["account_id"]]
        lately = [meeting for meeting in meetings if meeting["held_on"] >= fresh_from]
        who = {who.get("contact_id") for one in lately for who in one["attendees"] if who.get("attended") is not False}
        row["reviewed"] = any(meeting["kind"] in _REVIEWS for meeting in lately)
        row["roi_shown"] = any(meeting["roi_shown"] for meeting in meetings)
        row["engaged"] = len(who & active)
        row["open_sev1"] = row["account_id"] in burning


@lru_cache(maxsize=512)
def _sums(filters: tuple[str, ...], group: GroupBy | None, exact: bool) -> Scoped:
    """By currency and group; unless `exact`, no row where there are more than are counted, and then none is summed."""

    def build(scope: Conditions) -> Any:
        columns = [RENEWAL.c.currency, RENEWAL.c.amount_minor, RENEWAL.c.subscription_id]
        if group is not None:
            columns.append(_GROUPS[group].label("name"))
        matches = _wanted(columns, scope, filters)
        # At most one more than are counted is held, so that nothing else is read where there are more.
        held: Any = matches if exact else matches.limit(COUNTED + 1)
        held = held.cte("held").prefix_with("MATERIALIZED")
        workspace = bindparam("workspace", type_=String)
        subscription = and_(SUBSCRIPTION.c.workspace == workspace, SUBSCRIPTION.c.id == held.c.subscription_id)
        source = held.outerjoin(SUBSCRIPTION, subscription)
        by = [held.c.currency]
        if group == "owner":
            source = source.outerjoin(MEMBER, and_(MEMBER.c.workspace == workspace, MEMBER.c.id == held.c.name))
            by.insert(0, MEMBER.c.name)
        elif group is not None:
            by.insert(0, held.c.name)
        arr = func.coalesce(SUBSCRIPTION.c.arr_minor, held.c.amount_minor)
        sums = [
            func.count().label("renewals"),
            cast(func.sum(held.c.amount_minor), BigInteger).label("amount_minor"),
            cast(func.sum(arr), BigInteger).label("arr_minor"),
        ]
        summed = select(*by, *sums).select_from(source).group_by(*by)
        if exact:
            return summed
        return summed.where(select(func.count()).select_from(held).scalar_subquery() <= COUNTED)

    return Scoped("renewal", build)


def _of_account(table: Any, *conditions: Any) -> Any:
    return and_(table.c.account_id == bindparam("account", type_=String), *conditions)


_HEARD: Final = Scoped(
    "meeting",
    lambda scope: (
        select(
            MEETING.c.id, MEETING.c.kind, MEETING.c.held_on, MEETING.c.roi_shown, MEETING.c.renewal_intent,
            MEETING.c.forecast_hint,
        )
        .where(
            *scope,
            _of_account(MEETING, MEETING.c.status == "held"),
            MEETING.c.held_on >= bindparam("since", type_=Date),
            MEETING.c.held_on <= _TODAY,
        )
        .order_by(MEETING.c.held_on.desc(), MEETING.c.id.desc())
        .limit(500)
    ),
)  # fmt: skip

_OPEN_OF_ACCOUNT: Final = Scoped(
    "renewal",
    lambda scope: (
        select(RENEWAL.c.id, RENEWAL.c.closes_on, RENEWAL.c.source_system, RENEWAL.c.source_id)
        .where(*scope, _of_account(RENEWAL, *(RENEWAL.c.stage != stage for stage in CLOSED)))
        .order_by(RENEWAL.c.closes_on, RENEWAL.c.id)
        .limit(50)
    ),
)


class RenewalReads(ScopedReads):
    """Renewals as the caller may see them."""

    async def page(
        self,
        principal: Principal,
        filters: dict[str, Any],
        *,
        today: date,
        limit: int,
        after: tuple[date, str] | None = None,
        group: GroupBy | None = None,
        exact: bool = False,
        whole: bool = False,
    ) -> tuple[list[Row], list[Row] | None]:
        """By close date, one row more than `limit` where there are more; and sums over all by currency and `group`.

        The sums are None past 1 000 renewals, unless `exact` asks for them.

        `filters` holds the parameters of `_FILTERS`. A row has all of its renewal where `whole`, else what lists show,
        and its account's, subscription's and people's columns, `arr_minor` (of its subscription), `reviewed`,
        `roi_shown`, `engaged` and `open_sev1`.
        """
        shape = tuple(sorted(filters))
        given = dict(filters) | _days(today)
        if after is not None:
            given |= {"cursor_value": after[0], "cursor_id": after[1]}
        cut = (shape, after is not None, page_rows(limit))
        plan = [_page(*cut, whole), _met(*cut), _active(*cut), _burning(*cut), _sums(shape, group, exact)]
        rows, met, active, burning, sums = await self.rows(principal, plan, **given)
        put_beside(rows, met, {row["id"] for row in active}, {row["account_id"] for row in burning}, today)
        # Ordered here: the stores place absent names at different ends, and a database may order names by a language.
        sums.sort(key=lambda row: (row.get("name") is None, row.get("name") or "", row["currency"]))
        told = exact or bool(sums) or (after is None and not rows)
        return rows[: limit + 1], sums if told else None

    async def heard(
        self, principal: Principal, account: str, *, since: date, today: date
    ) -> tuple[list[Row], list[Row]]:
        """Meetings held with the account, newest first, and its open renewals."""
        meetings, renewals = await self.rows(
            principal, [_HEARD, _OPEN_OF_ACCOUNT], account=account, since=since, today=today
        )
        return meetings, renewals


def _days(today: date) -> dict[str, date]:
    return {
        "today": today,
        "fresh_from": today - timedelta(days=REVIEW_DAYS),
        "roi_from": today - timedelta(days=ROI_DAYS),
    }
