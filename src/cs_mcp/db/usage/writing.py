"""Writing usage: many figures at once, each kept under its key, whole accounts summed where nobody told them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Integer, bindparam, select

from cs_mcp.db.many_rows import Insertion, Upsertion
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.keeping import SHIFTED, TOLD_LAST, hold_usage, shift
from cs_mcp.db.usage.usage import FIGURES, USAGE_DAY, USAGE_FEATURE, USAGE_ROLLUP
from cs_mcp.db.wire import Wire
from cs_mcp.domain.signals.usage import METRICS, WHOLE_ACCOUNT

DayKey = tuple[str, int, str]  # account, day, department
FeatureKey = tuple[str, str, int, str]  # account, feature, day, department
FigureKey = tuple[str, int, str, str]  # account, day, metric or feature, department
Figures = list["int | None"]

_EVENTS: Final = METRICS.index("feature_events")
_NOTHING: Final[Figures] = [None] * len(METRICS)


@dataclass(slots=True)
class UsageTold:
    """Figures to store: metrics by their place in `METRICS`, and events by feature. Departments are keys."""

    days: dict[DayKey, dict[int, int]] = field(default_factory=dict[DayKey, "dict[int, int]"])
    features: dict[FeatureKey, int] = field(default_factory=dict[FeatureKey, int])

    def tell(self, account: str, day: int, metric: int, value: int, department: str = WHOLE_ACCOUNT) -> None:
        self.days.setdefault((account, day, department), {})[metric] = value

    def tell_feature(self, account: str, day: int, feature: str, events: int, department: str = WHOLE_ACCOUNT) -> None:
        self.features[account, feature, day, department] = events

    @property
    def places(self) -> set[tuple[str, int]]:
        """The days of accounts that are told of."""
        told = {(account, day) for account, day, _ in self.days}
        return told | {(account, day) for account, _, day, _ in self.features}


@dataclass(slots=True)
class UsageWritten:
    """What became of the figures told, and a digest of those that changed something."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    first_day: int | None = None
    last_day: int | None = None
    accounts: set[str] = field(default_factory=set[str])
    keys: set[FigureKey] | None = None  # those that changed, where asked for
    _digest: Any = field(default_factory=sha256)

    @property
    def changed(self) -> int:
        return self.created + self.updated

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def count(self, was: int | None, value: int, account: str, day: int, what: str, department: str) -> bool:
        """Whether the figure changes what is stored."""
        if was == value:
            self.unchanged += 1
            return False
        if was is None:
            self.created += 1
        else:
            self.updated += 1
        self.accounts.add(account)
        self.first_day = day if self.first_day is None else min(day, self.first_day)
        self.last_day = day if self.last_day is None else max(day, self.last_day)
        self._digest.update(f"{account} {day} {what} {department} {value}\n".encode())
        if self.keys is not None:
            self.keys.add((account, day, what, department))
        return True


async def write_usage(work: UnitOfWork, told: UsageTold, written: UsageWritten) -> None:
    """Store figures that differ from what is stored; the rollup of days on or before its own is computed again."""
    places = told.places
    if not places:
        return
    wire, workspace = await work.wire(), work.principal.workspace
    await hold_usage(wire, workspace)
    days, features = await _stored(wire, workspace, told, places)
    before = {key: (list(figures), bits) for key, (figures, bits) in days.items()}
    moved: dict[str, int] = {}  # account → the first day that moved
    rows = _merged_days(told, days, written, moved)
    events = _merged_features(told, features, written, moved)
    rows |= _summed(told, days, features, moved)
    await _write_days(wire, workspace, rows, days)
    await _write_features(wire, workspace, events)
    await _move_rollup(wire, workspace, rows, before, days, moved)


# -- what is stored ---------------------------------------------------------------------------------------------
Row = tuple[Figures, int]  # figures and the bits of those that nobody told


async def _stored(
    wire: Wire, workspace: str, told: UsageTold, places: set[tuple[str, int]]
) -> tuple[dict[DayKey, Row], dict[FeatureKey, int]]:
    given = {
        "workspace": workspace,
        "accounts": sorted({account for account, _ in places}),
        "first": min(day for _, day in places),
        "last": max(day for _, day in places),
    }
    days: dict[DayKey, Row] = {}
    for row in await wire.rows(_DAYS, given):
        if (row["account_id"], row["day"]) in places:
            key = (row["account_id"], row["day"], row["department"])
            days[key] = ([row[metric] for metric in METRICS], row["summed"])
    features: dict[FeatureKey, int] = {}
    if told.features or any(department != WHOLE_ACCOUNT for _, _, department in told.days):
        for row in await wire.rows(_EVENTS_OF_FEATURES, given):
            if (row["account_id"], row["day"]) in places:
                features[row["account_id"], row["feature_id"], row["day"], row["department"]] = row["events"]
    return days, features


def _between(table: Any) -> tuple[Any, ...]:
    return (
        table.c.workspace == bindparam("workspace"),
        any_of(table.c.account_id, texts("accounts")),
        table.c.day.between(bindparam("first", type_=Integer), bindparam("last", type_=Integer)),
    )


