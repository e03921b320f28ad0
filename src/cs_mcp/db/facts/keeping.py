"""Keeping the facts of accounts: doubted by the changes made since, and renewed where they are doubted or due.

A kept group is a function of the records and the day: however it came about, it equals what facts/groups.py reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
    update,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.facts.groups import GROUPS
from cs_mcp.db.facts.kept import ACCOUNT_DOUBT, ACCOUNT_FACTS, KEPT, kept_as, until
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
    """Note what the changes after `since` to `upto` touched; everything where `since` is None."""
    if since is None:
        await wire.many(_DOUBT_ALL, [{"workspace": workspace}])
    elif since < upto:
        await wire.many(_noting(wire.dialect.name), [{"workspace": workspace, "since": since, "upto": upto}])


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


@cache
def _noting(dialect: str) -> Statement:
    return Statement(lambda: _doubt(_insert(dialect, ACCOUNT_DOUBT)))


def _doubt(insert: Any) -> Any:
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
    groups: Any = literal(0, Integer)
    for place, group in enumerate(KEPT):
        read_from = one_of(touched.c.entity, sorted(sources(group)))
        groups = groups + func.max(case((read_from, 1 << place), else_=0))
    rows = (
        select(cast(WORKSPACE, String), touched.c.account_id, cast(groups, Integer))
        .where(touched.c.account_id.is_not(None))
        .group_by(touched.c.account_id)
        .order_by(touched.c.account_id)
    )
    into = insert.from_select(["workspace", "account_id", "groups"], rows)
    both = ACCOUNT_DOUBT.c.groups.op("|")(into.excluded.groups)
    return into.on_conflict_do_update(index_elements=["workspace", "account_id"], set_={"groups": both})


# -- renewing -----------------------------------------------------------------------------------------------------
async def renew(wire: Wire, given: Mapping[str, Any]) -> list[str]:
    """Renew what waits or is due of a batch's accounts, given as a moment with `workspace`, `after`, `upto`, `size`.

    Gives those back whose sponsor may work in another department now. Few are read by their ids, many by the batch's
    range: what stands anyway comes out the same.
    """
    touched = {row["account_id"]: row["groups"] for row in await wire.rows(_TOUCHED, given)}
    due = {row["due"]: sorted(row["ids"].split()) for row in await wire.rows(_DUE, given)}
    whole = due.pop(_ALL, [])
    dialect = wire.dialect.name
    if whole:
        await wire.many(_whole(dialect, _by(whole, given)), [dict(given) | {"accounts": whole}])
    for place, group in enumerate(KEPT):
        listed = {account for account, groups in touched.items() if groups >> place & 1}.difference(whole)
        listed = sorted(listed.union(*(ids for groups, ids in due.items() if groups >> place & 1)))
        if group == "department":
            whole += listed
        if listed:
            await wire.many(_renewal(group, _by(listed, given)), [dict(given) | {"accounts": listed}])
    return whole


def _by(listed: list[str], given: Mapping[str, Any]) -> str:
    return "batch" if len(listed) * 2 > given["size"] else "listed"


_AMONG: Final[Mapping[str, Among]] = {"batch": BATCH, "listed": LISTED}


def _touched() -> Any:
    """What was noted of the accounts of a batch, and is from now on no more. Of a removed one it stays."""
    there = select(ACCOUNT.c.id).where(
        ACCOUNT.c.workspace == WORKSPACE, ACCOUNT.c.id == ACCOUNT_DOUBT.c.account_id, ACCOUNT.c.removed_at.is_(None)
    )
    noted = delete(ACCOUNT_DOUBT).where(
        ACCOUNT_DOUBT.c.workspace == WORKSPACE, BATCH.of(ACCOUNT_DOUBT.c.account_id), there.exists()
    )
    return noted.returning(ACCOUNT_DOUBT.c.account_id, ACCOUNT_DOUBT.c.groups)


_TOUCHED: Final = Statement(_touched)


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
        insert: Any = _insert(dialect, ACCOUNT_FACTS)
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
def _insert(dialect: str, table: Table) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as of_postgresql

        return of_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as of_sqlite

    return of_sqlite(table)
