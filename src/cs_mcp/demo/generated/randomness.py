"""Draws that depend on the seed and on what they are for, never on what was drawn before for somebody else."""

from __future__ import annotations

import math
from random import Random
from typing import Final

_SHARPEST: Final = 40.0  # beyond it a logistic is 0 or 1 to the last bit


def stream(seed: int, *purpose: int | str) -> Random:
    """A stream of its own: an account comes out the same alone, in any order and in any batch."""
    return Random(":".join(map(str, (seed, *purpose))))  # noqa: S311 - a made-up book, nothing to guess


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-max(-_SHARPEST, min(_SHARPEST, x))))


def clamped(x: float, low: float, high: float) -> float:
    return max(low, min(high, x))


def happens(random: Random, probability: float) -> bool:
    return random.random() < probability
