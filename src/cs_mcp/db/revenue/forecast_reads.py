"""The forecast's figures: summed by quarter, category and group, compared with an earlier day, and looked back on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import String, cast, func, null, select

from cs_mcp.db.members import MemberRow
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.renewals.scope import OWNER, RENEWAL, in_book
from cs_mcp.db.revenue.forecast_compared import before, came, changed
from cs_mcp.db.revenue.forecast_history import CLOSED_BY_BAND, FORETOLD, history_given
from cs_mcp.db.revenue.forecast_lines import (
    ASKED_OWNER,
    FIRST,
    LAST,
    ON,
    THEN,
    WORKSPACE,
    Quarters,
    Shape,
    closed_stage,
    held_by,
    in_its_account,
    lines_as_they_stand,
    odds_given,
    quarter_of,
    total,
)
from cs_mcp.db.revenue.forecast_tables import SNAPSHOTS
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.forecast import Odds

MEMBER: Final[Any] = MemberRow.__table__


def _lines(scope: Conditions, shape: Shape) -> Any:
    if shape.kept:
        kept = select(*(column for column in SNAPSHOTS.c if column.key != "workspace"))
        found = kept.select_from(in_its_account(SNAPSHOTS)).where(*scope, SNAPSHOTS.c.on == ON)
        return found.where(SNAPSHOTS.c.close_on.between(FIRST, LAST), *held_by(of_owner=shape.of_owner))
    found = lines_as_they_stand([*scope, *in_book(scope)]).where(RENEWAL.c.closes_on.between(FIRST, LAST))
    return found.where(OWNER == ASKED_OWNER) if shape.of_owner else found


@lru_cache(maxsize=64)
def _sums(shape: Shape) -> Scoped:
    def build(scope: Conditions) -> Any:
        of = _lines(scope, shape).subquery("lines").c
        group = null() if shape.group_by is None else of[{"owner": "owner_id"}.get(shape.group_by, shape.group_by)]
        each = select(
            quarter_of(of.close_on, shape.quarters).label("quarter"),
            of.currency,
            closed_stage(of.stage).label("closed"),
            of.category,
            cast(group, String).label("group"),
            *(of[name] for name in ("amount_minor", "expected_minor", "arr_minor")),
        ).subquery("each")
        by = [each.c[name] for name in ("quarter", "currency", "closed", "category", "group")]
        sums = [total(each.c[name], name) for name in ("amount_minor", "expected_minor", "arr_minor")]
        return select(*by, func.count().label("renewals"), *sums).group_by(*by)

    return Scoped("account" if shape.kept else "renewal", build)


_KEPT: Final = Statement(
    lambda: select(
        *(
            select(pick(SNAPSHOTS.c.on)).where(SNAPSHOTS.c.workspace == WORKSPACE, *when).scalar_subquery().label(name)
            for name, pick, when in (
                ("first", func.min, ()),
                ("on", func.max, (SNAPSHOTS.c.on <= ON,)),
                ("then", func.max, (SNAPSHOTS.c.on <= THEN,)),
            )
        )
    )
)
_EVERY_MEMBER: Final = Scoped(
    "member", lambda scope: select(MEMBER.c.id, MEMBER.c.name).where(*scope), removed_too=True
)


class Kept(NamedTuple):
    """Days of snapshots: the first there is, and the newest up to the day asked for and the day compared to."""

    first: date | None
    on: date | None
    then: date | None


class Compared(NamedTuple):
    before: list[Row]
    changed: list[Row]


class ForecastReads(ScopedReads):
    async def kept(self, principal: Principal, on: date, then: date) -> Kept:
        [[row]] = await self.rows(principal, [_KEPT], on=on, then=then)
        return Kept(row["first"], row["on"], row["then"])

    async def closed_by_band(self, principal: Principal, today: date) -> dict[Band, tuple[int, int]]:
        """(won, closed) of the whole workspace, so that a renewal is expected to bring the same whoever asks."""
        [rows] = await self.rows(principal, [CLOSED_BY_BAND], **history_given(today))
        return {Band(row["band"]): (row["won"], row["closed"]) for row in rows}

    async def sums(
        self,
        principal: Principal,
        shape: Shape,
        quarters: Quarters,
        *,
        odds: Mapping[Band, Odds],
        on: date,
        owner: str | None,
    ) -> list[Row]:
        """By quarter (its number), currency, closed stage or "", category and group."""
        [rows] = await self.rows(
            principal, [_sums(shape)], **quarters.given(), **odds_given(odds), on=on, **_owner(owner)
        )
        return rows

    async def compared(
        self,
        principal: Principal,
        shape: Shape,
        quarters: Quarters,
        *,
        odds: Mapping[Band, Odds],
        on: date,
        then: date,
        owner: str | None,
    ) -> Compared:
        """Sums of the snapshot of `then`, and the renewals that stand otherwise on `on`."""
        of = shape._replace(group_by=None)
        was, moved, new = await self.rows(
            principal,
            [before(of), changed(of), came(of)],
            **quarters.given(),
            **odds_given(odds),
            on=on,
            then=then,
            **_owner(owner),
        )
        return Compared(was, moved + new)

    async def foretold(self, principal: Principal, first: date, last: date, *, owner: str | None) -> list[Row]:
        statement = FORETOLD[owner is not None]
        [rows] = await self.rows(principal, [statement], first=first, last=last, **_owner(owner))
        return rows

    async def people(self, principal: Principal) -> dict[str, str]:
        [rows] = await self.rows(principal, [_EVERY_MEMBER])
        return {row["id"]: row["name"] for row in rows}


def _owner(owner: str | None) -> dict[str, str]:
    return {} if owner is None else {"owner": owner}
