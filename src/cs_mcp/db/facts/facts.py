"""The facts of accounts on a day, as columns: one row an account, from dated records only.

A statement names the facts it needs, and reads the feeds that these take: their records, or what is kept of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Double,
    Select,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.days import day_number
from cs_mcp.db.facts.groups import GROUPS
from cs_mcp.db.facts.kept import ACCOUNT_FACTS, kept_as
from cs_mcp.db.facts.people import met_since
from cs_mcp.db.facts.terms import (
    AS_OF,
    AS_OF_DAY,
    UNTIL,
    WORKSPACE,
    Among,
    boolean,
    decimal,
    divided,
    number,
    quotient,
    ratio,
    seconds,
    too,
)
from cs_mcp.db.usage.rollup import added_usage, both, windows
from cs_mcp.db.usage.usage import USAGE_ROLLUP
from cs_mcp.domain.accounts.accounts import Stage, Touch
from cs_mcp.domain.health.rubric import Cadence

AnySelect = Select[*tuple[Any, ...]]
Columns = Mapping[str, ColumnElement[Any]]
ACCOUNT: Final[Any] = AccountRow.__table__
DAYS_TO_COMPARE: Final = 7  # days with data that each of two windows needs


class Asked:
    """Columns of one grouped read; remembers which were asked for."""

    def __init__(self, read: Any) -> None:
        self._read = read
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return self._read.c[name]

    def __getattr__(self, name: str) -> Any:
        return self[name]

    @property
    def beside(self) -> list[tuple[Any, Any]]:
        """What it reads, and how that is joined to the account."""
        return [(self._read, self._read.c.account_id == ACCOUNT.c.id)]


class Kept(Asked):
    """The same columns as they are kept."""

    def __init__(self, group: str, among: Among) -> None:
        super().__init__(ACCOUNT_FACTS)
        self._group = group
        self._among = among

    def __getitem__(self, name: str) -> Any:
        return ACCOUNT_FACTS.c[kept_as(self._group, name)]

    @property
    def beside(self) -> list[tuple[Any, Any]]:
        return [(ACCOUNT_FACTS, _own(ACCOUNT_FACTS, self._among))]


class KeptUsage(Asked):
    """Figures of usage as they are kept, of the account and of what was `merged` into it."""

    def __init__(self, among: Among, *, merged: bool) -> None:
        super().__init__(None)
        self._among = among
        self._own = USAGE_ROLLUP.alias("own_usage")
        self._added = added_usage(USAGE_ROLLUP, among) if merged else None

    def __getitem__(self, name: str) -> Any:
        own = self._own.c[name]
        return own if self._added is None else both(name, own, self._added.c[name])

    @property
    def beside(self) -> list[tuple[Any, Any]]:
        read = [(self._own, _own(self._own, self._among))]
        return read if self._added is None else [*read, (self._added, self._added.c.account_id == ACCOUNT.c.id)]


def _own(kept: Any, among: Among) -> ColumnElement[bool]:
    """A kept row is the account's."""
    return and_(kept.c.workspace == WORKSPACE, kept.c.account_id == ACCOUNT.c.id, too(among, kept.c.account_id))


