"""What a customer's usage came to by a day: one row of whole numbers an account, from facts or as kept.

`windows` computes it from the facts for any day; `kept` reads what usage/keeping.py keeps. Both give the columns of
`FIGURES`. Usage stays with the record it was told for, so what was merged into an account is added here: sums and
latest figures are added, days are united, and of core features the record that used most is taken.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.days import day_number
from cs_mcp.db.facts.terms import EVERY, Among
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.signals.signals import FeatureRow
from cs_mcp.db.usage.usage import (
    CORE,
    COUNTS,
    FIGURES,
    LATEST,
    SPAN,
    SPONSOR_WINDOWS,
    TOLD_ON,
    USAGE_DAY,
    USAGE_FEATURE,
    USAGE_ROLLUP,
    WINDOWS,
)
from cs_mcp.domain.signals.usage import WHOLE_ACCOUNT

RECENT_DAYS: Final = 7

AnySelect = Select[*tuple[Any, ...]]
_ACCOUNT: Final[Any] = AccountRow.__table__
_WORKSPACE: Final = bindparam("workspace", type_=String)


def windows(as_of: ColumnElement[Any], among: Among = EVERY) -> AnySelect:
    """The figures of each account with usage on or before the day `as_of` (a proleptic ordinal), from the facts.

    Columns: `account_id` and `FIGURES`.
    """
    merged = heirs()
    wanted: list[ColumnElement[bool]] = []
    if among is not EVERY:
        into = select(merged.c.record).where(among.of(merged.c.account_id))
        wanted.append(or_(among.of(_ACCOUNT.c.id), _ACCOUNT.c.id.in_(into)))
    return _folded(of_records(as_of, merged, wanted).cte("usage_windows"), merged, among)


def kept(among: Among = EVERY) -> AnySelect:
    """The same as `windows`, of the day that the rollup was brought to."""
    return _folded(USAGE_ROLLUP, heirs(), among)


# -- merged records ---------------------------------------------------------------------------------------------
def heirs() -> Any:
    """Each merged record with the account that the merges since then lead to."""
    first = select(_ACCOUNT.c.id.label("record"), _ACCOUNT.c.merged_into_id.label("account_id")).where(
        _ACCOUNT.c.workspace == _WORKSPACE, _ACCOUNT.c.merged_into_id.is_not(None)
    )
    steps = first.cte("merged", recursive=True)
    further = _ACCOUNT.alias("further")
    steps = steps.union(
        select(steps.c.record, further.c.merged_into_id)
        .join_from(steps, further, and_(further.c.workspace == _WORKSPACE, further.c.id == steps.c.account_id))
        # Which is not NULL then. Told so, SQLite would read all accounts at each step for a filter to try rows by.
        .where(further.c.merged_into_id != steps.c.account_id)
    )
    merged_too = steps.alias("merged_too")
    return (
        select(steps.c.record, steps.c.account_id)
        .where(steps.c.account_id.not_in(select(merged_too.c.record)))
        .cte("heirs")
    )


def added_usage(records: Any, among: Among, merged: Any = None) -> Any:
    """The figures of what was merged into each account, together, from those of records."""
    merged = heirs() if merged is None else merged
    return (
        select(merged.c.account_id, *(_united(name, records.c[name]) for name in FIGURES))
        .join_from(merged, records, _same(records, merged.c.record))
        .where(among.of(merged.c.account_id))
        .group_by(merged.c.account_id)
        .subquery("added")
    )


def _folded(records: Any, merged: Any, among: Among) -> AnySelect:
    live = _ACCOUNT.alias("live")
    added = added_usage(records, among, merged)
    own = records.alias("own")
    joined = live.outerjoin(own, _same(own, live.c.id)).outerjoin(added, added.c.account_id == live.c.id)
    return (
        select(live.c.id.label("account_id"), *(both(name, own.c[name], added.c[name]) for name in FIGURES))
        .select_from(joined)
        .where(
            live.c.workspace == _WORKSPACE,
            live.c.removed_at.is_(None),
            or_(own.c.last_day.is_not(None), added.c.last_day.is_not(None)),
            among.of(live.c.id),
        )
    )


def _same(records: Any, record: Any) -> ColumnElement[bool]:
    named = records.c.account_id == record
    return and_(records.c.workspace == _WORKSPACE, named) if "workspace" in records.c else named


_LARGEST: Final = frozenset({"last_day", *TOLD_ON, *COUNTS, *CORE})


def _united(name: str, column: Any) -> Any:
    if name == "first_day":
        return func.min(column).label(name)
    if name in _LARGEST:
        return func.max(column).label(name)
    return cast(func.sum(column), BigInteger).label(name)


def both(name: str, one: Any, other: Any) -> Any:
    """A figure of two records together."""
    if name == "first_day":
        together: Any = case((one <= other, one), else_=other)
    elif name in _LARGEST:
        together = case((one >= other, one), else_=other)
    else:
        together = one + other
    return case((one.is_(None), other), (other.is_(None), one), else_=together).label(name)


# -- one record -------------------------------------------------------------------------------------------------
def of_records(as_of: Any, merged: Any, wanted: list[ColumnElement[bool]]) -> AnySelect:
    """Figures of account records, merged ones too, from the facts; with the sponsor's department."""
    sums = _sums(as_of, merged, wanted).subquery("sums")
    record, department = sums.c.account_id, sums.c.sponsor_department
    told: dict[str, Any] = {
        "first_day": _edge(record, as_of, last=False),
        "last_day": _edge(record, as_of, last=True),
        "active_now": recent_users(record, as_of),
        "core_used_30": core_used(record, as_of),
        "core_total": core_total(),
    }
    for name, (metric, *_, day) in LATEST.items():
        told[name], told[day] = _on_day(metric, record, sums.c[day]), sums.c[day]
    for name, (*_, days) in WINDOWS.items():
        told[name], told[days] = sums.c[name], sums.c[days]
    for name, window in SPONSOR_WINDOWS.items():
        told[name], told[window[-1]] = _of_department(window, department, record, as_of)
    return select(record, department, *(told[name].label(name) for name in FIGURES))


