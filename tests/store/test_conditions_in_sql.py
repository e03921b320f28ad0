"""A condition means the same in Python, on SQLite and on PostgreSQL, where facts and their past are unknown too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sqlalchemy import Boolean, Date, Double, Integer, NullPool, Text, column, create_engine, literal, select, values
from sqlalchemy.ext.asyncio import create_async_engine

from cs_mcp.db.facts.conditions import PastFacts, compiled
from cs_mcp.db.read_path import PostgresReads, SqliteReads, Statement
from cs_mcp.domain.facts.conditions import CARRIED_DAYS, Condition, judge, problems_of

TODAY = date(2026, 3, 16)
TYPES = {"score": "number", "seats": "number", "band": "text", "since": "date", "trial": "bool"}
COLUMNS = {"number": Double, "text": Text, "date": Date, "bool": Boolean}

NUMBERS = [0.1, 0.3, 0.1 + 0.2, 1.0, 2.5, 3.0]  # neighbours among doubles, and values that rounding would join
DAYS = [date(2026, 3, day) for day in (1, 2, 9)]
VALUES: dict[str, list[Any]] = {"number": NUMBERS, "text": ["green", "red"], "date": DAYS, "bool": [True, False]}

HISTORY = 9  # days back: short windows meet its end
windows = st.integers(1, 5)


def values_of(kind: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(VALUES[kind])


@st.composite
def compares(draw: st.DrawFn) -> dict[str, Any]:
    fact = draw(st.sampled_from(sorted(TYPES)))
    kind = TYPES[fact]
    if draw(st.integers(0, 9)) == 0:
        return {"fact": fact, "is_missing": draw(st.booleans())}
    names = ["equals", "one_of"]
    if kind in ("number", "date"):
        names += ["at_least", "at_most", "more_than", "less_than"]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    several = st.lists(values_of(kind), min_size=1, max_size=2)
    bounds = {name: draw(several if name == "one_of" else values_of(kind)) for name in chosen}
    held = {"for_days": draw(windows)} if draw(st.booleans()) else {}
    return {"fact": fact, **bounds, **held}


numbers = st.sampled_from([fact for fact, kind in sorted(TYPES.items()) if kind == "number"])
crossings = st.builds(
    lambda fact, way, value, days: {"fact": fact, way: value, "within_days": days},
    numbers,
    st.sampled_from(["crossed_below", "crossed_above"]),
    values_of("number"),
    windows,
)
moves = st.builds(
    lambda fact, way, value, days: {"fact": fact, way: value, "within_days": days},
    numbers,
    st.sampled_from(["fell_by", "rose_by"]),
    values_of("number"),
    windows,
)
conditions = st.recursive(
    compares() | crossings | moves,
    lambda parts: st.builds(
        lambda word, some: {word: some},
        st.sampled_from(["all", "any", "none"]),
        st.lists(parts, min_size=1, max_size=3),
    ),
    max_leaves=5,
)
facts = st.fixed_dictionaries({fact: st.none() | values_of(kind) for fact, kind in TYPES.items()})
accounts = st.lists(
    st.tuples(facts, st.dictionaries(st.integers(1, HISTORY), facts, max_size=HISTORY)), min_size=4, max_size=8
)


def test_every_window_of_these_conditions_meets_the_end_of_the_history() -> None:
    assert 5 < HISTORY < 5 + CARRIED_DAYS


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(conditions, min_size=6, max_size=12), book=accounts)
def test_a_condition_means_the_same_in_sql(told: list[Any], book: list[Any], store_url: str) -> None:
    asked = [TypeAdapter[Any](Condition).validate_python(condition) for condition in told]
    assert [problems_of(condition, TYPES) for condition in asked] == [[]] * len(asked)
    expected = [[judge(condition, now, _by_fact(past)) for condition in asked] for now, past in book]
    assert asyncio.run(_answered(store_url, asked, book)) == expected


def _by_fact(past: dict[int, dict[str, Any]]) -> dict[str, list[tuple[int, Any]]]:
    return {fact: [(ago, then[fact]) for ago, then in past.items()] for fact in TYPES}


async def _answered(url: str, asked: Sequence[Any], book: list[Any]) -> list[list[bool | None]]:
    shape = [column(fact, COLUMNS[kind]) for fact, kind in TYPES.items()]
    # An account that is not asked: PostgreSQL takes the types of VALUES from values, and VALUES is never empty.
    nobody = tuple(VALUES[kind][0] for kind in TYPES.values())
    today = [(number, *(facts[fact] for fact in TYPES)) for number, (facts, _) in enumerate(book)]
    before = [
        (number, TODAY - timedelta(days=ago), *(facts[fact] for fact in TYPES))
        for number, (_, past) in enumerate(book)
        for ago, facts in past.items()
    ]
    number, on = column("account", Integer), column("on", Date)
    now = values(number, *shape, name="now").data([(-1, *nobody), *today]).cte("now")
    past = values(number, on, *shape, name="past").data([(-1, TODAY, *nobody), *before]).cte("past")
    history = PastFacts(
        table=past,
        of_account=past.c.account == now.c.account,
        day=past.c.on,
        today=literal(TODAY, Date),
        columns=past.c,
    )
    answers = [compiled(one, now.c, history).label(f"answer_{index}") for index, one in enumerate(asked)]
    statement = Statement(lambda: select(now.c.account, *answers).where(now.c.account >= 0).order_by(now.c.account))
    found = await _rows(url, statement)
    return [[row[f"answer_{index}"] for index in range(len(asked))] for row in found]


async def _rows(url: str, statement: Statement) -> list[dict[str, Any]]:
    """The statement's rows, from a connection of its own: it reads no table."""
    if url.startswith("sqlite"):
        engine = create_engine("sqlite://")
        try:
            return SqliteReads(engine).run_here([statement], {})[0]
        finally:
            engine.dispose()
    server = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"), poolclass=NullPool)
    [rows] = await PostgresReads(server).run([statement], {"workspace": "none"})
    return rows


def test_a_condition_over_the_past_is_not_compiled_without_one() -> None:
    condition = TypeAdapter[Any](Condition).validate_python({"fact": "score", "fell_by": 10, "within_days": 30})
    with pytest.raises(ValueError, match="past values of score"):
        compiled(condition, {"score": column("score", Double)})
