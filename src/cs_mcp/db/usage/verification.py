"""Is the kept usage rollup what the days of usage say? Every row that counts as up to date is computed anew."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Integer, String, and_, bindparam, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.read_path import Statement
from cs_mcp.db.signals.signals import FeatureRow
from cs_mcp.db.usage.keeping import core_key_of
from cs_mcp.db.usage.rollup import heirs, of_records
from cs_mcp.db.usage.usage import CORE, FIGURES, SPONSOR_WINDOWS, USAGE_ROLLUP

Row = Mapping[str, Any]
Asking = Generator[tuple[Statement, dict[str, Any]], Sequence[Row], None]

PAGE: Final = 1_000
_ROLLUP: Final = USAGE_ROLLUP
_WORKSPACE: Final = bindparam("workspace", type_=String)
_AS_OF: Final = bindparam("as_of", type_=Integer)
_OF_SPONSOR: Final = frozenset({*SPONSOR_WINDOWS, *(days for *_, days in SPONSOR_WINDOWS.values())})
# What waits to be read again where a fact shifted the row since.
_READ_AGAIN: Final = frozenset({"active_now", "core_used_30"})


def _current(rollup: Any = _ROLLUP) -> Any:
    """Rows that the next night would slide on; the others it computes from the facts, so nothing hangs on them."""
    return and_(rollup.c.workspace == _WORKSPACE, ~rollup.c.stale, rollup.c.as_of_day.is_not(None))


_DAYS: Final = Statement(lambda: select(_ROLLUP.c.as_of_day).where(_current()).distinct().order_by(_ROLLUP.c.as_of_day))


def _core() -> Any:
    feature: Any = FeatureRow.__table__
    core = (feature.c.workspace == _WORKSPACE, feature.c.removed_at.is_(None), feature.c.is_core)
    return select(feature.c.id).where(*core).order_by(feature.c.id)


def _kept() -> Any:
    named = (_ROLLUP.c.account_id, _ROLLUP.c.touched, _ROLLUP.c.core_key, _ROLLUP.c.sponsor_department)
    return (
        select(*named, *(_ROLLUP.c[name] for name in FIGURES))
        .where(_current(), _ROLLUP.c.as_of_day == _AS_OF, _ROLLUP.c.account_id > bindparam("after", type_=String))
        .order_by(_ROLLUP.c.account_id)
        .limit(PAGE)
    )


def _anew() -> Any:
    account: Any = AccountRow.__table__
    page = and_(
        account.c.id > bindparam("after", type_=String),
        account.c.id <= bindparam("last", type_=String),
        account.c.id.in_(select(_ROLLUP.c.account_id).where(_current(), _ROLLUP.c.as_of_day == _AS_OF)),
    )
    return of_records(_AS_OF, heirs(), [page])


_CORE: Final = Statement(_core)
_KEPT: Final = Statement(_kept)
_ANEW: Final = Statement(_anew)


def rollup_faults(workspace: str, faults: list[str]) -> Asking:
    """Asks for the rows page by page; what differs from the facts goes into `faults`, one line an account."""
    core = yield _CORE, {"workspace": workspace}
    core_key = core_key_of([row["id"] for row in core])
    for day in (yield _DAYS, {"workspace": workspace}):
        given = {"workspace": workspace, "as_of": day["as_of_day"], "after": ""}
        while kept := (yield _KEPT, given):
            last = kept[-1]["account_id"]
            anew = {row["account_id"]: row for row in (yield _ANEW, given | {"last": last})}
            faults += [told for row in kept if (told := _differs(row, anew.get(row["account_id"]), core_key))]
            given = given | {"after": last}


def _differs(kept: Row, anew: Row | None, core_key: str) -> str | None:
    if anew is None:
        return f"{kept['account_id']}: a usage rollup of no account"
    waiting: set[str] = set(_READ_AGAIN) if kept["touched"] else set()
    if kept["core_key"] != core_key:
        waiting |= set(CORE)
    if kept["sponsor_department"] != anew["sponsor_department"]:
        waiting |= _OF_SPONSOR
    wrong = [
        f"{name} is {kept[name]}, its days say {anew[name]}"
        for name in FIGURES
        if name not in waiting and kept[name] != anew[name]
    ]
    return f"{kept['account_id']}: usage rollup: {'; '.join(wrong[:3])}" if wrong else None
