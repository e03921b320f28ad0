"""Pages of accounts: filters, sorts, cursors, counts and sums, as statements built once for each shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Date,
    Float,
    Join,
    String,
    Text,
    UnaryExpression,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.types import NullType

from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow, name_key
from cs_mcp.db.accounts.gaps import GAPS, HANGING
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE, of_account, score_step
from cs_mcp.db.base import Json
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.scoped import Conditions, Scoped, live, scope_of
from cs_mcp.domain.accounts.accounts import Band, Segment, Stage, Tier

if TYPE_CHECKING:
    from cs_mcp.db.unit_of_work import UnitOfWork

ACCOUNT: Final = AccountRow.__table__
CONTACT: Final = ContactRow.__table__
MEMBER: Final = MemberRow.__table__
COUNTED: Final = 1_000  # a total is exact to here: counting grows with the book, a page does not

Sort = Literal[
    "-arr", "arr", "name", "renewal_on", "-health_score", "health_score", "health_trend", "last_touch_on",
    "-last_touch_on",
]  # fmt: skip


_FILTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "segment": lambda a: any_of(a.segment, texts("segment")),
    "tier": lambda a: any_of(a.tier, texts("tier")),
    "stage": lambda a: any_of(a.stage, texts("stage")),
    "band": lambda a: any_of(a.health_band, texts("band")),
    "owner": lambda a: a.owner_id == bindparam("owner", type_=String),
    "no_owner": lambda a: a.owner_id.is_(None),
    "sponsor": lambda a: a.executive_sponsor_id == bindparam("sponsor", type_=String),
    "arr_min": lambda a: a.arr_minor >= bindparam("arr_min", type_=BigInteger),
    "arr_max": lambda a: a.arr_minor <= bindparam("arr_max", type_=BigInteger),
    "currency": lambda a: a.currency == bindparam("currency", type_=String),
    "score_min": lambda _: ACCOUNT_SCORE.c.score >= bindparam("score_min", type_=Float),
    "score_max": lambda _: ACCOUNT_SCORE.c.score <= bindparam("score_max", type_=Float),
    "renews_from": lambda a: a.renewal_on >= bindparam("renews_from", type_=Date),
    "renews_to": lambda a: a.renewal_on <= bindparam("renews_to", type_=Date),
    "touch_before": lambda a: or_(a.last_touch_on.is_(None), a.last_touch_on < bindparam("touch_before", type_=Date)),
    "text": lambda a: or_(
        a.name_key.like(bindparam("text", type_=Text), escape="\\"),
        a.domain.like(bindparam("text", type_=Text), escape="\\"),
    ),
    "missing_renewal_on": lambda a: a.renewal_on.is_(None),
    "missing_domain": lambda a: a.domain.is_(None),
    "missing_industry": lambda a: a.industry.is_(None),
    "missing_executive_sponsor": lambda a: a.executive_sponsor_id.is_(None),
    "missing_champion": lambda a: a.champion_id.is_(None),
    "missing_last_touch_on": lambda a: a.last_touch_on.is_(None),
    "missing_health_score": lambda _: ACCOUNT_SCORE.c.score.is_(None),
    **{f"missing_{name}": GAPS[name] for name in HANGING},
}

# (column, newest or largest first, the value nulls sort as)
SORTS: Final[dict[str, tuple[str, bool]]] = {
    "-arr": ("arr_minor", True),
    "arr": ("arr_minor", False),
    "name": ("name_key", False),
    "renewal_on": ("renewal_on", False),
    "health_score": ("health_score", False),
    "-health_score": ("health_score", True),
    "health_trend": ("health_trend", False),
    "last_touch_on": ("last_touch_on", False),
    "-last_touch_on": ("last_touch_on", True),
}


# Filters and sorts of what stands beside the account.
_OF_SCORES: Final[dict[str, Any]] = {"health_score": ACCOUNT_SCORE.c.score, "health_trend": ACCOUNT_SCORE.c.trend}
_BY_SCORES: Final = frozenset({"score_min", "score_max", "missing_health_score"})


def sort_column(sort: str) -> str:
    return SORTS[sort][0]


def _sorted_by(sort: str) -> tuple[Any, Any]:
    """The column of a sort, and the id that stands beside it in its index."""
    name = sort_column(sort)
    if name in _OF_SCORES:
        return _OF_SCORES[name], ACCOUNT_SCORE.c.account_id
    return ACCOUNT.c[name], ACCOUNT.c.id


def _condition(name: str, sqlite: bool) -> Any:
    a = ACCOUNT.c
    if name == "tag":
        wanted = bindparam("tag", type_=Text)
        if not sqlite:
            return a.tags.op("?")(wanted)
        each = func.json_each(a.tags).table_valued("value")
        return exists(select(each.c.value).where(each.c.value == wanted))
    if name.startswith("custom:"):
        index = name.removeprefix("custom:")
        if not sqlite:
            return a.custom.op("@>")(bindparam(f"custom_{index}", type_=Json))
        each = func.json_each(a.custom).table_valued("key", "atom")
        key: Any = bindparam(f"custom_key_{index}", type_=Text)
        value: Any = bindparam(f"custom_value_{index}", type_=NullType())
        return exists(select(each.c.key).where(each.c.key == key, each.c.atom == value))
    if name in ("score_min", "score_max"):
        kept, step = ACCOUNT_SCORE.c.step, score_step(bindparam(name, type_=Float), sqlite=sqlite)
        near = kept >= step if name == "score_min" else kept <= step
        return and_(near, _FILTERS[name](a))
    return _FILTERS[name](a)


def _after(sort: str, sqlite: bool) -> Any:
    """Rows after the cursor's: nulls last whichever way, ties by id."""
    (c, own), descending = _sorted_by(sort), SORTS[sort][1]
    value = bindparam("cursor_value", type_=c.type)
    id_after = own > bindparam("cursor_id", type_=String)
    beyond = c < value if descending else c > value
    if not c.nullable:
        return or_(beyond, and_(c == value, id_after))
    after = or_(beyond, and_(c == value, id_after), c.is_(None))
    if c is not ACCOUNT_SCORE.c.score:
        return after
    # What the index tells of a row already says that it comes before.
    kept, step = ACCOUNT_SCORE.c.step, score_step(value, sqlite=sqlite)
    return and_(or_(kept <= step if descending else kept >= step, kept.is_(None)), after)


