"""Weights that would have told better who left: a logistic regression over a replay. It proposes; a person adopts.

What each measure lost is regressed on who left within the horizon; weights follow the coefficients, none below 1 and
together what they were. They are tried on later days than they were fitted on, with the horizon between, so that
nothing that decided a fitted case is still to come on a day they are tried on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from cs_mcp.domain.contract import View
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.health.accuracy import FEW, TOO_FEW, Auc, Case, auc_of
from cs_mcp.domain.health.rubric import FULL, Rubric
from cs_mcp.domain.health.scoring import apportioned
from cs_mcp.services.health.accuracy import AucView
from cs_mcp.services.health.backtest import Points, Replay, judged

LEAST_DATA: Final = 0.05  # of the cases: a measure known in fewer keeps its weight
LEAST_GAIN: Final = 0.01  # of AUC, on later days
_FOLDS: Final = 4
_FINE: Final = 1_000_000

Weights = dict[str, int]


class _Known(NamedTuple):
    """A case with a score whose horizon is over."""

    case: Case
    points: Points
    rules: str


class WeightView(View):
    """`with_data`: the share of cases in which the measure was known."""

    measure: str
    weight: int
    proposed: int
    with_data: float


class MoveView(View):
    """Accounts that would change bands on the last scored day."""

    band: str
    proposed: str
    accounts: int


class ProposalView(View):
    rubric: str
    cases: int
    churned_accounts: int
    horizon_days: int
    tried_on: list[date]
    auc: AucView | None = None
    proposed_auc: AucView | None = None
    advice: str
    weights: list[WeightView]
    kept: list[str]
    moves: list[MoveView]

    def text(self, nonce: str) -> str:
        fitted_on = (
            f"Fitted on {self.cases} cases, {self.churned_accounts} accounts of which churned within "
            f"{self.horizon_days} days; segments' own weights are left out."
        )
        lines = [f"# Weights proposed for rubric {self.rubric}; nothing is changed", self.advice, fitted_on]
        if self.auc is not None and self.proposed_auc is not None:
            lines.append(
                f"On {len(self.tried_on)} later days ({self.tried_on[0]} to {self.tried_on[-1]}): AUC "
                f"{self.auc.text(nonce)} with the present weights, {self.proposed_auc.text(nonce)} with weights fitted "
                "on what was known before."
            )
        changed = [weight for weight in self.weights if weight.proposed != weight.weight]
        lines.append("Would change:" if changed else "Would change nothing.")
        lines += [
            f"- {w.measure}: {w.weight} → {w.proposed} (known in {w.with_data * 100:.0f} % of cases)" for w in changed
        ]
        if self.kept:
            lines.append(f"Kept, known too seldom: {', '.join(self.kept)}.")
        if self.moves:
            moves = ", ".join(f"{move.accounts} from {move.band} to {move.proposed}" for move in self.moves)
            lines.append(f"Accounts that would change bands on the last scored day: {moves}.")
        lines.append(
            "To adopt: write these weights into your rubric file under a new version, look at it with "
            "'cs-mcp health check FILE', then 'cs-mcp health adopt FILE'."
        )
        return "\n".join(lines)


def propose(replay: Replay) -> ProposalView:
    """Weights fitted on the whole replay, and how such weights did on later days. Raises Invalid where none can be."""
    if find_spec("sklearn") is None:
        raise Invalid("Proposing weights needs scikit-learn.", remedy="Install it: pip install 'cs-mcp[accuracy]'.")
    rubric = replay.rubric
    known = [
        _Known(case, points, rules)
        for case, points, rules in zip(replay.cases, replay.points, replay.rules, strict=True)
        if case.left is not None and case.score_tenths is not None
    ]
    left = len({each.case.account for each in known if each.case.left})
    if not left or all(each.case.left for each in known):
        raise Invalid(
            f"{left} accounts with a score churned, so there is nothing to fit weights on.",
            remedy="Give an earlier --from, or a shorter --horizon.",
        )
    shares = {
        measure.name: sum(each.points[slot] is not None for each in known) / len(known)
        for slot, measure in enumerate(rubric.measures)
    }
    free = [name for name, share in shares.items() if share >= LEAST_DATA]
    proposed = fitted(rubric, known, free)
    now, then, tried_on = _tried(replay, known, free)
    return ProposalView(
        rubric=rubric.version,
        cases=len(known),
        churned_accounts=left,
        horizon_days=replay.period.horizon_days,
        tried_on=tried_on,
        auc=AucView.told(now),
        proposed_auc=AucView.told(then),
        advice=advice(now, then, left),
        weights=[
            WeightView(measure=m.name, weight=m.weight, proposed=proposed[m.name], with_data=round(shares[m.name], 4))
            for m in rubric.measures
        ],
        kept=[name for name in shares if name not in free],
        moves=_moves(replay, proposed),
    )


def fitted(rubric: Rubric, known: Sequence[_Known], free: Collection[str]) -> Weights:
    """Weights of the measures in `free` by what they tell, the others' as they are."""
    weights = {measure.name: measure.weight for measure in rubric.measures}
    slots = [(slot, measure.name) for slot, measure in enumerate(rubric.measures) if measure.name in free]
    if not slots:
        return weights
    numpy: Any = import_module("numpy")
    model: Any = import_module("sklearn.linear_model").LogisticRegression(C=1.0, max_iter=1_000)
    rows = [[_lost(each, slot) for slot, _ in slots] for each in known]
    model.fit(numpy.array(rows, dtype=float), numpy.array([bool(each.case.left) for each in known]))
    # What is lost where a customer stays cannot speak against them: a weight is never negative.
    parts = [max(0, round(float(coefficient) * _FINE)) for coefficient in model.coef_[0]]
    if not sum(parts):
        return weights
    to_give = sum(weights[name] for _, name in slots) - len(slots)
    shares = apportioned(to_give, [part * to_give for part in parts], sum(parts))
    return weights | {name: 1 + share for (_, name), share in zip(slots, shares, strict=True)}