def within(day: Any, as_of: Any, first: int, last: int) -> ColumnElement[bool]:
    """Whether `day` lies from `first` to `last` days before `as_of`, both included."""
    return and_(day <= as_of - first, day >= as_of - last)


def _lately(used: Any, record: Any, as_of: Any, first: int, last: int) -> ColumnElement[bool]:
    """The same of days that one record is told of, whichever index is the narrower."""
    return days_between(used.c.account_id, used.c.day, record, as_of - last, as_of - first)


class days_between(FunctionElement[bool]):  # noqa: N801 - reads as SQL
    """Whether the day of a row of an account, which equals the third, lies from the fourth to the fifth."""

    type = Boolean()
    inherit_cache = True
    name = "days_between"


@compiles(days_between, "postgresql")
def _days_between_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    # As pairs, which only the primary key has in this order: the index by days would be searched once for each day.
    account, day, record, first, last = (compiler.process(part, **kw) for part in element.clauses)
    return f"(({account}, {day}) >= ({record}, {first}) AND ({account}, {day}) <= ({record}, {last}))"


@compiles(days_between, "sqlite")
def _days_between_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    _, day, _, first, last = (compiler.process(part, **kw) for part in element.clauses)
    return f"({day} >= {first} AND {day} <= {last})"


def _sums(as_of: Any, merged: Any, wanted: list[ColumnElement[bool]]) -> AnySelect:
    used = USAGE_DAY.alias("used")
    joined = and_(
        used.c.workspace == _ACCOUNT.c.workspace,
        used.c.account_id == _ACCOUNT.c.id,
        used.c.department == WHOLE_ACCOUNT,
        within(used.c.day, as_of, 0, SPAN - 1),
    )
    columns: list[Any] = []
    for name, (metric, first, last, days) in WINDOWS.items():
        value = case((within(used.c.day, as_of, first, last), used.c[metric]))
        columns += [cast(func.sum(value), BigInteger).label(name), func.count(value).label(days)]
    for metric, first, last, day in LATEST.values():
        known = and_(within(used.c.day, as_of, first, last), used.c[metric].is_not(None))
        columns.append(cast(func.max(case((known, used.c.day))), BigInteger).label(day))
    return (
        select(
            _ACCOUNT.c.id.label("account_id"),
            sponsor_department(account_of(merged), as_of).label("sponsor_department"),
            *columns,
        )
        .select_from(_ACCOUNT.outerjoin(used, joined))
        .where(_ACCOUNT.c.workspace == _WORKSPACE, *wanted)
        .group_by(_ACCOUNT.c.workspace, _ACCOUNT.c.id)
    )


