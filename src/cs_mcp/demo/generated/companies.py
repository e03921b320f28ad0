"""Names of companies and people. No two companies share a domain, whatever the size of the book."""

from __future__ import annotations

import math
import tomllib
from functools import lru_cache
from importlib.resources import files
from random import Random
from typing import Any, Final, NamedTuple
from unicodedata import normalize

from cs_mcp.demo.generated.randomness import stream
from cs_mcp.domain.people.sponsors import Level

# Letters that have no accent to take off.
_PLAIN_LETTERS: Final = str.maketrans(
    {"ø": "o", "ł": "l", "ı": "i", "đ": "d", "ß": "ss", "Ø": "O", "Ł": "L", "Đ": "D", "İ": "I", "æ": "ae"}
)


@lru_cache
def names() -> dict[str, Any]:
    return tomllib.loads(files("cs_mcp.demo.generated").joinpath("names.toml").read_text("utf-8"))


def plain_letters(text: str) -> str:
    """The text in lower-case ASCII, words joined by hyphens: a part of a domain or of an address."""
    bare = normalize("NFKD", text.translate(_PLAIN_LETTERS)).encode("ascii", "ignore").decode().casefold()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in bare).split())


class Company(NamedTuple):
    name: str
    domain: str
    industry: str


@lru_cache
def _trades() -> tuple[tuple[str, str], ...]:
    """Industry and trade word, for each trade word."""
    return tuple((industry, word) for industry, words in names()["trades"].items() for word in words)


@lru_cache(maxsize=8)
def _shuffle(seed: int) -> tuple[int, int, int]:
    """How many names there are, and a step and a start that visit each of them once."""
    count = len(names()["first_words"]) * len(_trades()) * len(names()["tails"])
    random = stream(seed, "companies")
    step = random.randrange(count // 3, count)
    while math.gcd(step, count) != 1:
        step += 1
    return count, step, random.randrange(count)


def company_of(seed: int, number: int) -> Company:
    """The name of one account; past the last one the names begin again, with a number."""
    count, step, start = _shuffle(seed)
    place = (number * step + start) % count
    place, first = divmod(place, len(names()["first_words"]))
    tail, trade = divmod(place, len(_trades()))
    industry, word = _trades()[trade]
    parts = [names()["first_words"][first], word, names()["tails"][tail]]
    if number >= count:
        parts.append(str(number // count + 1))
    name = " ".join(part for part in parts if part)
    return Company(name, f"{plain_letters(name)}.example", industry)


class Name(NamedTuple):
    given: str
    family: str

    @property
    def full(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def address(self) -> str:
        """The part of an e-mail before the @."""
        return f"{plain_letters(self.given)}.{plain_letters(self.family)}"


def person_of(random: Random, region: str) -> Name:
    """Most people of an account come from its region; one in six from anywhere."""
    known = names()
    cultures = list(known["cultures"]) if random.random() < 1 / 6 else known["regions"][region]["cultures"]
    culture = known["cultures"][random.choice(cultures)]
    return Name(random.choice(culture["given"]), random.choice(culture["family"]))


def title_of(random: Random, level: Level, department: str) -> str:
    return random.choice(names()["titles"][level.value]).format(department=department)
