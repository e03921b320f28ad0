"""What every record carries, and the ids that name records."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict

PREFIXES: Final = {
    "account": "acc",
    "account_team": "atm",
    "arr_movement": "mov",
    "change": "chg",
    "company_event": "cev",
    "contact": "con",
    "cs_cost": "cst",
    "exchange_rate": "fxr",
    "feature": "ftr",
    "goal": "gol",
    "health_note": "nte",
    "health_override": "hov",
    "health_rubric": "hru",
    "import": "imp",
    "invoice": "inv",
    "meeting": "mtg",
    "member": "usr",
    "opportunity": "opp",
    "plan": "pln",
    "renewal": "ren",
    "risk": "rsk",
    "run": "run",
    "signal_batch": "sig",
    "sponsorship": "spo",
    "subscription": "sub",
    "survey_response": "svy",
    "target": "tgt",
    "task": "tsk",
    "ticket": "tkt",
    "token": "tok",
    "workspace": "wsp",
    "workspace_profile": "wpr",
}

# Crockford's base 32: no I, L, O or U, so that an id survives being read aloud.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARACTERS: Final = 9  # 45 bits of milliseconds: until the year 3084
_RANDOM_BITS: Final = 45
ID_LENGTH: Final = _TIME_CHARACTERS + 9


def _base32(number: int, length: int) -> str:
    digits = ["0"] * length
    for position in range(length - 1, -1, -1):
        digits[position] = _ALPHABET[number & 31]
        number >>= 5
    return "".join(digits)


class Ids:
    """Makes ids such as `acc_01jd3k2m5q8w9x7y4z`: a prefix, the millisecond, 45 random bits."""

    def __init__(
        self,
        *,
        milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._milliseconds = milliseconds
        self._random_bits = random_bits

    def new(self, entity: str) -> str:
        stamp = _base32(self._milliseconds(), _TIME_CHARACTERS)
        return f"{PREFIXES[entity]}_{stamp}{_base32(self._random_bits(_RANDOM_BITS), 9)}"


def is_id(text: str, entity: str) -> bool:
    """Whether `text` has the form of an id of this kind of record."""
    prefix = PREFIXES[entity] + "_"
    rest = text[len(prefix) :]
    return text.startswith(prefix) and len(rest) == ID_LENGTH and all(c in _ALPHABET for c in rest)


class Record(BaseModel):
    """A row that is remembered: every change to it is kept, and removing it sets `removed_at`."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    id: str
    version: int = 0
    removed_at: datetime | None = None
    source_system: str | None = None
    source_id: str | None = None

    def changed(self, **fields: Any) -> Self:
        return self.model_copy(update=fields)
