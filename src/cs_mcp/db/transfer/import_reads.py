"""What an import asks of the store, inside its own transaction: rows by source id, and what they refer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, String, bindparam, cast, func, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import Remembered
from cs_mcp.db.health.risks import RISK
from cs_mcp.db.history.changes import CHANGES, recorded_columns
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.wire import Wire

ACCOUNT: Final = AccountRow.__table__
CONTACT: Final = ContactRow.__table__
MEMBER: Final = MemberRow.__table__
MOVEMENT: Final = ArrMovementRow.__table__
SEAT: Final = SponsorshipRow.__table__
SUBSCRIPTION: Final = SubscriptionRow.__table__


@lru_cache(maxsize=64)
def kinds_of(row: type[Remembered]) -> tuple[frozenset[str], frozenset[str]]:
    """Columns of a table that are never empty, and its columns of 32 bits."""
    table: Any = row.__table__
    small = frozenset(c.key for c in table.c if isinstance(c.type, Integer) and not isinstance(c.type, BigInteger))
    return frozenset(c.key for c in table.c if not c.nullable), small


_SOURCE: Final = bindparam("source", type_=String)


def _statement(build: Callable[[], Any]) -> Statement:
    return Statement(build)


def _here(table: Any) -> Any:
    return table.c.workspace == bindparam("workspace")


def _listed(column: Any) -> Any:
    return any_of(column, texts("listed"))


def _whole(row: type[Remembered]) -> tuple[Any, ...]:
    """The columns an update compares with."""
    table: Any = row.__table__
    return tuple(table.c[name] for name in ("id", "version", *recorded_columns(row)))


def _from_source(row: type[Remembered]) -> Statement:
    table: Any = row.__table__
    return _statement(
        # No IS NOT NULL beside it: SQLite then reads the source's whole range of the index instead of looking up each.
        lambda: select(*_whole(row)).where(_here(table), table.c.source_system == _SOURCE, _listed(table.c.source_id))
    )


_by_source: Final[dict[str, Statement]] = {}


def _with_ids(row: type[Remembered]) -> Statement:
    table: Any = row.__table__
    return _statement(lambda: select(*_whole(row)).where(_here(table), _listed(table.c.id)))


def _merges(row: type[Remembered]) -> Statement:
    table: Any = row.__table__
    columns = (table.c.id, table.c.merged_into_id, table.c.source_system, table.c.source_id)
    return _statement(lambda: select(*columns).where(_here(table), table.c.merged_into_id.is_not(None)))


_ACCOUNTS_BY_ID: Final = _with_ids(AccountRow)
_MERGES: Final = {row.__tablename__: _merges(row) for row in (AccountRow, ContactRow)}

_MEMBERS: Final = _statement(lambda: select(*_whole(MemberRow)).where(_here(MEMBER), MEMBER.c.removed_at.is_(None)))

_CONTACTS: Final = _statement(
    lambda: select(CONTACT.c.id, CONTACT.c.account_id, CONTACT.c.name, CONTACT.c.email).where(
        _here(CONTACT), CONTACT.c.removed_at.is_(None), _listed(CONTACT.c.account_id)
    )
)
_MERGED_CONTACTS: Final = _statement(
    lambda: select(CONTACT.c.id, CONTACT.c.account_id, CONTACT.c.name, CONTACT.c.email).where(
        _here(CONTACT), CONTACT.c.merged_into_id.is_not(None), _listed(CONTACT.c.account_id)
    )
)

_SEATS: Final = _statement(lambda: select(*_whole(SponsorshipRow)).where(_here(SEAT), _listed(SEAT.c.contact_id)))

_LIVE_MOVEMENTS: Final = _statement(
    lambda: select(*_whole(ArrMovementRow)).where(
        _here(MOVEMENT), MOVEMENT.c.removed_at.is_(None), _listed(MOVEMENT.c.account_id)
    )
)

# No index holds removed rows, so they are asked for only where there are any: after an undo.
_REMOVED_MOVEMENTS: Final = _statement(
    lambda: select(*_whole(ArrMovementRow)).where(
        _here(MOVEMENT), MOVEMENT.c.removed_at.is_not(None), _listed(MOVEMENT.c.account_id)
    )
)
_ANY_REMOVED_MOVEMENT: Final = _statement(
    lambda: select(MOVEMENT.c.id).where(_here(MOVEMENT), MOVEMENT.c.removed_at.is_not(None)).limit(1)
)

_SUBSCRIPTIONS: Final = _statement(
    lambda: select(
        SUBSCRIPTION.c.id,
        SUBSCRIPTION.c.account_id,
        SUBSCRIPTION.c.source_id,
        SUBSCRIPTION.c.product,
        SUBSCRIPTION.c.starts_on,
        SUBSCRIPTION.c.ends_on,
        SUBSCRIPTION.c.canceled_on,
        SUBSCRIPTION.c.arr_minor,
        SUBSCRIPTION.c.currency,
        SUBSCRIPTION.c.trial,
    ).where(
        _here(SUBSCRIPTION),
        SUBSCRIPTION.c.removed_at.is_(None),
        SUBSCRIPTION.c.source_system == _SOURCE,
        _listed(SUBSCRIPTION.c.account_id),
    )
)


def _below_zero() -> Any:
    """Days at whose end an account's ledger in one currency says less than nothing."""
    live = (_here(MOVEMENT), MOVEMENT.c.removed_at.is_(None), _listed(MOVEMENT.c.account_id))
    day = (MOVEMENT.c.account_id, MOVEMENT.c.currency, MOVEMENT.c.on)
    moved = select(*day, func.sum(MOVEMENT.c.amount_minor).label("moved")).where(*live).group_by(*day).subquery("moved")
    so_far = func.sum(moved.c.moved).over(partition_by=(moved.c.account_id, moved.c.currency), order_by=moved.c.on)
    level = select(
        moved.c.account_id, moved.c.currency, moved.c.on, cast(so_far, BigInteger).label("arr_minor")
    ).subquery("level")
    return select(*level.c).where(level.c.arr_minor < 0).order_by(level.c.account_id, level.c.on)