class Feeds:
    """The grouped reads of one statement, made as they are asked for.

    `asked` names the columns that are needed of each: SQLite computes what nobody asks for as well.
    """

    def __init__(
        self,
        among: Among,
        cadence: Cadence,
        *,
        rollup: bool,
        merged: bool = True,
        asked: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.cadence = cadence
        self._among = among
        self._rollup = rollup
        self._merged = merged
        self._asked = asked
        self.made: dict[str, Asked] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.made:
            self.made[name] = self._kept(name) if self._rollup else Asked(self._read(name))
        return self.made[name]

    def _kept(self, name: str) -> Asked:
        return KeptUsage(self._among, merged=self._merged) if name == "usage" else Kept(name, self._among)

    def _read(self, name: str) -> Any:
        read = windows(AS_OF_DAY, self._among) if name == "usage" else GROUPS[name](self._among)
        if self._asked is not None:
            wanted = [c for c in read.selected_columns if c.key == "account_id" or c.key in self._asked[name]]
            read = read.with_only_columns(*wanted, maintain_column_froms=True)
        return read.subquery(name)

    def joined(self, source: Any) -> Any:
        """`source` with each read beside it, by account."""
        beside = {read: same for made in self.made.values() for read, same in made.beside}
        for read, same in beside.items():
            source = source.outerjoin(read, same)
        return source


Expression = Callable[[Feeds], Any]


def _days_since(day: Any) -> Any:
    return AS_OF_DAY - day


def _where(known: Any, value: Any) -> Any:
    """The value where something is known, else NULL."""
    return case((known, value), else_=null())


def _active_change(feeds: Feeds, now: str, days: str, before: str, days_before: str) -> Any:
    used = feeds.usage
    comparable = and_(used[days] >= DAYS_TO_COMPARE, used[days_before] >= DAYS_TO_COMPARE)
    return _where(comparable, ratio(used[now] * used[days_before], used[before] * used[days]) - 1.0)


def _cadence(feeds: Feeds) -> Any:
    days = feeds.cadence.model_dump()
    return case(*((ACCOUNT.c.touch == touch.value, literal(days[touch.value])) for touch in Touch))


def _sponsors_told(feeds: Feeds) -> Any:
    return or_(feeds.seats.sponsors.is_not(None), feeds.contacts.contacts > 0)


def _in_seat(column: str) -> Expression:
    return lambda feeds: _where(_sponsors_told(feeds), boolean(func.coalesce(feeds.seats[column], 0)))


def _sponsor_departed(feeds: Feeds) -> Any:
    seat = feeds.seats
    met = met_since(ACCOUNT.c.id, seat.sponsor_id, seat.departed_day, seat.seated_day)
    gone = case((seat.departed_day.is_(None), false()), (seat.sponsors == 0, true()), else_=~met)
    return _where(seat.sponsors.is_not(None), gone)


def _sponsor_age(feeds: Feeds) -> Any:
    told, met = feeds.seats.confirmed_day, feeds.attendance.sponsor_met_day
    return _where(feeds.seats.sponsors == 1, _days_since(case((met > told, met), else_=told)))


def _days_to_renewal(feeds: Feeds) -> Any:
    renews = _where(ACCOUNT.c.renewal_on >= AS_OF, day_number(ACCOUNT.c.renewal_on))
    return func.coalesce(feeds.subscriptions.ends_day, renews) - AS_OF_DAY


def _after_meetings(column: str) -> Expression:
    """Zero where meetings are told of the account and none of this kind."""
    return lambda feeds: _where(feeds.meetings.touched_day.is_not(None), func.coalesce(feeds.attendance[column], 0))


def _of_both(feeds: Feeds, column: str) -> Any:
    return func.coalesce(feeds.notes[column], 0) + func.coalesce(feeds.meetings[column], 0)


def _missing(type_: Any) -> Expression:
    return lambda _feeds: cast(null(), type_)


def _columns(group: str, *names: str) -> dict[str, Expression]:
    def column(name: str) -> Expression:
        return lambda feeds: getattr(feeds, group)[name]

    return {name: column(name) for name in names}


# Facts of feeds that are still to come.
TO_COME: Final[Mapping[str, Any]] = {
    "objectives_open": Double,
    "objectives_on_track": Double,
    "value_age_days": Double,
    "first_value_reached": Boolean,
    "first_value_overdue": Boolean,
}
EXPRESSIONS: Final[Mapping[str, Expression]] = {
    "segment": lambda _feeds: ACCOUNT.c.segment,
    "tier": lambda _feeds: ACCOUNT.c.tier,
    "touch": lambda _feeds: ACCOUNT.c.touch,
    # -- usage
    "usage_age_days": lambda feeds: AS_OF_DAY - feeds.usage.last_day,
    "active_now": lambda feeds: quotient(number(feeds.usage.active_now), decimal(100.0)),
    "active_change": lambda feeds: _active_change(feeds, "active_30", "days_30", "active_prev_30", "days_prev_30"),
    "power_w1": lambda feeds: _where(feeds.usage.power_days_w1 > 0, feeds.usage.power_w1),
    "power_w2": lambda feeds: _where(feeds.usage.power_days_w2 > 0, feeds.usage.power_w2),
    "power_w3": lambda feeds: _where(feeds.usage.power_days_w3 > 0, feeds.usage.power_w3),
    "sponsor_dept_change": lambda feeds: _active_change(
        feeds, "sponsor_dept_30", "sponsor_dept_days_30", "sponsor_dept_prev_30", "sponsor_dept_days_prev_30"
    ),
    "core_used_30": lambda feeds: _where(feeds.usage.core_total > 0, feeds.usage.core_used_30),
    **_columns("usage", "seats_used", "active_30", "active_prev_30", "days_30", "days_prev_30", "events_30"),
    **_columns("usage", "events_prev_30", "sponsor_dept_30", "sponsor_dept_prev_30", "integrations"),
    **_columns("usage", "integrations_prev", "core_total"),
    # -- support
    "resolution_hours": lambda feeds: ratio(feeds.tickets.resolution_seconds, feeds.tickets.resolved_90 * 3600),
    **_columns("tickets", "open_sev1", "open_sev2", "open_tickets", "tickets_30", "tickets_prev_60", "resolved_90"),
    **_columns("tickets", "sla_told_90", "sla_breaches_90", "escalations_90"),
    # -- sentiment
    "survey_answers": lambda feeds: feeds.surveys.survey_answers,
    "survey_score": lambda feeds: ratio(feeds.surveys.weighted, feeds.surveys.weights * 100),
    "survey_age_days": lambda feeds: divided(seconds(UNTIL) - 1 - feeds.surveys.newest_second, 86400),
    "nps_latest": lambda feeds: feeds.newest_nps.nps_latest,
    "sentiments_90": lambda feeds: func.nullif(_of_both(feeds, "sentiments"), 0),
    "sentiment_sum": lambda feeds: _where(_of_both(feeds, "sentiments") > 0, _of_both(feeds, "sentiment_sum")),
    # -- relationship
    "touch_age_days": lambda feeds: _days_since(feeds.meetings.touched_day),
    "cadence_days": _cadence,
    "review_age_days": lambda feeds: _days_since(feeds.meetings.reviewed_day),
    "attended_365": lambda feeds: feeds.meetings.attended_365,
    "engaged_contacts": _after_meetings("engaged_contacts"),
    "engaged_heights": _after_meetings("engaged_heights"),
    "engaged_functions": _after_meetings("engaged_functions"),
    "contacts": lambda feeds: feeds.contacts.contacts,
    "sponsor_present": _in_seat("sponsors"),
    "sponsor_departed": _sponsor_departed,
    "sponsor_age_days": _sponsor_age,
    "champion_present": _in_seat("champions"),
    # -- commercial
    "overdue_days": lambda feeds: _where(
        feeds.invoices.invoices_365.is_not(None), func.coalesce(_days_since(feeds.invoices.oldest_due_day), 0)
    ),
    **_columns("invoices", "invoices_365", "late_365"),
    **_columns("ledger", "arr_minor", "contracted_365_minor"),
    **_columns("subscriptions", "seats_licensed", "term_months"),
    "auto_renew": lambda feeds: boolean(feeds.subscriptions.auto_renews),
    "days_to_renewal": _days_to_renewal,
    **_columns("company_events", "company_events_180", "bad_events_180"),
    **{name: _missing(type_) for name, type_ in TO_COME.items()},
}


def facts_of(
    names: Collection[str],
    among: Among,
    cadence: Cadence,
    *,
    rollup: bool,
    merged: bool = True,
    carried: Collection[Any] = (),
) -> AnySelect:
    """`account_id`, `segment`, what is `carried` of the account, and the named facts of those that are customers on
    the day.

    With `rollup` they come from what is kept, which must stand at the day; else from the records themselves. Without
    `merged`, what is kept of usage is the account's own.
    """
    named = [name for name in names if name != "segment"]
    first = Feeds(among, cadence, rollup=rollup, merged=merged)
    _expressed(named, first)
    asked = {group: columns.names for group, columns in first.made.items()}
    feeds = Feeds(among, cadence, rollup=rollup, merged=merged, asked=asked)
    wanted, gone = _expressed(named, feeds)
    return (
        select(ACCOUNT.c.id.label("account_id"), ACCOUNT.c.segment, *carried, *wanted)
        .select_from(feeds.joined(ACCOUNT))
        .where(
            ACCOUNT.c.workspace == WORKSPACE,
            among.of(ACCOUNT.c.id),
            ACCOUNT.c.removed_at.is_(None),
            or_(ACCOUNT.c.created_on.is_(None), ACCOUNT.c.created_on <= AS_OF),
            ~gone,
        )
    )


def _expressed(names: Collection[str], feeds: Feeds) -> tuple[list[Any], Any]:
    """The facts as columns, and whether the account is a customer no more."""
    wanted = [EXPRESSIONS[name](feeds).label(name) for name in names]
    # Who churned is no customer any more, but was one while the ledger says so.
    gone = and_(ACCOUNT.c.stage == Stage.churned.value, func.coalesce(feeds.ledger.arr_minor, 0) <= 0)
    return wanted, gone
