"""Cohort triangles that others publish, each with its address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import pytest

from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.revenue.cohorts import Average, Cohort, Step, averages, cohorts, period_of

GP_BULLHOUND = "https://gpbullhound.relayto.com/e/the-cfo-handbook-gp-bullhound-vcpr6o5picrxg/"


def lives(sizes: Iterable[tuple[int, Sequence[int]]], first: date) -> list[Cohort]:
    """Cohorts of consecutive months from what each began with and what was left of it at the end of each month."""
    steps: list[Step] = []
    longest = 0
    for place, (initial, left) in enumerate(sizes):
        started, before = add_months(first, place), 0
        for age, now in enumerate(left):
            begun = (initial, initial) if age == 0 else (0, 0)
            change = (now - before, now - before, min(now, initial) - min(before, initial))
            steps.append(Step(started, add_months(started, age), *change, *begun))
            before, longest = now, max(longest, place + age + 1)
    end = date.fromordinal(add_months(first, longest).toordinal() - 1)
    return cohorts(steps, first_day_of=period_of("month", lambda day: day), interval="month", end=end)


def test_a_cohort_triangle_of_christoph_janz() -> None:
    """scribd.com/document/431916665 (Point Nine's template, sheets A1 and B1): of 80 who came in January 2013, 78 were
    left at the month's end. Month 0 is below 100 % there, as here; others (GP Bullhound) begin to count after it.
    """
    january = [78, 75, 72, 70, 69, 67, 66, 66, 65, 64]
    february = [88, 86, 82, 78, 77, 76, 73, 72, 70]
    march = [103, 103, 98, 94, 92, 90, 86, 82]

    found = lives([(80, january), (88, february), (105, march)], date(2013, 1, 1))

    told = [
        [round(100 * float(cohort.logos(age) or 0), 2) for age in range(len(left))]
        for cohort, left in zip(found, (january, february, march), strict=True)
    ]
    assert told == [
        [97.50, 93.75, 90.00, 87.50, 86.25, 83.75, 82.50, 82.50, 81.25, 80.00],
        [100.00, 97.73, 93.18, 88.64, 87.50, 86.36, 82.95, 81.82, 79.55],
        [98.10, 98.10, 93.33, 89.52, 87.62, 85.71, 81.90, 78.10],
    ]


_LOGOS = {178: (73, 71, 58), 180: (80, 78, 67), 149: (81, 79, 68), 191: (81, 79), 200: (86, 86), 210: (87,)}
_GRR = {54_701: (77, 75), 44_136: (74, 72), 55_887: (76, 75), 46_883: (78,)}
_NRR = {42_162: (101, 99), 55_433: (108, 107), 56_681: (111, 110), 58_264: (112,), 46_314: (120,)}


@pytest.mark.parametrize(
    ("page", "of", "percents", "says"),
    [
        ("sCsiK5vO7 (logo retention, months 10, 11 and 13)", "logos", _LOGOS, (82, 79, 64)),
        ("wX2O1nAO9 (gross revenue retention, months 12 and 13)", "gross", _GRR, (76, 74)),
        ("QpOlpgsl10 (net revenue retention, months 11 and 13)", "revenue", _NRR, (111, 106)),
    ],
)
def test_the_weighted_average_of_cohorts_is_gp_bullhounds(
    page: str, of: str, percents: dict[int, tuple[int, ...]], says: tuple[int, ...]
) -> None:
    """GP_BULLHOUND and the page: each cohort weighs its size at the start. Of the published triangle, the ages that are
    named, for the cohorts old enough.
    """
    oldest = max(len(left) for left in percents.values())
    aligned = [(initial, [round(initial * percent / 100) for percent in left]) for initial, left in percents.items()]
    triangle = [cohort for size in aligned for cohort in lives([size], date(2021, 7, 1))]

    found: list[Average] = averages(triangle)

    assert len(found) == oldest == len(says), GP_BULLHOUND + page
    assert [round(100 * float(getattr(average, of) or 0)) for average in found] == list(says), GP_BULLHOUND + page