def _lost(each: _Known, slot: int) -> float:
    """The share of its points a measure lost; of one without data what the others lost, as the score takes it."""
    points = each.points[slot]
    assert each.case.score_tenths is not None
    return 1 - (each.case.score_tenths / 1000 if points is None else points / FULL)


def _tried(replay: Replay, known: Sequence[_Known], free: Collection[str]) -> tuple[Auc | None, Auc | None, list[date]]:
    """AUC of the present weights and of fitted ones, over the same later cases."""
    horizon = timedelta(days=replay.period.horizon_days)
    days = sorted({each.case.on for each in known})
    later = [day for day in days if day >= days[0] + horizon]
    size = -(-len(later) // _FOLDS) or 1
    now: list[Case] = []
    then: list[Case] = []
    tried_on: list[date] = []
    for start in range(0, len(later), size):
        block = later[start : start + size]
        before = [each for each in known if each.case.on + horizon <= block[0]]
        if len({each.case.account for each in before if each.case.left}) < TOO_FEW or all(e.case.left for e in before):
            continue
        weights = fitted(replay.rubric, before, free)
        tried_on += block
        for each in known:
            if block[0] <= each.case.on <= block[-1]:
                now.append(each.case)
                tenths, band = judged(replay.rubric, weights, each.points, each.rules)
                then.append(each.case._replace(score_tenths=tenths, band=band))
    return auc_of(now), auc_of(then), tried_on


def advice(now: Auc | None, then: Auc | None, left_accounts: int) -> str:
    """Whether to adopt, in words."""
    if now is None or then is None:
        return (
            f"Keep the present weights: there is no history to try others on (it takes two horizons, and {TOO_FEW} "
            "churned accounts in the first)."
        )
    gain = then.value - now.value
    if gain < LEAST_GAIN:
        return f"Keep the present weights: on later days the fitted ones told no better (AUC {gain:+.2f})."
    if left_accounts < FEW:
        return f"Only {left_accounts} accounts churned: too few to change weights by, though AUC rose by {gain:.2f}."
    if then.low <= now.value:
        return f"Fitted weights told better on later days (AUC {gain:+.2f}), but by no more than chance may give."
    return (
        f"Fitted weights told better on later days: AUC {gain:+.2f}. Read whether each makes sense to you, then adopt."
    )


def _moves(replay: Replay, proposed: Mapping[str, int]) -> list[MoveView]:
    last = replay.period.days[-1]
    counted: Counter[tuple[str, str]] = Counter()
    for case, points, rules in zip(replay.cases, replay.points, replay.rules, strict=True):
        if case.on == last:
            _, band = judged(replay.rubric, proposed, points, rules)
            if band is not case.band:
                counted[case.band.value, band.value] += 1
    return [MoveView(band=band, proposed=to, accounts=count) for (band, to), count in sorted(counted.items())]
