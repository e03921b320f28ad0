"""Whether an answer says something, however a person or a model words it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

_WITHOUT_CENTS = ("JPY", "KRW")


def said_in(answer: str, fact: object) -> bool:
    """A day in any usual way of writing it; words and figures as a whole, never as part of a longer one."""
    said = _plain(answer)
    return any(re.search(rf"(?<!\w){re.escape(_plain(way))}(?!\w)", said) for way in _ways(fact))


def _ways(fact: object) -> list[str]:
    if isinstance(fact, date):
        return [fact.isoformat(), f"{fact:%-d %B}", f"{fact:%B %-d}", f"{fact:%-d %b}", f"{fact:%b %-d}"]
    return [str(fact)]


def _plain(text: str) -> str:
    """Without what people and models write differently: case, spaces, thousands separators."""
    return " ".join(html.unescape(text).replace(",", "").replace("\u00a0", " ").lower().split())


def mentioned(answer: str, names: Iterable[str]) -> set[str]:
    """Which of these names the answer mentions; one that is part of a longer one counts where it stands alone."""
    said = _letters(answer)
    found: set[str] = set()
    for name in sorted(names, key=len, reverse=True):
        said, times = re.subn(rf"(?<!\w){re.escape(_letters(name))}(?!\w)", "·", said)
        if times:
            found.add(name)
    return found


def _letters(text: str) -> str:
    return " ".join(re.sub(r"[^\w]+", " ", html.unescape(text)).lower().split())


def money(minor: int, currency: str) -> str:
    """Minor units as a figure in major ones, without a tail of zeros: 264000, 8940.5."""
    figure = Decimal(minor) if currency in _WITHOUT_CENTS else Decimal(minor) / 100
    return f"{figure:f}".rstrip("0").rstrip(".") if "." in f"{figure:f}" else f"{figure:f}"