_BELOW_ZERO: Final = _statement(_below_zero)


def _by_kind() -> Any:
    kinds = (MOVEMENT.c.account_id, MOVEMENT.c.kind)
    total = cast(func.sum(MOVEMENT.c.amount_minor), BigInteger).label("amount_minor")
    live = (_here(MOVEMENT), MOVEMENT.c.removed_at.is_(None), _listed(MOVEMENT.c.account_id))
    return select(*kinds, total).where(*live).group_by(*kinds)


_BY_KIND: Final = _statement(_by_kind)

_ACCOUNT_PAGE: Final = _statement(
    lambda: (
        select(*_whole(AccountRow))
        .where(
            _here(ACCOUNT),
            ACCOUNT.c.removed_at.is_(None),
            or_(ACCOUNT.c.source_system == _SOURCE, _listed(ACCOUNT.c.id)),
            ACCOUNT.c.id > bindparam("after", type_=String),
        )
        .order_by(ACCOUNT.c.id)
        .limit(bindparam("limit", type_=Integer))
    )
)

_ARR: Final = _statement(lambda: select(ACCOUNT.c.id, ACCOUNT.c.arr_minor).where(_here(ACCOUNT), _listed(ACCOUNT.c.id)))

_FIRST_DAYS: Final = _statement(
    lambda: (
        select(SUBSCRIPTION.c.account_id, func.min(SUBSCRIPTION.c.starts_on).label("starts_on"))
        .where(_here(SUBSCRIPTION), SUBSCRIPTION.c.removed_at.is_(None), _listed(SUBSCRIPTION.c.account_id))
        .group_by(SUBSCRIPTION.c.account_id)
    )
)

# A change outside any run was made by someone, through a tool. Written so that SQLite does not take the index of runs,
# in which all such changes are one entry.
_SET_BY_HAND: Final = _statement(
    lambda: select(CHANGES.c.entity_id, CHANGES.c.fields).where(
        _here(CHANGES),
        _listed(CHANGES.c.entity_id),
        func.coalesce(CHANGES.c.run_id, "") == "",
        CHANGES.c.kind == "updated",
    )
)


