"""The brief behind a personal reply to someone unhappy: what they said, what was done since, and the clock."""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple

from cs_mcp.db.read_path import Row
from cs_mcp.domain.contract import Named, shown
from cs_mcp.domain.errors import Conflict
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.text import quote
from cs_mcp.domain.work.reply_clock import ReplyState, reply_clock
from cs_mcp.services.briefs.facts import INTERNAL_KINDS, Ground, attended
from cs_mcp.services.briefs.views import QUOTE_LIMIT, Brief, BriefSection, Fact, name_of

CANDIDATES: Final = 5
_STATE: Final = {
    ReplyState.running: "the reply is still in time",
    ReplyState.overdue: "the reply is OVERDUE",
    ReplyState.escalated: "the reply is OVERDUE and has escalated to the CS leader",
}


class Feedback(NamedTuple):
    """A negative meeting or note, and the day it came in."""

    row: Row
    on: date
    is_note: bool

    def fact(self, ground: Ground) -> Fact:
        return ground.note(self.row) if self.is_note else ground.meeting(self.row)


def detractor_brief(ground: Ground, contact: str | None, concern: str | None, principal: Principal) -> Brief:
    """`contact` is the id of one of the account's people; without it, who was at the last bad meeting is taken."""
    account = ground.found.account
    here = account["id"]
    person = ground.people[contact] if contact is not None else _likely(ground)
    if person is not None and person["status"] == "departed":
        raise _gone(ground, person)
    heard = _feedback(ground, person["id"] if person is not None else None)
    latest = heard[0] if heard else None
    since = latest.on if latest is not None else None
    answer = _answered(ground, person, since)
    sections = [
        BriefSection(key="person", title="Who it goes to", facts=_addressed(ground, person)),
        BriefSection(key="concern", title="The concern", facts=_concern(ground, latest, concern, principal)),
        BriefSection(
            key="done",
            title="Done since",
            facts=[ground.done_task(t) for t in ground.found.done if since is not None and t["done_on"] >= since]
            + [ground.meeting(m) for m in _later(ground, since)],
            more=f"list_tasks with account {here}, status ['done']",
        ),
        BriefSection(key="next", title="Planned meetings", facts=[ground.meeting(m) for m in ground.planned[:5]]),
        BriefSection(key="clock", title="Reply clock", internal=True, facts=_clock(ground, latest, answer)),
        BriefSection(
            key="tasks",
            title="Our open work",
            internal=True,
            facts=[ground.open_task(t) for t in ground.found.tasks],
            more=f"list_tasks with account {here}",
        ),
        BriefSection(
            key="earlier", title="Said badly before", internal=True, facts=[f.fact(ground) for f in heard[1:4]]
        ),
        BriefSection(key="account", title="The account", internal=True, facts=_account(ground)),
    ]
    return Brief(
        kind="detractor",
        account=Named(id=here, name=account["name"]),
        contact=Named(id=person["id"], name=person["name"]) if person is not None else None,
        as_of=ground.today,
        sections=sections,
        gaps=_gaps(ground, person, latest, concern, since),
    )


def _likely(ground: Ground) -> Row | None:
    """The one person who was at the last bad meeting, or the only one known to be unhappy."""
    for meeting in ground.held:
        if meeting["sentiment"] == "negative" and meeting["kind"] not in INTERNAL_KINDS:
            there = [ground.people[c] for c in sorted(attended(meeting)) if c in ground.people]
            if present := [person for person in there if person["status"] != "departed"]:
                return present[0] if len(present) == 1 else None
    unhappy = _unhappy(ground)
    return unhappy[0] if len(unhappy) == 1 else None


def _unhappy(ground: Ground) -> list[Row]:
    return [
        person
        for person in ground.found.people
        if person["status"] != "departed" and (person["sentiment"] == "negative" or "detractor" in person["roles"])
    ]


def _feedback(ground: Ground, contact: str | None) -> list[Feedback]:
    """Bad meetings they were at, and bad notes that name them or came from such a meeting; newest first.

    While it is open who they are, bad meetings with anybody.
    """
    bad = [m for m in ground.held if m["sentiment"] == "negative" and m["kind"] not in INTERNAL_KINDS]
    found = [Feedback(m, m["held_on"], is_note=False) for m in bad if contact is None or contact in attended(m)]
    if contact is None:
        return found
    name = ground.people[contact]["name"].casefold()
    theirs = {m["id"] for m in ground.held if contact in attended(m)}
    known = {feedback.row["id"] for feedback in found}
    for note in ground.notes:
        if note["sentiment"] != "negative" or note["meeting_id"] in known:
            continue
        if name in note["text"].casefold() or note["meeting_id"] in theirs:
            found.append(Feedback(note, note["written_on"], is_note=True))
    # Of one day, what they said to us comes before what we wrote of them.
    return sorted(found, key=lambda feedback: (feedback.on, not feedback.is_note), reverse=True)


