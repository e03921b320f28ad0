"""How well a score foretold who left: accounts on past days, each with what its rubric said and what came after.

One account is scored on many days, and those answers hang together. So an account counts about once in how wide an
interval is, however many days it was scored on: shares are Wilson's at Kish's effective size, which takes all days of
an account for the same answer; the AUC has Hanley and McNeil's error at the same sizes. Both err to the wide side.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple

from cs_mcp.domain.accounts.accounts import Band

Z: Final = 1.959963984540054  # 95 %
AHEAD_DAYS: Final = 60
GOAL_AHEAD: Final = 0.75
TOO_FEW: Final = 10  # churned accounts below which no figure is a finding
FEW: Final = 30
BIN_TENTHS: Final = 100
_BEST: Final = 1000


class Case(NamedTuple):
    """An account on a scored day. `left`: it churned within the horizon; None where the horizon is not over."""

    account: str
    on: date
    segment: str
    score_tenths: int | None
    band: Band
    left: bool | None


class Churn(NamedTuple):
    """An account's ARR came to nothing on a day."""

    account: str
    on: date


class Foreseen(NamedTuple):
    """A churn, and the last case of its account that lies long enough before; None where it was not scored then."""

    churn: Churn
    case: Case | None


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `of` cases of so many accounts, with its 95 % interval."""

    hits: int
    of: int
    accounts: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.hits / self.of


@dataclass(frozen=True, slots=True)
class Auc:
    """How often who left had the lower score of two, ties half; 0.5 is chance. `left` and `stayed` are accounts."""

    value: float
    low: float
    high: float
    left: int
    stayed: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Scores from `from_tenths` to below `to_tenths` (the last to 1 000 itself), and who of them left."""

    from_tenths: int
    to_tenths: int
    left: Share


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Over cases whose horizon is over. What there is nothing to take of is None."""

    cases: int
    accounts: int
    left_accounts: int
    without_score: int
    left: Share | None
    auc: Auc | None


@dataclass(frozen=True, slots=True)
class Warned:
    """What some bands were worth as a warning. `too_new` churns had no case long enough before."""

    precision: Share | None
    recall: Share | None
    false_alarms: Share | None
    ahead: Share | None
    too_new: int


# -- intervals ------------------------------------------------------------------------------------------------


def wilson(share: float, size: float, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share seen in `size` independent answers. Wilson (1927), JASA 22, 209-212."""
    if size <= 0:
        return 0.0, 1.0
    square = z * z / size
    middle, reach = share + square / 2, z * math.sqrt(share * (1 - share) / size + square / (4 * size))
    low, high = (middle - reach) / (1 + square), (middle + reach) / (1 + square)
    return (0.0 if share == 0 else max(0.0, low)), (1.0 if share == 1 else min(1.0, high))


def effective(counts: Collection[int]) -> float:
    """How many independent answers so many a cluster are worth at least. Kish (1965), Survey Sampling, 8.2."""
    total = sum(counts)
    return total * total / sum(count * count for count in counts) if total else 0.0


def share_of(answers: Iterable[tuple[str, bool]]) -> Share | None:
    """The share of answers that are yes; each comes with its account."""
    counts: defaultdict[str, int] = defaultdict(int)
    hits = 0
    for account, hit in answers:
        counts[account] += 1
        hits += hit
    if not counts:
        return None
    of = sum(counts.values())
    return Share(hits, of, len(counts), *wilson(hits / of, effective(counts.values())))


def auc_of(cases: Iterable[Case]) -> Auc | None:
    """Over the cases that have a score and whose horizon is over; None where nobody left or nobody stayed."""
    counts: dict[bool, list[int]] = {True: [0] * (_BEST + 1), False: [0] * (_BEST + 1)}
    accounts: dict[bool, defaultdict[str, int]] = {True: defaultdict(int), False: defaultdict(int)}
    for case in cases:
        if case.score_tenths is not None and case.left is not None:
            counts[case.left][case.score_tenths] += 1
            accounts[case.left][case.account] += 1
    left, stayed = sum(counts[True]), sum(counts[False])
    if not left or not stayed:
        return None
    wins = below = 0  # wins are halves
    for lower, same in zip(counts[True], counts[False], strict=True):
        wins += same * (2 * below + lower)
        below += lower
    value = wins / (2 * left * stayed)
    sizes = effective(accounts[True].values()), effective(accounts[False].values())
    return Auc(value, *_auc_interval(value, *sizes), left=len(accounts[True]), stayed=len(accounts[False]))