_OPEN_CASES: Final = _statement(
    lambda: select(RISK.c.account_id, RISK.c.id).where(
        _here(RISK), RISK.c.removed_at.is_(None), RISK.c.state == "open", _listed(RISK.c.account_id)
    )
)


def _twice(column: str) -> Statement:
    """Values that several accounts share, with two of their source ids."""

    def build() -> Any:
        value = ACCOUNT.c[column]
        return (
            select(
                value.label("value"),
                func.count().label("accounts"),
                func.min(func.coalesce(ACCOUNT.c.source_id, ACCOUNT.c.id)).label("first"),
                func.max(func.coalesce(ACCOUNT.c.source_id, ACCOUNT.c.id)).label("last"),
            )
            .where(_here(ACCOUNT), ACCOUNT.c.removed_at.is_(None), value.is_not(None))
            .group_by(value)
            .having(func.count() > 1)
            .order_by(value)
        )

    return _statement(build)


_SHARED: Final = {"name": _twice("name_key"), "domain": _twice("domain")}

_IN_ANOTHER_CURRENCY: Final = _statement(
    lambda: (
        select(ACCOUNT.c.source_id, ACCOUNT.c.currency)
        .where(
            _here(ACCOUNT),
            ACCOUNT.c.removed_at.is_(None),
            ACCOUNT.c.source_system == _SOURCE,
            ACCOUNT.c.currency != bindparam("currency", type_=String),
        )
        .order_by(ACCOUNT.c.source_id)
    )
)


def _end(record: str, into: Mapping[str, str]) -> str:
    while record in into:
        record = into[record]
    return record