def _after_null(sort: str) -> Any:
    column, own = _sorted_by(sort)
    listed = [ACCOUNT_SCORE.c.step.is_(None)] if column is ACCOUNT_SCORE.c.score else []
    return and_(column.is_(None), *listed, own > bindparam("cursor_id", type_=String))


def _unindexed(column: Any) -> Any:
    return UnaryExpression[Any](column, operator=custom_op[Any]("+"))


class _walked(Join):  # noqa: N801 - reads as SQL
    """A join that goes from row to row of its left side, in the order of an index that SQLite finds for that."""

    inherit_cache = True


@compiles(_walked, "sqlite")
def _walked_sqlite(  # pyright: ignore[reportUnusedFunction]
    element: Any, compiler: Any, asfrom: bool = True, **kw: Any
) -> str:
    left, right = (compiler.process(side, asfrom=asfrom, **kw) for side in (element.left, element.right))
    return f"{left} CROSS JOIN {right} ON {compiler.process(element.onclause, **kw)}"


def _by_step(sort: str, *, sqlite: bool, hidden: bool) -> list[Any]:
    step = _unindexed(ACCOUNT_SCORE.c.step) if hidden else ACCOUNT_SCORE.c.step
    if sort == "health_score":
        return [step.nulls_last()]
    # PostgreSQL's index, read from its end, has those without a score first.
    return [step.desc().nulls_last()] if sqlite and sort == "-health_score" else []


def _order(sort: str, by: Any, then: Any) -> list[Any]:
    ordered: Any = by.desc() if SORTS[sort][1] else by.asc()
    if _sorted_by(sort)[0].nullable:
        ordered = ordered.nulls_last()
    return [ordered, then]


