"""Keeping the facts of accounts: doubted by the changes made since, and renewed where they are doubted or due.

A kept group is a function of the records and the day: however it came about, it equals what facts/groups.py reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    String,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
    union_all,
    update,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.facts.groups import GROUPS
from cs_mcp.db.facts.kept import ACCOUNT_FACTS, KEPT, kept_as, until
from cs_mcp.db.facts.terms import AS_OF_DAY, BATCH, LISTED, WORKSPACE, Among, one_of, too
from cs_mcp.db.facts.turns import TURNS, NextTurns
from cs_mcp.db.history.changes import CHANGES, PAYLOADS
from cs_mcp.db.read_path import Statement
from cs_mcp.db.wire import Wire
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.changes import ChangeKind

ACCOUNT: Final[Any] = AccountRow.__table__
_ALL: Final = (1 << len(KEPT)) - 1
_SPACE: Final[Any] = literal_column("' '", Text)
# Records that a group reads without following their days.
_READ_TOO: Final[Mapping[str, frozenset[str]]] = {
    "attendance": frozenset({"contact", "sponsorship"}),
    "ledger": frozenset({"account"}),
    "department": frozenset({"account", "contact"}),
}


def sources(group: str) -> frozenset[str]:
    """The entities whose changes may change the group."""
    return frozenset(turn.row.__tablename__ for turn in TURNS[group]) | _READ_TOO.get(group, frozenset())


# -- doubting -----------------------------------------------------------------------------------------------------
async def doubt(wire: Wire, workspace: str, *, since: int | None, upto: int) -> None:
    """Mark what the changes after `since` to `upto` touched; everything where `since` is None."""
    if since is None:
        await wire.many(_DOUBT_ALL, [{"workspace": workspace}])
    elif since < upto:
        await wire.many(_DOUBT, [{"workspace": workspace, "since": since, "upto": upto}])


def meaning(wire: Wire, calendar: Calendar) -> str:
    """What kept facts mean: another where they are read by other statements, or days are counted otherwise."""
    prepared = _whole(wire.dialect.name, "listed").prepared(wire.dialect)
    told = f"{calendar.time_zone} {prepared.sql} {prepared.constants}"
    return sha256(told.encode()).hexdigest()[:32]


_DOUBT_ALL: Final = Statement(
    lambda: (
        update(ACCOUNT_FACTS)
        .where(ACCOUNT_FACTS.c.workspace == WORKSPACE)
        .values({until(group): null() for group in KEPT})
    )
)


def _doubt() -> Any:
    read = sorted(frozenset[str]().union(*map(sources, KEPT)))
    lately = and_(
        CHANGES.c.workspace == WORKSPACE,
        CHANGES.c.seq > bindparam("since", type_=BigInteger),
        CHANGES.c.seq <= bindparam("upto", type_=BigInteger),
        one_of(CHANGES.c.entity, read),
    )
    # A record that moved from one account to another changes what both are told.
    moved = and_(CHANGES.c.kind != ChangeKind.created.value, cast(CHANGES.c.fields, Text).contains('"account_id"'))
    paid = and_(PAYLOADS.c.workspace == CHANGES.c.workspace, PAYLOADS.c.seq == CHANGES.c.seq)
    left: Any = PAYLOADS.c.before["account_id"].as_string()
    touched = union_all(
        select(CHANGES.c.account_id, CHANGES.c.entity).where(lately, CHANGES.c.account_id.is_not(None)),
        select(left.label("account_id"), CHANGES.c.entity).join_from(CHANGES, PAYLOADS, paid).where(lately, moved),
    ).subquery("touched")
    flags = {group: one_of(touched.c.entity, sorted(sources(group))) for group in KEPT}
    # With the workspace of its own: joined to a parameter, SQLite may read all accounts rather than these.
    by = (
        select(
            cast(WORKSPACE, String).label("workspace"),
            touched.c.account_id,
            *(func.max(case((flag, 1), else_=0)).label(g) for g, flag in flags.items()),
        )
        .group_by(touched.c.account_id)
        .subquery("by_account")
    )
    values = {until(group): case((by.c[group] == 0, ACCOUNT_FACTS.c[until(group)])) for group in KEPT}
    mine = (ACCOUNT_FACTS.c.workspace == by.c.workspace, ACCOUNT_FACTS.c.account_id == by.c.account_id)
    return update(ACCOUNT_FACTS).where(*mine).values(values)


_DOUBT: Final = Statement(_doubt)


# -- renewing -----------------------------------------------------------------------------------------------------
async def renew(wire: Wire, given: Mapping[str, Any]) -> list[str]:
    """Renew what waits or is due of a batch's accounts, given as a moment with `workspace`, `after`, `upto`, `size`.

    Gives those back whose sponsor may work in another department now. Few are read by their ids, many by the batch's
    range: what stands anyway comes out the same.
    """
    due = {row["due"]: sorted(row["ids"].split()) for row in await wire.rows(_DUE, given)}
    whole = due.pop(_ALL, [])
    dialect = wire.dialect.name
    if whole:
        await wire.many(_whole(dialect, _by(whole, given)), [dict(given) | {"accounts": whole}])
    for place, group in enumerate(KEPT):
        listed = sorted(chain.from_iterable(ids for bits, ids in due.items() if bits >> place & 1))
        if group == "department":
            whole += listed
        if listed:
            await wire.many(_renewal(group, _by(listed, given)), [dict(given) | {"accounts": listed}])
    return whole


def _by(listed: list[str], given: Mapping[str, Any]) -> str:
    return "batch" if len(listed) * 2 > given["size"] else "listed"


_AMONG: Final[Mapping[str, Among]] = {"batch": BATCH, "listed": LISTED}


def _due() -> Any:
    kept = ACCOUNT_FACTS
    waits = [
        case((kept.c[until(group)] > AS_OF_DAY, 0), else_=1 << place)  # NULL is not later
        for place, group in enumerate(KEPT)
    ]
    bits = waits[0]
    for wait in waits[1:]:
        bits = bits + wait
    told = kept.c.as_of_day <= AS_OF_DAY  # what was renewed for a later day says nothing
    due = case((told, bits), else_=_ALL)
    # Of most accounts nothing is due, which is found out in fewer steps than what is.
    any_due = case((and_(told, *(kept.c[until(group)] > AS_OF_DAY for group in KEPT)), 0), else_=1)
    return (
        select(due.label("due"), func.aggregate_strings(ACCOUNT.c.id, _SPACE).label("ids"))
        .select_from(ACCOUNT.outerjoin(kept, _same(kept, ACCOUNT)))
        .where(ACCOUNT.c.workspace == WORKSPACE, BATCH.of(ACCOUNT.c.id), ACCOUNT.c.removed_at.is_(None), any_due == 1)
        .group_by("due")
    )


def _same(kept: Any, account: Any) -> ColumnElement[bool]:
    named = and_(kept.c.workspace == account.c.workspace, kept.c.account_id == account.c.id)
    return and_(named, too(BATCH, kept.c.account_id))


_DUE: Final = Statement(_due)


def _found(groups: tuple[str, ...], among: Among) -> Any:
    """`account_id`, and for each group its columns as they are kept and its next turn."""
    turns = NextTurns(groups, among)
    source: Any = ACCOUNT
    columns: list[Any] = []
    for group in groups:
        if group not in GROUPS:
            continue
        read = GROUPS[group](among).subquery(group)
        source = source.outerjoin(read, read.c.account_id == ACCOUNT.c.id)
        columns += [read.c[name].label(kept_as(group, name)) for name in KEPT[group]]
    for read in turns.reads.values():
        source = source.outerjoin(read, read.c.account_id == ACCOUNT.c.id)
    columns += [turns.of(group).label(until(group)) for group in groups]
    return (
        select(ACCOUNT.c.id.label("account_id"), *columns)
        .select_from(source)
        .where(ACCOUNT.c.workspace == WORKSPACE, among.of(ACCOUNT.c.id), ACCOUNT.c.removed_at.is_(None))
    )


@cache
def _renewal(group: str, by: str) -> Statement:
    """One group of rows that are there."""

    def build() -> Any:
        among = _AMONG[by]
        found = _found((group,), among).subquery("found")
        kept = ACCOUNT_FACTS
        values = {column.key: column for column in found.c if column.key != "account_id"}
        return (
            update(kept)
            .where(kept.c.workspace == WORKSPACE, kept.c.account_id == found.c.account_id, among.of(kept.c.account_id))
            .values(values | {"as_of_day": AS_OF_DAY})
        )

    return Statement(build)


@cache
def _whole(dialect: str, by: str) -> Statement:
    """Every group, of rows that are there or not."""

    def build() -> Any:
        rows = _found(tuple(KEPT), _AMONG[by]).subquery("found")
        names = [column.key for column in rows.c if column.key != "account_id"]
        insert: Any = _insert(dialect)
        into = insert.from_select(
            ["workspace", "account_id", "as_of_day", *names],
            # SQLite reads ON CONFLICT after a SELECT only where a WHERE divides them.
            select(cast(WORKSPACE, String), rows.c.account_id, AS_OF_DAY, *(rows.c[name] for name in names)).where(
                rows.c.account_id.is_not(None)
            ),
        )
        return into.on_conflict_do_update(
            index_elements=["workspace", "account_id"],
            set_={name: into.excluded[name] for name in ("as_of_day", *names)},
        )

    return Statement(build)


# Each store's own insert, imported only where it is used: a dialect costs start-up time.
def _insert(dialect: str) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as of_postgresql

        return of_postgresql(ACCOUNT_FACTS)
    from sqlalchemy.dialects.sqlite import insert as of_sqlite

    return of_sqlite(ACCOUNT_FACTS)
