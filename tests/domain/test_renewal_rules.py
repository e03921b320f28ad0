"""The rules of renewals: terms, checkpoints, and what closing one posts."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.accounts.accounts import Tier
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.renewals.checkpoints import CheckpointState, checkpoints
from cs_mcp.domain.renewals.ledger import Posted, Posting, balance, lost, won
from cs_mcp.domain.renewals.renewals import CYCLE, Renewal, RenewalStage
from cs_mcp.domain.renewals.terms import Term, current_term, months_of, next_term_end, notice_deadline, rolling_term_end
from cs_mcp.domain.revenue.subscriptions import MovementKind

TODAY = date(2026, 3, 16)
DAY = timedelta(days=1)
ROLLING = {"ends_on": None, "term_months": 12}
days = st.dates(date(2020, 1, 1), date(2030, 12, 31))


def term(**told: object) -> Term | None:
    plain = {
        "starts_on": date(2025, 4, 1), "ends_on": date(2026, 3, 31), "canceled_on": None, "term_months": None,
        "notice_days": 10, "trial": False, "arr_minor": 1, "today": TODAY,
    }  # fmt: skip
    return current_term(**(plain | told))  # type: ignore[arg-type]


# -- terms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, Term(date(2026, 3, 31), date(2026, 3, 21))),
        ({"notice_days": None}, Term(date(2026, 3, 31), date(2026, 3, 31))),
        ({"notice_days": 100_000}, Term(date(2026, 3, 31), date(2025, 4, 1))),
        ({"ends_on": TODAY}, Term(TODAY, date(2026, 3, 6))),
        ({"ends_on": TODAY - DAY}, None),
        ({"starts_on": date(2026, 6, 1), "ends_on": date(2027, 5, 31)}, Term(date(2027, 5, 31), date(2027, 5, 21))),
        ({"starts_on": date(2026, 6, 1), "ends_on": date(2026, 5, 1)}, None),
        ({"trial": True}, None),
        ({"arr_minor": 0}, None),
        ({"canceled_on": date(2026, 2, 1)}, None),
        ({"ends_on": None}, None),
        ({"ends_on": date(9999, 12, 31)}, None),
        ({"ends_on": None, "term_months": 0}, None),
        ({"ends_on": None, "term_months": 12}, Term(date(2026, 3, 31), date(2026, 3, 21))),
        ({"ends_on": None, "term_months": 1}, Term(date(2026, 3, 31), date(2026, 3, 21))),
        ({"ends_on": None, "term_months": 2**31}, None),
        # A leap day's anniversary is the last of February; the contract ends the day before.
        (ROLLING | {"starts_on": date(2024, 2, 29)}, Term(date(2027, 2, 27), date(2027, 2, 17))),
        (ROLLING | {"starts_on": date(2024, 2, 29), "term_months": 48}, Term(date(2028, 2, 28), date(2028, 2, 18))),
        (ROLLING | {"starts_on": date(2026, 1, 31), "term_months": 1}, Term(date(2026, 3, 30), date(2026, 3, 20))),
    ],
)  # fmt: skip
def test_the_term_to_be_renewed(told: dict[str, object], found: Term | None) -> None:
    assert term(**told) == found


@given(starts_on=days, months=st.integers(1, 60), today=days)
def test_rolling_terms_follow_one_another_without_gap_or_overlap(starts_on: date, months: int, today: date) -> None:
    end = rolling_term_end(starts_on, months, today)

    assert end is not None
    assert end >= max(today, starts_on)
    number = next(n for n in range(1, 400) if add_months(starts_on, n * months) - DAY == end)
    assert number == 1 or add_months(starts_on, (number - 1) * months) <= today
    assert rolling_term_end(starts_on, months, end + DAY) == add_months(starts_on, (number + 1) * months) - DAY


@pytest.mark.parametrize(
    ("starts_on", "ends_on", "months", "ends_after"),
    [
        (date(2025, 4, 1), date(2026, 3, 31), None, date(2027, 3, 31)),
        (date(2025, 4, 1), date(2026, 3, 31), 24, date(2028, 3, 31)),
        (date(2027, 3, 1), date(2028, 2, 29), None, date(2029, 2, 28)),
        (date(2026, 1, 31), date(2026, 2, 27), None, date(2026, 3, 30)),
        (date(2026, 2, 28), date(2026, 3, 30), 1, date(2026, 4, 29)),
        (date(2023, 2, 28), date(2024, 2, 27), None, date(2025, 2, 27)),
        (date(2026, 1, 1), date(2026, 2, 14), None, date(2026, 3, 31)),  # 45 days: no whole months
    ],
)
def test_the_next_term_is_as_long_as_the_last(
    starts_on: date, ends_on: date, months: int | None, ends_after: date
) -> None:
    assert next_term_end(starts_on, ends_on, months) == ends_after


@given(starts_on=days, months=st.integers(1, 60))
def test_a_term_of_whole_months_is_known_as_such(starts_on: date, months: int) -> None:
    ends_on = add_months(starts_on, months) - DAY

    assert months_of(starts_on, ends_on) == months
    assert next_term_end(starts_on, ends_on, None) > ends_on


@given(starts_on=days, length=st.integers(0, 2_000), notice=st.none() | st.integers(0, 10_000))
def test_notice_is_given_within_the_term(starts_on: date, length: int, notice: int | None) -> None:
    ends_on = starts_on + timedelta(days=length)

    assert notice_deadline(starts_on, ends_on, notice) == max(starts_on, ends_on - timedelta(days=notice or 0))


def test_a_renewal_knows_its_term_after_its_close_day_moved() -> None:
    opened = Renewal(
        id="ren_1",
        account_id="acc_1",
        currency="USD",
        closes_on=TODAY,
        source_system=CYCLE,
        source_id="sub_1:2026-05-30",
    )

    assert opened.term_ends_on == date(2026, 5, 30)
    assert opened.changed(source_system="crm").term_ends_on == TODAY


# -- checkpoints --------------------------------------------------------------------------------------------


@given(days_left=st.integers(-400, 400), tier=st.sampled_from(Tier))
def test_of_the_checkpoints_that_lack_something_one_is_due_and_one_is_next(days_left: int, tier: Tier) -> None:
    deadline = TODAY + timedelta(days=days_left)
    renewal = Renewal(id="ren_1", account_id="acc_1", currency="USD", closes_on=deadline)

    found = checkpoints(renewal, deadline_on=deadline, tier=tier, reviewed=False, today=TODAY)

    assert [c.days for c in found] == [180, 120, 90, 60, 30][tier is not Tier.platinum :]
    states = [c.state for c in found]
    assert states == sorted(states, key=[*CheckpointState][1:].index)
    past = [c for c in found if c.on <= TODAY]
    assert states.count(CheckpointState.due) == (1 if past and days_left >= 0 else 0)
    assert states.count(CheckpointState.next) == (1 if len(past) < len(found) else 0)
    assert all(c.lacks for c in found)


def test_the_last_checkpoint_is_met_by_the_stage_and_by_a_win() -> None:
    renewal = Renewal(id="ren_1", account_id="acc_1", currency="USD", closes_on=TODAY)

    def last(stage: RenewalStage) -> CheckpointState:
        at = renewal.changed(stage=stage)
        return checkpoints(at, deadline_on=TODAY, tier=Tier.gold, reviewed=True, today=TODAY)[-1].state

    assert last(RenewalStage.proposal) is CheckpointState.due
    assert last(RenewalStage.negotiation) is CheckpointState.met
    assert last(RenewalStage.closed_won) is CheckpointState.met


# -- the ledger ---------------------------------------------------------------------------------------------


class Model:
    """Subscriptions as plain spans, and a ledger that books their ends ahead or does not."""

    def __init__(self, arrs: list[int], *, books_ends: bool) -> None:
        self.books_ends = books_ends
        self.spans = [(TODAY, TODAY + timedelta(days=100 + 7 * n), arr) for n, arr in enumerate(arrs)]  # first, after
        self.current = list(self.spans)
        self.closed: set[int] = set()
        self.ledger = [Posted(TODAY, MovementKind.new, arr, str(n)) for n, (_, _, arr) in enumerate(self.spans)]
        if books_ends:
            self.ledger += [Posted(a, MovementKind.churn, -arr, str(n)) for n, (_, a, arr) in enumerate(self.spans)]

    def post(self, postings: list[Posting]) -> None:
        self.ledger += [Posted(p.on, p.kind, p.amount_minor, None) for p in postings]

    def win(self, which: int, amount: int) -> None:
        first, after, arr = self.current[which]
        next_after = next_term_end(first, after - DAY, None) + DAY
        self.post(
            won(
                self.ledger, first_day=after, arr_minor=arr, amount_minor=amount, books_ends=self.books_ends,
                ends_after=next_after - DAY, price_change=False,
            )
        )  # fmt: skip
        self.current[which] = (after, next_after, amount)
        self.spans.append(self.current[which])

    def lose(self, which: int) -> None:
        _, after, arr = self.current[which]
        self.post(lost(self.ledger, first_day_without=after, arr_minor=arr, books_ends=self.books_ends))
        self.closed.add(which)

    def live_on(self, day: date) -> int:
        """ARR of what is under contract; where ends are not booked, an open one is taken to go on."""
        going_on = 0
        if not self.books_ends:
            going_on = sum(
                arr for n, (_, after, arr) in enumerate(self.current) if n not in self.closed and after <= day
            )
        return going_on + sum(arr for first, after, arr in self.spans if first <= day < after)


@given(
    arrs=st.lists(st.integers(1, 1_000), min_size=1, max_size=3),
    books_ends=st.booleans(),
    steps=st.lists(st.tuples(st.integers(0, 2), st.none() | st.integers(1, 1_000)), max_size=8),
)
def test_the_ledger_says_what_is_under_contract_whatever_is_won_and_lost(
    arrs: list[int], books_ends: bool, steps: list[tuple[int, int | None]]
) -> None:
    model = Model(arrs, books_ends=books_ends)

    for which, amount in steps:
        if which >= len(arrs) or which in model.closed:
            continue
        model.lose(which) if amount is None else model.win(which, amount)

    turns = {day for first, after, _ in model.spans for day in (first, after, after - DAY)}
    for day in sorted(turns):
        assert balance(model.ledger, day) == model.live_on(day), day


def test_a_fall_to_nothing_is_churn_and_any_other_a_contraction() -> None:
    ledger = [Posted(TODAY, MovementKind.new, 100, "a"), Posted(TODAY, MovementKind.new, 50, "b")]

    assert lost(ledger, first_day_without=TODAY, arr_minor=100, books_ends=False)[0].kind is MovementKind.contraction
    assert lost(ledger, first_day_without=TODAY, arr_minor=150, books_ends=False)[0].kind is MovementKind.churn
    # A ledger kept by hand may hold less than the contract says: it never falls below zero.
    assert lost(ledger, first_day_without=TODAY, arr_minor=900, books_ends=False)[0].amount_minor == -150
    assert lost([], first_day_without=TODAY, arr_minor=900, books_ends=False) == []
