"""A year of nightly scores for some accounts of the book, as scoring would have kept them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import insert

from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import points_of, rounded, totals
from cs_mcp.services.health.rubric_files import default_text, read_rubric

NIGHTS = 365
UNKNOWN = 4  # one measure in so many has no data


async def fill_scores(work: UnitOfWork, accounts: Sequence[tuple[str, str]], last: date) -> int:
    """Snapshots of each account (id and segment) for the year to `last`."""
    rubric = read_rubric(default_text())
    pick = random.Random(len(accounts))
    for account, segment in accounts:
        rows = [
            {"workspace": work.principal.workspace, "account_id": account, "run_id": "run", **score}
            for score in _nights(rubric, segment, last, pick)
        ]
        await work.session.execute(insert(SNAPSHOTS), rows)
    return len(accounts) * NIGHTS


def _nights(rubric: Rubric, segment: str, last: date, pick: random.Random) -> Iterator[dict[str, Any]]:
    """Raw values wander within the ends of their lines; one in `UNKNOWN` measures is not known."""
    weights = rubric.weights(segment)
    values: dict[str, float | None] = {
        measure.name: None if place % UNKNOWN == 0 else pick.uniform(measure.points[0][0], measure.points[-1][0])
        for place, measure in enumerate(rubric.measures)
    }
    for night in range(NIGHTS - 1, -1, -1):
        for measure in rubric.measures:
            if (now := values[measure.name]) is not None:
                low, high = measure.points[0][0], measure.points[-1][0]
                values[measure.name] = min(high, max(low, now + pick.uniform(-0.02, 0.02) * (high - low)))
        points = {measure.name: points_of(measure, values[measure.name]) for measure in rubric.measures}
        summed, coverage = totals(weights, points)
        tenths = rounded(summed, coverage)
        band = rubric.bands.of(tenths).value
        slots = {f"p{slot}": points[name] for name, slot in rubric.slots.items()}
        slots |= {f"v{slot}": values[name] for name, slot in rubric.slots.items()}
        yield {
            "on": last - timedelta(days=night), "rubric": rubric.version, "score_tenths": tenths, "band": band,
            "computed_band": band, "confidence": coverage * 1000 // sum(weights.values()), "rules": None, **slots,
        }  # fmt: skip