def account_of(merged: Any) -> Any:
    """The live account that a record counts for."""
    into = select(merged.c.account_id).where(merged.c.record == _ACCOUNT.c.id).correlate(_ACCOUNT).scalar_subquery()
    return case((_ACCOUNT.c.merged_into_id.is_(None), _ACCOUNT.c.id), else_=into)


def _days_of(record: Any, department: Any = WHOLE_ACCOUNT) -> tuple[Any, Any]:
    used = USAGE_DAY.alias()
    mine = and_(used.c.workspace == _WORKSPACE, used.c.account_id == record, used.c.department == department)
    return used, mine


def _edge(record: Any, as_of: Any, *, last: bool) -> Any:
    used, mine = _days_of(record)
    order = used.c.day.desc() if last else used.c.day
    found = select(used.c.day).where(mine, used.c.day <= as_of).order_by(order).limit(1)
    return cast(found.scalar_subquery(), BigInteger)


def _on_day(metric: str, record: Any, day: Any) -> Any:
    used, mine = _days_of(record)
    return select(used.c[metric]).where(mine, used.c.day == day).scalar_subquery()


def recent_users(record: Any, as_of: Any) -> Any:
    """The mean of active users over the last days that told them, in hundredths, halves rounded up."""
    used, mine = _days_of(record)
    known = and_(mine, _lately(used, record, as_of, 0, 29), used.c.active_users.is_not(None))
    days = select(used.c.active_users.label("users")).where(known).order_by(used.c.day.desc()).limit(RECENT_DAYS)
    last = days.correlate(record.table).subquery()
    total, count = cast(func.sum(last.c.users), BigInteger), func.count()
    return select(case((count > 0, mean_of(total, count)))).select_from(last).scalar_subquery()


def mean_of(total: Any, count: Any) -> Any:
    """In hundredths, halves rounded up."""
    return (200 * total + count) // (2 * count)


def _of_department(window: tuple[str, int, int, str], department: Any, record: Any, as_of: Any) -> tuple[Any, Any]:
    metric, first, last, _ = window
    known = department.is_not(None)
    used, mine = _days_of(record, department)
    total = select(cast(func.sum(used.c[metric]), BigInteger)).where(mine, _lately(used, record, as_of, first, last))
    used, mine = _days_of(record, department)
    days = select(func.count(used.c[metric])).where(mine, _lately(used, record, as_of, first, last))
    return case((known, total.scalar_subquery())), case((known, days.scalar_subquery()), else_=0)


def sponsor_department(account: Any, as_of: Any) -> Any:
    """The key of the department in which the account's executive sponsor of that day works."""
    seat: Any = SponsorshipRow.__table__.alias()
    contact: Any = ContactRow.__table__.alias()
    return (
        select(contact.c.department_key)
        .join_from(seat, contact, and_(contact.c.workspace == seat.c.workspace, contact.c.id == seat.c.contact_id))
        .where(
            seat.c.workspace == _WORKSPACE,
            seat.c.account_id == account,
            seat.c.role == "executive_sponsor",
            seat.c.removed_at.is_(None),
            day_number(seat.c.from_on) <= as_of,
            or_(seat.c.to_on.is_(None), day_number(seat.c.to_on) > as_of),
        )
        .order_by(seat.c.from_on.desc(), seat.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _core() -> tuple[Any, Any]:
    feature: Any = FeatureRow.__table__.alias()
    return feature, and_(feature.c.workspace == _WORKSPACE, feature.c.removed_at.is_(None), feature.c.is_core)


def core_total() -> Any:
    """How many core features the workspace knows."""
    feature, core = _core()
    return select(func.count()).select_from(feature).where(core).scalar_subquery()


def core_used(record: Any, as_of: Any) -> Any:
    """How many of the core features a record used in 30 days; NULL where there are none, or no use of any feature was
    told by then.
    """
    feature, core = _core()
    told, used = USAGE_FEATURE.alias(), USAGE_FEATURE.alias()
    mine = [and_(table.c.workspace == _WORKSPACE, table.c.account_id == record) for table in (told, used)]
    lately = exists(
        select(used.c.day)
        .where(mine[1], used.c.feature_id == feature.c.id, within(used.c.day, as_of, 0, 29), used.c.events > 0)
        .correlate(feature, record.table)
    )
    count = select(func.count()).select_from(feature).where(core, lately).scalar_subquery()
    any_use = exists(select(told.c.day).where(mine[0], told.c.day <= as_of).correlate(record.table))
    return case((and_(core_total() > 0, any_use), count))