def _book(scope: Conditions) -> list[Any]:
    """Within a portfolio, its accounts by index: the wall in `scope` alone is checked on every account there is."""
    if len(scope) == len(live(ACCOUNT)):
        return []
    people = texts("portfolio")
    workspace = bindparam("workspace", type_=String)
    mine, seat = ACCOUNT.alias("mine"), TeamMemberRow.__table__
    of_workspace = (mine.c.workspace == workspace, mine.c.removed_at.is_(None))
    return [
        ACCOUNT.c.id.in_(
            union_all(
                select(mine.c.id).where(*of_workspace, any_of(mine.c.owner_id, people)),
                select(mine.c.id).where(*of_workspace, mine.c.owner_id.is_(None)),
                select(seat.c.account_id).where(
                    seat.c.workspace == workspace, seat.c.removed_at.is_(None), any_of(seat.c.user_id, people)
                ),
            )
        )
    ]


def _found(
    columns: Iterable[Any],
    scope: Conditions,
    filters: tuple[str, ...],
    sqlite: bool,
    *,
    scored: bool = False,
    walked: bool = False,
) -> Any:
    """Columns of the accounts that fit, with their scores where `scored` or a filter asks for them.

    `walked` where SQLite is to go from score to score: without it, newer versions sort the book instead.
    """
    fits = (*scope, *_book(scope), *(_condition(name, sqlite) for name in filters))
    found = select(*columns).where(*fits)
    if walked:
        return found.select_from(_walked(ACCOUNT_SCORE, ACCOUNT, of_account()))
    if scored or _BY_SCORES & {*filters}:
        return found.select_from(ACCOUNT.join(ACCOUNT_SCORE, of_account()))
    return found


_PAGE_COLUMNS: Final = (
    "id", "version", "name", "domain", "segment", "tier", "stage", "owner_id", "currency", "arr_minor", "renewal_on",
    "health_band", "last_touch_on", "next_meeting_on", "executive_sponsor_id", "tags", "name_key",
)  # fmt: skip


@lru_cache(maxsize=512)
def page_of(
    filters: tuple[str, ...], sort: str, cursor: Literal["", "value", "null"], rows: int, sqlite: bool
) -> Scoped:
    def build(scope: Conditions) -> Any:
        by, own = _sorted_by(sort)
        columns = (*(ACCOUNT.c[name] for name in _PAGE_COLUMNS), ACCOUNT.c.workspace, by.label("sorted_by"))
        # SQLite would walk the sort's index through the whole workspace; the plus hides it: the book is sorted instead.
        hidden = sqlite and bool(_book(scope))
        # Where most accounts fit: those of few filters are found by them, and sorted.
        walked = sqlite and not hidden and sort_column(sort) == "health_score" and _BY_SCORES.issuperset(filters)
        found = (
            _found(columns, scope, filters, sqlite, scored=sort_column(sort) in _OF_SCORES, walked=walked)
            .order_by(
                # What is sorted by step already a store sorts step by step, as far as the page goes.
                *_by_step(sort, sqlite=sqlite, hidden=hidden),
                *_order(sort, _unindexed(by) if hidden else by, own),
            )
            .limit(rows)
        )
        if cursor:
            found = found.where(_after(sort, sqlite) if cursor == "value" else _after_null(sort))
        # Names and scores are joined to the page, not to all that a sort has to look at.
        page = found.subquery("page")
        owner, sponsor, scored = MEMBER.alias("owner"), CONTACT.alias("sponsor"), ACCOUNT_SCORE.alias("scored")
        return (
            select(
                *(page.c[name] for name in _PAGE_COLUMNS),
                scored.c.score.label("health_score"),
                scored.c.trend.label("health_trend"),
                owner.c.name.label("owner_name"),
                sponsor.c.name.label("sponsor_name"),
            )
            .outerjoin_from(page, scored, of_account(page, scored))
            .outerjoin(owner, and_(owner.c.workspace == page.c.workspace, owner.c.id == page.c.owner_id))
            .outerjoin(
                sponsor, and_(sponsor.c.workspace == page.c.workspace, sponsor.c.id == page.c.executive_sponsor_id)
            )
            .order_by(*_order(sort, page.c.sorted_by, page.c.id))
        )

    return Scoped("account", build)