class ImportReads:
    """Reads of one import's transaction. Lists are passed in chunks: one statement and one parameter a chunk.

    `once` keeps, for the whole import, what takes a walk through a table to find out.
    """

    def __init__(self, wire: Wire, workspace: str, source: str, once: dict[str, bool]) -> None:
        self._wire = wire
        self._workspace = workspace
        self._source = source
        self._once = once
        self._merges: dict[str, list[Row]] = {}

    async def _rows(self, statement: Statement, **given: Any) -> list[Row]:
        return await self._wire.rows(statement, {"workspace": self._workspace, "source": self._source} | given)

    async def by_source(self, row: type[Remembered], source_ids: Sequence[str]) -> dict[str, Row]:
        """Rows of this source by source id, removed ones too."""
        statement = _by_source.setdefault(row.__tablename__, _from_source(row))
        return {found["source_id"]: found for found in await self._rows(statement, listed=source_ids)}

    async def accounts(self, source_ids: Sequence[str]) -> dict[str, Row]:
        """Live accounts by source id; the id of a merged one leads to the one it is part of."""
        found = await self.by_source(AccountRow, source_ids)
        if any(row["merged_into_id"] for row in found.values()):
            kept = await self.kept(AccountRow)
            ids: dict[str, str] = {key: kept.get(row["id"]) or row["id"] for key, row in found.items()}
            rows = {row["id"]: row for row in await self._rows(_ACCOUNTS_BY_ID, listed=sorted(set(ids.values())))}
            found = {key: rows[record] for key, record in ids.items()}
        return {key: row for key, row in found.items() if row["removed_at"] is None}

    async def kept(self, row: type[Remembered]) -> dict[str, str]:
        """By the id of each merged record, the id of the one it is part of in the end."""
        merges = await self._merged(row)
        into = {merged["id"]: merged["merged_into_id"] for merged in merges}
        return {record: _end(record, into) for record in into}

    async def grown(self, row: type[Remembered]) -> set[str]:
        """Ids of the records that others were merged into."""
        return set((await self.kept(row)).values()) if row.__tablename__ in _MERGES else set()

    async def taken_in(self) -> dict[str, str]:
        """Accounts that this source does not tell of itself, only by one that was merged: id → that one's source id."""
        kept = await self.kept(AccountRow)
        ours = [row for row in await self._merged(AccountRow) if row["source_system"] == self._source]
        ours.sort(key=lambda row: row["source_id"], reverse=True)  # of several names the first one is used
        return {kept[row["id"]]: row["source_id"] for row in ours}

    async def _merged(self, row: type[Remembered]) -> list[Row]:
        name = row.__tablename__
        if name not in self._merges:
            self._merges[name] = await self._rows(_MERGES[name])
        return self._merges[name]

    async def members(self) -> dict[str, Row]:
        """Every live member by e-mail."""
        return {found["email"].casefold(): found for found in await self._rows(_MEMBERS)}

    async def contacts(self, accounts: Sequence[str]) -> list[Row]:
        """`id`, `account_id`, `name`, `email` of the accounts' live contacts, by what merged ones were called too."""
        live = await self._rows(_CONTACTS, listed=accounts)
        kept = await self.kept(ContactRow)
        merged = await self._rows(_MERGED_CONTACTS, listed=accounts) if kept else []
        there = {row["id"] for row in live}
        return live + [row | {"id": kept[row["id"]]} for row in merged if kept[row["id"]] in there]

    async def seats(self, contacts: Sequence[str]) -> list[Row]:
        """Sponsorships of the contacts, removed ones too."""
        return await self._rows(_SEATS, listed=contacts)

    async def live_movements(self, accounts: Sequence[str]) -> list[Row]:
        """The accounts' movements from every source."""
        return await self._rows(_LIVE_MOVEMENTS, listed=accounts)

    async def movements(self, accounts: Sequence[str]) -> list[Row]:
        """The accounts' movements from every source, removed ones too."""
        live = await self.live_movements(accounts)
        if "movement_removed" not in self._once:
            self._once["movement_removed"] = bool(await self._rows(_ANY_REMOVED_MOVEMENT))
        return live + await self._rows(_REMOVED_MOVEMENTS, listed=accounts) if self._once["movement_removed"] else live

    async def below_zero(self, accounts: Sequence[str]) -> list[Row]:
        """`account_id`, `currency`, `on` and `arr_minor` of days at whose end a ledger is below zero, in order."""
        return await self._rows(_BELOW_ZERO, listed=accounts)

    async def by_kind(self, accounts: Sequence[str]) -> list[Row]:
        """What live movements of each kind come to: `account_id`, `kind`, `amount_minor`."""
        return await self._rows(_BY_KIND, listed=accounts)

    async def subscriptions(self, accounts: Sequence[str]) -> list[Row]:
        """The accounts' live subscriptions that came from this source."""
        return await self._rows(_SUBSCRIPTIONS, listed=accounts)

    async def account_page(self, after: str, limit: int) -> list[Row]:
        """This source's live accounts in id order, and those that its accounts were merged into, under its names."""
        names = await self.taken_in()
        page = await self._rows(_ACCOUNT_PAGE, after=after, limit=limit, listed=sorted(names))
        return [row if row["source_system"] == self._source else row | {"source_id": names[row["id"]]} for row in page]

    async def arr(self, accounts: Sequence[str]) -> dict[str, int]:
        """ARR of today by account id, in minor units."""
        return {found["id"]: found["arr_minor"] for found in await self._rows(_ARR, listed=accounts)}

    async def first_days(self, accounts: Sequence[str]) -> dict[str, date]:
        """The first day under contract by account id."""
        return {found["account_id"]: found["starts_on"] for found in await self._rows(_FIRST_DAYS, listed=accounts)}

    async def open_cases(self, accounts: Sequence[str]) -> dict[str, str]:
        """The id of the open risk case by account id."""
        return {found["account_id"]: found["id"] for found in await self._rows(_OPEN_CASES, listed=accounts)}

    async def set_by_hand(self, records: Sequence[str]) -> dict[str, set[str]]:
        """By record id, the fields that someone changed outside any run."""
        fields: dict[str, set[str]] = {}
        for found in await self._rows(_SET_BY_HAND, listed=records):
            fields.setdefault(found["entity_id"], set()).update(found["fields"])
        return fields

    async def shared_by_accounts(self, what: str) -> list[Row]:
        """`value`, `accounts` (how many), `first` and `last` source id, of each name or domain that is there twice."""
        return await self._rows(_SHARED[what])

    async def in_another_currency(self, currency: str) -> list[Row]:
        """`source_id` and `currency` of this source's accounts that are not in `currency`."""
        return await self._rows(_IN_ANOTHER_CURRENCY, currency=currency)