def _later(ground: Ground, since: date | None) -> list[Row]:
    if since is None:
        return []
    return [m for m in ground.held if m["held_on"] > since and m["kind"] not in INTERNAL_KINDS]


def _answered(ground: Ground, person: Row | None, since: date | None) -> Row | None:
    """The first conversation with them after the day it came in."""
    if person is None:
        return None
    return next((m for m in reversed(_later(ground, since)) if person["id"] in attended(m)), None)


def _addressed(ground: Ground, person: Row | None) -> list[Fact]:
    return [] if person is None else [ground.person(person, "the reply goes to")]


def _concern(ground: Ground, latest: Feedback | None, concern: str | None, principal: Principal) -> list[Fact]:
    facts: list[Fact] = []
    if concern is not None:
        told = quote(concern, origin="given with the request", author=principal.name, limit=QUOTE_LIMIT)
        facts.append(Fact(what="the concern as told by whoever asks for this draft", on=ground.today, said=told))
    if latest is not None:
        fact = latest.fact(ground)
        ours = "our own note on them, perhaps not their words: " if latest.is_note else "heard from them: "
        facts.append(fact.model_copy(update={"what": ours + fact.what}))
    return facts


def _clock(ground: Ground, latest: Feedback | None, answer: Row | None) -> list[Fact]:
    if latest is None:
        return []
    came_at = None if latest.is_note else latest.row["held_at"]
    clock = reply_clock(latest.on, came_at, ground.now, ground.calendar)
    hour = "" if came_at else "; the hour is not on record, so it counts from the start of the day"
    facts = [Fact(what=f"came in {ground.local(clock.received_at)}{hour}", record=latest.row["id"], on=latest.on)]
    due = f"a personal reply is due within 48 hours: {ground.local(clock.due_at)}"
    if answer is not None:
        what = f"{due}; they were spoken to since, so this is a follow-up and not the first reply"
        return [*facts, Fact(what=what, record=answer["id"], on=answer["held_on"])]
    return [
        *facts,
        Fact(what=f"{due}; no conversation with them is on record since: {_STATE[clock.state]}"),
        Fact(what="unanswered after 5 business days it goes to the CS leader", on=clock.escalates_on),
    ]


def _account(ground: Ground) -> list[Fact]:
    account = ground.found.account
    owner = f"{name_of(account['owner_name'])} ({account['owner_id']})" if account["owner_id"] else "nobody"
    facts = [
        Fact(what=f"owned by {owner}; stage {account['stage'].replace('_', ' ')}", record=account["id"]),
        Fact(what=f"ARR {ground.amount(ground.found.arr_minor)}", record=account["id"], on=ground.today),
    ]
    return facts + [ground.renewal(row) for row in ground.found.renewals[:2]]


def _gaps(
    ground: Ground, person: Row | None, latest: Feedback | None, concern: str | None, since: date | None
) -> list[str]:
    gaps = ["Survey: no survey response on record; the concern comes from a meeting, a note or the request"]
    if person is None:
        known = _unhappy(ground) or [p for p in ground.found.people if p["status"] != "departed"]
        listed = "; ".join(f"{shown(p['name'])} ({p['id']})" for p in known[:CANDIDATES])
        gaps.append(f"Person: it is open who the reply goes to; give `contact`, e.g. {listed or 'nobody is on record'}")
    if latest is None and concern is None:
        gaps.append("Concern: nothing negative from them is on record, and none was given")
    elif latest is None:
        gaps.append("Clock: it is not on record when the concern came in, so no deadline can be counted")
    elif latest.is_note and concern is None:
        gaps.append("Their words: only our note is on record; ask whoever spoke to them before quoting")
    if since is None:
        gaps.append("Done: it is not known since when to look for what was done; claim nothing as done")
    elif not any(t["done_on"] >= since for t in ground.found.done):
        gaps.append("Done: nothing is recorded as done about it; claim nothing as done")
    if not ground.planned and not any(t["due_on"] and t["due_on"] >= ground.today for t in ground.found.tasks):
        gaps.append("Next step: nothing with a coming day is on record; agree one, its owner and its day first")
    return gaps


def _gone(ground: Ground, person: Row) -> Conflict:
    there = [p for p in ground.found.people if p["status"] != "departed"][:CANDIDATES]
    listed = "; ".join(f"{shown(p['name'])} ({p['id']})" for p in there) or "nobody else is on record"
    return Conflict(
        f"{shown(person['name'])} ({person['id']}) departed on {person['departed_on']}: nobody would read the reply.",
        remedy=f"Give as `contact` someone who is there: {listed}.",
    )