def _auc_interval(value: float, left: float, stayed: float) -> tuple[float, float]:
    """Hanley and McNeil (1982), Radiology 143, 29-36, taken on the log odds so that it stays within 0 and 1."""
    if value in (0.0, 1.0):
        return wilson(value, min(left, stayed))
    first, second = value / (2 - value), 2 * value * value / (1 + value)
    spread = value * (1 - value) + (left - 1) * (first - value * value) + (stayed - 1) * (second - value * value)
    odds = math.log(value / (1 - value))
    reach = Z * math.sqrt(spread / (left * stayed)) / (value * (1 - value))
    return _from_odds(odds - reach), _from_odds(odds + reach)


def _from_odds(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


# -- what is told ---------------------------------------------------------------------------------------------


def foreseen(
    cases: Iterable[Case], churns: Sequence[Churn], *, horizon_days: int, ahead_days: int = AHEAD_DAYS
) -> list[Foreseen]:
    """Each churn with the case that had to warn of it: the last at least `ahead_days` and within the horizon before."""
    wanted = {churn.account for churn in churns}
    by_account: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if case.account in wanted:
            by_account[case.account].append(case)
    found: list[Foreseen] = []
    for churn in churns:
        first, last = churn.on - timedelta(days=horizon_days), churn.on - timedelta(days=ahead_days)
        in_time = [case for case in by_account[churn.account] if first <= case.on <= last]
        found.append(Foreseen(churn, max(in_time, key=lambda case: case.on, default=None)))
    return found


def accuracy(cases: Iterable[Case]) -> Accuracy:
    known = [case for case in cases if case.left is not None]
    return Accuracy(
        cases=len(known),
        accounts=len({case.account for case in known}),
        left_accounts=len({case.account for case in known if case.left}),
        without_score=sum(case.score_tenths is None for case in known),
        left=share_of((case.account, bool(case.left)) for case in known),
        auc=auc_of(known),
    )


def warned(cases: Iterable[Case], churns: Sequence[Foreseen], bands: Collection[Band]) -> Warned:
    """Shares over cases whose horizon is over; `churns` may be later ones too."""
    known = [case for case in cases if case.left is not None]
    in_time = [(found.churn.account, found.case.band in bands) for found in churns if found.case is not None]
    return Warned(
        precision=share_of((case.account, bool(case.left)) for case in known if case.band in bands),
        recall=share_of((case.account, case.band in bands) for case in known if case.left),
        false_alarms=share_of((case.account, case.band in bands) for case in known if not case.left),
        ahead=share_of(in_time),
        too_new=len(churns) - len(in_time),
    )


def by_band(cases: Iterable[Case]) -> dict[Band, Share]:
    """Who left of each band that has cases whose horizon is over."""
    known = [case for case in cases if case.left is not None]
    shares = {
        band: share_of((case.account, bool(case.left)) for case in known if case.band is band)
        for band in (Band.green, Band.yellow, Band.red, Band.unknown)
    }
    return {band: share for band, share in shares.items() if share is not None}


def calibration(cases: Iterable[Case], width: int = BIN_TENTHS) -> list[Bin]:
    """Who left, by score: bins of `width` tenths, the empty ones left out."""
    answers: defaultdict[int, list[tuple[str, bool]]] = defaultdict(list)
    for case in cases:
        if case.score_tenths is not None and case.left is not None:
            answers[min(case.score_tenths, _BEST - 1) // width].append((case.account, case.left))
    bins: list[Bin] = []
    for place in sorted(answers):
        share = share_of(answers[place])
        assert share is not None
        bins.append(Bin(place * width, min((place + 1) * width, _BEST), share))
    return bins


def verdict(auc: Auc | None, left_accounts: int) -> str:
    """What may be concluded, and what may not."""
    if not left_accounts:
        return "Nobody churned within the horizon of a scored day: nothing can be said of accuracy."
    if auc is None:
        return "None of those who churned, or none of those who stayed, had a score: nothing can be said of accuracy."
    between = f"AUC {auc.value:.2f}, between {auc.low:.2f} and {auc.high:.2f}"
    if auc.low > 0.5:
        said = f"The score tells who leaves better than chance: {between}."
    elif auc.high < 0.5:
        said = f"The score points the wrong way: who left had the higher scores ({between})."
    else:
        said = f"The score is not told apart from chance: {between}, and 0.5 is chance."
    return f"{said} {sample(auc.left, ' with a score' if auc.left < left_accounts else '')}".strip()


def sample(left_accounts: int, which: str = "") -> str:
    """A word of caution where few accounts churned; empty where there are enough."""
    who = f"1 account{which}" if left_accounts == 1 else f"{left_accounts} accounts{which}"
    if left_accounts < TOO_FEW:
        return f"Only {who} churned: too few to judge a score by; read the intervals, not the figures."
    if left_accounts < FEW:
        return f"{who} churned: a small sample, so the intervals are wide."
    return ""
