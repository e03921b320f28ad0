"""A brief: figures and quotes with the record and the day each comes from, and what is missing."""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Literal

from cs_mcp.domain.contract import BYTES_PER_TOKEN, LeftOut, Named, View, quoted, shown
from cs_mcp.domain.text import Quoted

BriefKind = Literal["qbr", "detractor"]
BUDGET_TOKENS: Final = 4_000
QUOTE_LIMIT: Final = 600
_FRAME_BYTES: Final = 700  # what stands around the sections: marks, titles, what was left out


class Fact(View):
    """One statement that can be cited. `what` is ours, names in it made inert; `said` is somebody's own words."""

    what: str
    record: str | None = None
    on: date | None = None
    said: Quoted | None = None

    def text(self, nonce: str) -> str:
        source = ", ".join(part for part in (self.record, self.on.isoformat() if self.on else None) if part)
        line = f"- {self.what}" + (f" [{source}]" if source else "")
        return line if self.said is None else f"{line}\n{quoted(self.said, nonce)}"


class BriefSection(View):
    """Facts under one heading. What is `internal` is for us and never goes to the customer."""

    key: str
    title: str
    internal: bool = False
    facts: list[Fact] = []
    cut: int = 0  # facts that did not fit
    more: str | None = None  # the call that gets them

    def text(self, nonce: str) -> str:
        state = f" ({self.cut} more left out)" if self.cut else "" if self.facts else ": nothing on record"
        return "\n".join([f"### {self.title}{state}", *(fact.text(nonce) for fact in self.facts)])


class Brief(View):
    """The facts behind one piece of work on one account."""

    kind: BriefKind
    account: Named
    contact: Named | None = None
    as_of: date
    period_start: date | None = None
    period_end: date | None = None
    sections: list[BriefSection] = []
    gaps: list[str] = []
    left_out: list[LeftOut] = []

    def text(self, nonce: str) -> str:
        """The whole between ⟦brief nonce · …⟧ and ⟦end brief nonce⟧: all of it is data."""
        window = f" · {self.period_start} to {self.period_end}" if self.period_start else ""
        lines = [
            f"⟦brief {nonce} · {self.kind} · {self.account.id} · as of {self.as_of}{window}⟧",
            f"# {self.kind} brief: {self.account.text(nonce)}",
        ]
        for heading, internal in (("Usable in what the customer reads", False), ("Internal: for us alone", True)):
            of_kind = [section for section in self.sections if section.internal is internal]
            if of_kind:
                lines += [f"## {heading}", *(section.text(nonce) for section in of_kind)]
        lines.append("## Missing" + ("" if self.gaps else ": nothing"))
        lines += [f"- {gap}" for gap in self.gaps]
        lines += [f"Left out: {left.what}. Call {left.call}." for left in self.left_out]
        return "\n".join([*lines, f"⟦end brief {nonce}⟧"])

    @property
    def uri(self) -> str:
        """Where the same brief can be read again."""
        about = f"?contact={self.contact.id}" if self.contact else ""
        if self.period_start:
            about = f"?period_start={self.period_start}&period_end={self.period_end}"
        return f"cs://accounts/{self.account.id}/brief/{self.kind}{about}"


def within_budget(brief: Brief, budget_tokens: int = BUDGET_TOKENS) -> Brief:
    """The brief with as many facts of each section, in their order, as fit; what does not is named with its call."""
    head: Any = brief.model_copy(update={"sections": []})
    used = max(len(head.text("0" * 8).encode()), len(head.model_dump_json(exclude_none=True).encode())) + _FRAME_BYTES
    room = int(budget_tokens * BYTES_PER_TOKEN)
    # A first fact of every section before a second of any: a long section must not silence a short one.
    wanted = [(rank, place) for place, section in enumerate(brief.sections) for rank in range(len(section.facts))]
    kept: dict[int, int] = {}
    full: set[int] = set()
    for rank, place in sorted(wanted):
        fact = brief.sections[place].facts[rank]
        size = max(len(fact.text("0" * 8).encode()), len(fact.model_dump_json(exclude_none=True).encode())) + 1
        if place in full or used + size > room:
            full.add(place)
            continue
        used += size
        kept[place] = rank + 1
    sections: list[BriefSection] = []
    left: list[LeftOut] = []
    for place, section in enumerate(brief.sections):
        fit = section.facts[: kept.get(place, 0)]
        cut = len(section.facts) - len(fit)
        sections.append(section.model_copy(update={"facts": fit, "cut": cut}))
        if cut:
            of = f"{cut} of {len(section.facts)} under {section.title!r}"
            left.append(LeftOut(what=of, call=section.more or f"get_account with account {brief.account.id}"))
    return brief.model_copy(update={"sections": sections, "left_out": [*brief.left_out, *left]})


def name_of(text: str | None) -> str:
    """A stored name inside our own sentences."""
    return shown(text or "?", 120)