_DAYS: Final = Statement(lambda: select(USAGE_DAY).where(*_between(USAGE_DAY)))
_EVENTS_OF_FEATURES: Final = Statement(lambda: select(USAGE_FEATURE).where(*_between(USAGE_FEATURE)))


# -- what becomes of it -----------------------------------------------------------------------------------------
def _merged_days(
    told: UsageTold, stored: dict[DayKey, Row], written: UsageWritten, moved: dict[str, int]
) -> set[DayKey]:
    """Enter the told figures in `stored`; the keys of rows that differ now."""
    changed: set[DayKey] = set()
    for key, figures in told.days.items():
        account, day, department = key
        now, summed = stored.get(key, (_NOTHING, 0))
        now = list(now)
        for metric, value in figures.items():
            bit = 1 << metric
            was = None if summed & bit else now[metric]
            if written.count(was, value, account, day, METRICS[metric], department):
                now[metric], summed = value, summed & ~bit
                changed.add(key)
                moved[account] = min(day, moved.get(account, day))
        stored[key] = (now, summed)
    return changed


def _merged_features(
    told: UsageTold, stored: dict[FeatureKey, int], written: UsageWritten, moved: dict[str, int]
) -> dict[FeatureKey, int]:
    changed: dict[FeatureKey, int] = {}
    for key, value in told.features.items():
        account, feature, day, department = key
        if written.count(stored.get(key), value, account, day, feature, department):
            stored[key] = changed[key] = value
            moved[account] = min(day, moved.get(account, day))
    return changed


def _summed(
    told: UsageTold, days: dict[DayKey, Row], features: dict[FeatureKey, int], moved: dict[str, int]
) -> set[DayKey]:
    """Sum up what the day's parts tell and nobody told of the whole account; the keys of rows that differ now."""
    parts: dict[tuple[str, int], list[Figures]] = {}
    broken_down = {(a, day) for a, day, department in told.days if department != WHOLE_ACCOUNT}
    broken_down |= {(account, day) for account, _, day, _ in told.features}
    for (account, day, department), (figures, _) in days.items():
        if department != WHOLE_ACCOUNT and (account, day) in broken_down:
            parts.setdefault((account, day), []).append(figures)
    events = _events_by_day(features, broken_down)
    changed: set[DayKey] = set()
    for place in broken_down:
        account, day = place
        key = (account, day, WHOLE_ACCOUNT)
        was, summed = days.get(key, (_NOTHING, 0))
        now, bits = list(was), 0
        for metric in range(len(METRICS)):
            bit = 1 << metric
            if now[metric] is not None and not summed & bit:
                continue
            known = [value for figures in parts.get(place, ()) if (value := figures[metric]) is not None]
            total = sum(known) if known else events.get(place) if metric == _EVENTS else None
            now[metric] = total
            bits |= bit if total is not None else 0
        if key not in days or (now, bits) != (was, summed):
            days[key] = (now, bits)
            changed.add(key)
            moved[account] = min(day, moved.get(account, day))
    return changed


