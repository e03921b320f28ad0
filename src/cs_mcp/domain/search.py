"""How well a record answers a few words, and what it is called in a list of results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import combining, normalize

_WORD = re.compile(r"\w+")


def folded(text: str) -> str:
    """Text as search compares it: case and accents aside."""
    return "".join(c for c in normalize("NFD", text.casefold()) if not combining(c))


def standing_of_name(asked: str, words: Sequence[str], name: str, *others: str | None) -> int:
    """How well a name fits, 0 to 5: exactly, its beginning, its words, their beginnings. `others`: e-mail, domain."""
    said, key = folded(name), " ".join(folded(asked).split())
    keys = [folded(other) for other in others if other]
    if key in (" ".join(said.split()), *keys):
        return 5
    if said.startswith(key):
        return 4
    mine, wanted = _WORD.findall(said), [folded(word) for word in words]
    if all(word in mine for word in wanted):
        return 3
    if all(any(known.startswith(word) for known in mine) for word in wanted):
        return 2
    return 1 if any(other.startswith(key) for other in keys) else 0


def standing_of_text(words: Sequence[str], text: str) -> int:
    """How well prose fits, 0 to 2: all words together in their order, all of them, not all (some name the account)."""
    said = _WORD.findall(folded(text))
    wanted = [folded(word) for word in words]
    if not set(wanted) <= set(said):
        return 0
    joined = f" {' '.join(said)} "
    return 2 if f" {' '.join(wanted)} " in joined else 1


# What a question in a sentence has beside the words it is about.
_MAKE_SENTENCES = """
a about all an and any are as at be been by can could did do does for from had has have he her his how i in is it its
me my of on or our said say says she show tell that the their them there they this to us was we were what when where
which who why will with would you your
"""
_BESIDE = frozenset(_MAKE_SENTENCES.split())


def telling_words(words: Sequence[str]) -> list[str]:
    """The words without those that only make a sentence of them; all of them where nothing else is left."""
    return [word for word in words if word.casefold() not in _BESIDE] or list(words)