# The columns of ix_account_list that have few values, in its order; of a window, the column behind them.
_FEW: Final[dict[str, tuple[Any, type[StrEnum]]]] = {
    "segment": (ACCOUNT.c.segment, Segment),
    "band": (ACCOUNT.c.health_band, Band),
    "tier": (ACCOUNT.c.tier, Tier),
    "stage": (ACCOUNT.c.stage, Stage),
}
_WINDOW: Final = frozenset({"renews_from", "renews_to"})


def _every_value(filters: tuple[str, ...]) -> list[Any]:
    """Any value there is, for columns of ix_account_list before one that is asked for.

    SQLite then goes from match to match in the index, where it would walk it from the first column left open on.
    """
    asked = {*filters}
    if not asked or not asked <= _FEW.keys() | _WINDOW or asked <= _WINDOW:
        return []
    few = list(_FEW)
    before = few if asked & _WINDOW else few[: max(few.index(name) for name in asked)]
    open_ones = [_FEW[name] for name in before if name not in asked]
    return [column.in_([literal_column(f"'{value.value}'") for value in values]) for column, values in open_ones]


@lru_cache(maxsize=512)
def count_of(filters: tuple[str, ...], exact: bool, sqlite: bool) -> Scoped:
    def build(scope: Conditions) -> Any:
        found = _found([ACCOUNT.c.id], scope, filters, sqlite)
        if sqlite and not _book(scope):
            found = found.where(*_every_value(filters))
        limited = (found if exact else found.limit(COUNTED + 1)).subquery()
        return select(func.count().label("total")).select_from(limited)

    return Scoped("account", build)


_SUM: Final[Any] = cast(func.sum(ACCOUNT.c.arr_minor), BigInteger)


@lru_cache(maxsize=512)
def sums_of(filters: tuple[str, ...], sqlite: bool) -> Scoped:
    return Scoped(
        "account",
        lambda scope: (
            _found([ACCOUNT.c.currency, _SUM.label("arr_minor")], scope, filters, sqlite)
            .group_by(ACCOUNT.c.currency)
            .order_by(ACCOUNT.c.currency)
        ),
    )


def shaped(filters: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Which conditions a statement has, and its parameters."""
    given = {key: value for key, value in filters.items() if key not in ("custom", "text")}
    names = [key for key in filters if key != "custom"]
    if "text" in filters:
        given["text"] = like(filters["text"])
    for index, (key, value) in enumerate(sorted(filters.get("custom", {}).items())):
        names.append(f"custom:{index}")
        given |= {f"custom_{index}": {key: value}, f"custom_key_{index}": key, f"custom_value_{index}": value}
    return tuple(sorted(names)), given


@lru_cache(maxsize=128)
def _fitting(filters: tuple[str, ...], sqlite: bool) -> Scoped:
    return Scoped(
        "account",
        lambda scope: _found([ACCOUNT.c.id], scope, filters, sqlite).order_by(ACCOUNT.c.id).limit(bindparam("limit")),
    )


async def fitting(work: UnitOfWork, filters: dict[str, Any], limit: int) -> list[str]:
    """Ids of the accounts that fit, as the caller may see them in this transaction; filters as in `page`."""
    wire, principal = await work.wire(), work.principal
    shape, given = shaped(filters)
    statement = _fitting(shape, wire.dialect.name == "sqlite").seen_by(principal)
    return [row["id"] for row in await wire.rows(statement, scope_of(principal) | given | {"limit": limit})]


def like(text: str) -> str:
    """A LIKE pattern that finds `text` anywhere, its own wildcards taken literally."""
    escaped = name_key(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