def _events_by_day(features: Mapping[FeatureKey, int], wanted: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Events of all features: those of the whole account, or of its departments where only they are told."""
    whole: dict[tuple[str, str, int], int] = {}
    by_department: dict[tuple[str, str, int], int] = {}
    for (account, feature, day, department), value in features.items():
        kind = whole if department == WHOLE_ACCOUNT else by_department
        kind[account, feature, day] = kind.get((account, feature, day), 0) + value
    totals: dict[tuple[str, int], int] = {}
    for (account, _, day), value in (by_department | whole).items():
        if (account, day) in wanted:
            totals[account, day] = totals.get((account, day), 0) + value
    return totals


# -- statements -------------------------------------------------------------------------------------------------
def _all_new(names: Iterable[str]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in names)


_DAY: Final = Upsertion(USAGE_DAY, _all_new((*METRICS, "summed")))
_FEATURE: Final = Upsertion(USAGE_FEATURE, _all_new(["events"]))
# A row made here waits to be computed; its first day is only there to be compared with.
_WAITING: Final = Upsertion(USAGE_ROLLUP, "")
_DOUBTED: Final = Upsertion(USAGE_ROLLUP, "stale = true WHERE usage_rollup.as_of_day >= excluded.first_day")


async def _write_days(wire: Wire, workspace: str, keys: set[DayKey], rows: Mapping[DayKey, Row]) -> None:
    if not keys:
        return
    ordered = sorted(keys)
    figures: Sequence[Sequence[Any]] = list(zip(*(rows[key][0] for key in ordered), strict=True))
    given: dict[str, Sequence[Any]] = {
        "workspace": [workspace] * len(ordered),
        "account_id": [account for account, _, _ in ordered],
        "day": [day for _, day, _ in ordered],
        "department": [department for _, _, department in ordered],
        "summed": [rows[key][1] for key in ordered],
    }
    await wire.insert(_DAY, given | dict(zip(METRICS, figures, strict=True)))


async def _write_features(wire: Wire, workspace: str, events: Mapping[FeatureKey, int]) -> None:
    if not events:
        return
    ordered = sorted(events)
    columns = list(zip(*ordered, strict=True))
    names = ("account_id", "feature_id", "day", "department")
    given: dict[str, Sequence[Any]] = dict(zip(names, columns, strict=True))
    given |= {"workspace": [workspace] * len(ordered), "events": [events[key] for key in ordered]}
    await wire.insert(_FEATURE, given)


class FreshUsage:
    """Figures of whole accounts for records that have none yet: nothing is compared, so many go in at once."""

    def __init__(self) -> None:
        self._days: list[tuple[str, int, tuple[int | None, ...]]] = []
        self._features: list[tuple[str, str, int, int]] = []

    def tell(self, account: str, day: int, figures: tuple[int | None, ...]) -> None:
        """`figures` in the order of `METRICS`."""
        self._days.append((account, day, figures))

    def tell_feature(self, account: str, feature: str, day: int, events: int) -> None:
        """On a day that `tell` tells feature events of."""
        self._features.append((account, feature, day, events))

    async def enter(self, work: UnitOfWork) -> int:
        """Store what was told; the number of rows."""
        wire, workspace = await work.wire(), work.principal.workspace
        rows, features = self._days, self._features
        self._days, self._features = [], []
        if not rows:
            return 0
        await hold_usage(wire, workspace)
        accounts, days, figures = zip(*rows, strict=True)
        given: dict[str, Sequence[Any]] = {"workspace": [workspace] * len(rows), "account_id": accounts, "day": days}
        given |= {"department": [WHOLE_ACCOUNT] * len(rows), "summed": [0] * len(rows)}
        await wire.insert(_FRESH_DAY, given | dict(zip(METRICS, zip(*figures, strict=True), strict=True)))
        if features:
            of, names, on, events = zip(*features, strict=True)
            given = {"workspace": [workspace] * len(features), "account_id": of, "feature_id": names, "day": on}
            given |= {"department": [WHOLE_ACCOUNT] * len(features), "events": events}
            await wire.insert(_FRESH_FEATURE, given)
        first: dict[str, int] = {}
        for account, day in zip(accounts, days, strict=True):
            if day < first.setdefault(account, day):
                first[account] = day
        await _doubt(wire, workspace, first)
        return len(rows) + len(features)


_FRESH_DAY: Final = Insertion(USAGE_DAY)
_FRESH_FEATURE: Final = Insertion(USAGE_FEATURE)


_A_FEW: Final = 6  # rows of an account: more of them are read again at once rather than shifted one by one


async def _move_rollup(
    wire: Wire,
    workspace: str,
    rows: Iterable[DayKey],
    before: Mapping[DayKey, Row],
    after: Mapping[DayKey, Row],
    moved: Mapping[str, int],
) -> None:
    """Tell the rollup of the days that came to differ."""
    many = Counter(account for account, _, _ in rows)
    few = [key for key in rows if many[key[0]] <= _A_FEW]
    shifted = {account for account, _, _ in few}
    await _doubt(wire, workspace, {account: day for account, day in moved.items() if account not in shifted})
    # Rows that are not there yet wait to be computed whole, as the others.
    await _wait(wire, workspace, {account: moved[account] for account in shifted}, _WAITING)
    if few:
        nothing: Row = (_NOTHING, 0)
        await shift(
            wire, workspace, [_shift_of(key, before.get(key, nothing)[0], after[key][0]) for key in sorted(few)]
        )


def _shift_of(key: DayKey, before: Figures, after: Figures) -> dict[str, Any]:
    account, day, department = key
    shifted: dict[str, Any] = {"account": account, "day": day, "department": department or None}
    for metric in SHIFTED:
        was, now = before[METRICS.index(metric)], after[METRICS.index(metric)]
        shifted[f"by_{metric}"] = (now or 0) - (was or 0)
        shifted[f"days_{metric}"] = (now is not None) - (was is not None)
    for metric in TOLD_LAST:
        shifted[f"told_{metric}"] = after[METRICS.index(metric)]
    return shifted


async def _doubt(wire: Wire, workspace: str, moved: Mapping[str, int]) -> None:
    await _wait(wire, workspace, moved, _DOUBTED)


async def _wait(wire: Wire, workspace: str, moved: Mapping[str, int], how: Upsertion) -> None:
    if not moved:
        return
    accounts = sorted(moved)
    nothing = [None] * len(accounts)
    given: dict[str, Sequence[Any]] = dict.fromkeys((*FIGURES, "as_of_day", "core_key", "sponsor_department"), nothing)
    given |= {
        "workspace": [workspace] * len(accounts),
        "account_id": accounts,
        "stale": [True] * len(accounts),
        "touched": [False] * len(accounts),
        "first_day": [moved[account] for account in accounts],
    }
    await wire.insert(how, given)
