"""Weights are proposed where they told better on later days, and nothing is adopted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from random import Random

import pytest

from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.health.accuracy import Case
from cs_mcp.services.health.backtest import Period, Points, Replay, judged
from cs_mcp.services.health.rubric_files import default_text, read_rubric
from cs_mcp.services.health.weights_proposed import propose

RUBRIC = read_rubric(default_text().replace("min_coverage: 0.3 ", "min_coverage: 0 "))
TODAY = date(2026, 3, 16)
DAYS = tuple(add_months(date(2024, 3, 16), month) for month in range(25))
HORIZON = 90
TOLD = ["active_seats", "open_severe", "survey", "touch"]  # measures with data; the others have none


def history(chance: Callable[[dict[str, float], int], float], accounts: int = 150, seed: int = 3) -> Replay:
    """Accounts with lasting levels of each measure; in a quarter they leave by a chance of levels and month."""
    random, replay = Random(seed), Replay(RUBRIC, Period(DAYS, HORIZON), TODAY, [], [], [], [], None)
    weights = RUBRIC.weights("smb")
    for number in range(accounts):
        levels = {name: random.random() for name in TOLD}
        for month, day in enumerate(DAYS):
            points: Points = tuple(
                round(min(1, max(0, levels[m.name] + random.gauss(0, 0.1))) * 10_000) if m.name in TOLD else None
                for m in RUBRIC.measures
            )
            left = random.random() < chance(levels, month) if day + timedelta(days=HORIZON) <= TODAY else None
            replay.cases.append(Case(f"acc_{number}", day, "smb", *judged(RUBRIC, weights, points, ""), left))
            replay.points.append(points)
            replay.rules.append("")
    return replay


def test_what_tells_who_leaves_comes_to_weigh_more() -> None:
    proposal = propose(history(lambda levels, _: 0.5 * (1 - levels["touch"]) ** 2))

    now = {line.measure: line.weight for line in proposal.weights}
    then = {line.measure: line.proposed for line in proposal.weights}
    assert then["touch"] > now["touch"] + 10
    assert sum(then.values()) == sum(now.values())
    assert min(then.values()) >= 1
    untold = set(now) - set(TOLD)
    assert {name: then[name] for name in untold} == {name: now[name] for name in untold}
    assert set(proposal.kept) == untold
    assert proposal.auc is not None
    assert proposal.proposed_auc is not None
    assert proposal.proposed_auc.value > proposal.auc.value + 0.05
    assert proposal.proposed_auc.churned_accounts == proposal.auc.churned_accounts
    assert min(proposal.tried_on) >= DAYS[0] + timedelta(days=HORIZON)
    assert proposal.advice.startswith("Fitted weights told better on later days")
    assert sum(move.accounts for move in proposal.moves) > 0
    assert "touch: 5 → " in proposal.text("q")


def test_weights_are_tried_on_days_that_they_know_nothing_of() -> None:
    """What tells in the second year told nothing in the first: a fit on the first cannot know."""

    def turning(levels: dict[str, float], month: int) -> float:
        return 0.6 * (1 - levels["survey" if month < 12 else "touch"]) ** 4

    proposal = propose(history(turning))

    assert proposal.proposed_auc is not None
    assert proposal.proposed_auc.value < 0.735  # 0.70; 0.77 where each fit sees all days
    known = [day for day in DAYS if day + timedelta(days=HORIZON) <= TODAY]
    assert proposal.tried_on == [day for day in known if day >= DAYS[0] + timedelta(days=HORIZON)]


def test_weights_that_tell_no_better_are_not_recommended() -> None:
    chance = propose(history(lambda _levels, _month: 0.05))

    assert chance.proposed_auc is not None
    assert chance.proposed_auc.low < 0.5 < chance.proposed_auc.high
    assert chance.advice.startswith(("Keep the present weights", "Fitted weights told better on later days (AUC"))
    assert "Read whether" not in chance.advice


def test_too_short_a_history_is_said_to_be_too_short() -> None:
    whole = history(lambda levels, _: 0.5 * (1 - levels["touch"]) ** 2)
    early = [place for place, case in enumerate(whole.cases) if case.on <= DAYS[2]]
    short = Replay(
        RUBRIC, Period(DAYS[:3], HORIZON), TODAY, [whole.cases[p] for p in early], [whole.points[p] for p in early],
        [""] * len(early), [], None,
    )  # fmt: skip

    proposal = propose(short)

    assert (proposal.auc, proposal.proposed_auc, proposal.tried_on) == (None, None, [])
    assert "no history to try others on" in proposal.advice


def test_without_a_churn_there_is_nothing_to_fit() -> None:
    with pytest.raises(Invalid, match="0 accounts with a score churned"):
        propose(history(lambda _levels, _month: 0, accounts=5))
