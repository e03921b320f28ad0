"""Sentences for notes, meetings and tasks, from templates by mood and subject."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from random import Random
from typing import Any, Final

from cs_mcp.domain.people.sponsors import Sentiment
from cs_mcp.domain.work.meetings import MeetingKind

_SLOT: Final = re.compile(r"\{(\w+)\}")
_BEGINNING: Final = re.compile(r"(?:^|(?<=[.!?] ))[a-z]")
_REVIEWS: Final = frozenset({MeetingKind.value_review, MeetingKind.qbr, MeetingKind.ebr})
_ANY_MOOD: Final = frozenset({MeetingKind.kickoff, MeetingKind.internal_handoff, MeetingKind.exit_interview})


@lru_cache
def prose() -> dict[str, Any]:
    return tomllib.loads(files("cs_mcp.demo.generated").joinpath("prose.toml").read_text("utf-8"))


class Writer:
    """Writes about one account; `people` are the names it may mention."""

    def __init__(self, random: Random, people: Sequence[str]) -> None:
        self._random = random
        self._people = people

    def line(self, *path: str) -> str:
        """One filled template of those under `path`."""
        templates: Any = prose()
        for part in path:
            templates = templates[part]
        return self.filled(self._random.choice(templates))

    def lines(self, count: int, *path: str) -> list[str]:
        return list(dict.fromkeys(self.line(*path) for _ in range(count)))

    def filled(self, template: str) -> str:
        text = _SLOT.sub(lambda slot: self._word(slot[1]), template)
        return _BEGINNING.sub(lambda found: found[0].upper(), text)

    def note(self, mood: Sentiment, subject: str) -> str:
        text = f"{self.line('notes', mood.value, subject)} {self.line('notes', 'close', mood.value)}"
        if self._random.random() < 0.4:
            text = f"{self.line('meetings', mood.value, 'check_in')} {text}"
        return text

    def subject(self, mood: Sentiment) -> str:
        return self._random.choice(list(prose()["notes"][mood.value]))

    def summary(self, kind: MeetingKind, mood: Sentiment) -> str:
        if kind in _ANY_MOOD:
            return self.line("meetings", "any", kind.value)
        topic = "review" if kind in _REVIEWS else kind.value
        spoken = topic if topic in prose()["meetings"][mood.value] else "check_in"
        text = self.line("meetings", mood.value, spoken)
        if kind is not MeetingKind.email and self._random.random() < 0.5:
            text += " " + self.line("meetings", mood.value, "check_in")
        return text

    def _word(self, slot: str) -> str:
        if slot == "person":
            return self._random.choice(self._people) if self._people else "their manager"
        if slot == "number":
            return str(self._random.randint(2, 24))
        if slot == "share":
            return str(self._random.randint(4, 38))
        return self._random.choice(prose()["words"][slot])
