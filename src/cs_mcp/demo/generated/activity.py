"""What was said and is to be done: meetings, notes and tasks, as often and in the mood the signals give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.demo.generated.history import Generated
from cs_mcp.demo.generated.people import People, mood_of
from cs_mcp.demo.generated.prose import Writer
from cs_mcp.demo.generated.randomness import happens
from cs_mcp.demo.generated.rowing import Placed
from cs_mcp.domain.accounts.accounts import Segment
from cs_mcp.domain.health.health import RiskCategory
from cs_mcp.domain.people.sponsors import Sentiment
from cs_mcp.domain.records import Ids
from cs_mcp.domain.work.meetings import MeetingKind, MeetingStatus, RenewalIntent
from cs_mcp.domain.work.tasks import Priority, TaskOrigin, TaskStatus

# Days between touches and between reviews, by segment; touches further back than a year are not kept.
_TOUCH_DAYS: Final = {Segment.enterprise: 45, Segment.mid_market: 75, Segment.smb: 150}
_REVIEW_DAYS: Final = {Segment.enterprise: 120, Segment.mid_market: 200, Segment.smb: 400}
_TOUCHES_KEPT: Final = 365
_TOUCH_KINDS: Final = (MeetingKind.check_in, MeetingKind.check_in, MeetingKind.call, MeetingKind.email)
_RISKS: Final = frozenset(risk.value for risk in RiskCategory)
_INTENT: Final = {
    Sentiment.positive: RenewalIntent.renew,
    Sentiment.neutral: RenewalIntent.unsure,
    Sentiment.negative: RenewalIntent.leave,
}


@dataclass(slots=True)
class Activity:
    account: Generated
    account_id: str
    people: People
    owner: tuple[str, str] | None  # id and name
    random: Random
    ids: Ids
    writer: Writer

    def rows(self) -> Iterator[Placed]:
        for kind, on in self._held():
            yield MeetingRow, self._meeting(kind, on)
        if (planned := self._planned()) is not None:
            yield MeetingRow, planned
        for note in self._notes():
            yield HealthNoteRow, note
        for task in self._tasks():
            yield TaskRow, task

    # -- meetings -----------------------------------------------------------------------------------------------
    @property
    def _last_day(self) -> date:
        return self.account.churned_on or self.account.today

    def _held(self) -> Iterator[tuple[MeetingKind, date]]:
        """Kinds and days of what was held, oldest first by kind."""
        account, first, last = self.account, self.account.starts_on, self._last_day
        segment = account.segment
        if segment is not Segment.smb:
            if happens(self.random, 0.85):
                yield MeetingKind.internal_handoff, first
            yield MeetingKind.kickoff, min(last, first + timedelta(days=self.random.randint(1, 14)))
        since = max(first, last - timedelta(days=_TOUCHES_KEPT))
        for day in self._days(since, last, _TOUCH_DAYS[segment]):
            yield self.random.choice(_TOUCH_KINDS), day
        review = MeetingKind.qbr if segment is Segment.enterprise else MeetingKind.value_review
        for day in self._days(first + timedelta(days=60), last, _REVIEW_DAYS[segment]):
            yield review, day
        if account.churned_on is not None and happens(self.random, 0.4):
            yield MeetingKind.exit_interview, min(account.today, last + timedelta(days=self.random.randint(1, 20)))

    def _days(self, first: date, last: date, apart: int) -> Iterator[date]:
        """Days about so far apart; the worse an account does, the more of them fall out."""
        day = first + timedelta(days=self.random.randint(1, apart))
        while day <= last:
            if happens(self.random, 1.0 - 0.75 * self.account.pressure(day)):
                yield day
            day += timedelta(days=self.random.randint(apart // 2, apart + apart // 2))

    def _meeting(self, kind: MeetingKind, on: date) -> dict[str, Any]:
        mood = mood_of(self.random, self.account.pressure(on))
        ours = kind is MeetingKind.internal_handoff
        review = kind in (MeetingKind.qbr, MeetingKind.value_review)
        row = self._blank(kind, on, MeetingStatus.held)
        row |= {
            "attendees": self._attendees(on, sponsor=review, ours=ours),
            "summary": self.writer.summary(kind, mood),
            "sentiment": None if ours or kind is MeetingKind.email else mood.value,
        }
        if review:
            row["roi_shown"] = mood is Sentiment.positive and happens(self.random, 0.7)
            row["decisions"] = self.writer.lines(self.random.randint(0, 2), "meetings", "any", "decisions")
            row["renewal_intent"] = _INTENT[mood].value if happens(self.random, 0.4) else None
        if not ours and happens(self.random, 0.15):
            row["product_requests"] = self.writer.lines(1, "meetings", "any", "requests")
        return row

    def _blank(self, kind: MeetingKind, on: date, status: MeetingStatus) -> dict[str, Any]:
        return {
            "id": self.ids.new("meeting"),
            "account_id": self.account_id,
            "kind": kind.value,
            "status": status.value,
            "held_on": on,
            "attendees": [],
            "decisions": [],
            "product_requests": [],
            "roi_shown": False,
        }

    def _attendees(self, on: date, *, sponsor: bool, ours: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if self.owner is not None:
            found.append({"user_id": self.owner[0], "contact_id": None, "name": self.owner[1], "attended": True})
        if ours:
            return found
        known = [c for c in self.people.contacts if c["departed_on"] is None or c["departed_on"] >= on]
        if len(known) > 1 and known[0]["id"] == self.people.sponsor:
            guests = known[1:]
            if sponsor:
                silent = self.people.sponsor_is_silent and (self.account.today - on).days < 200
                found.append(_guest(known[0]["id"], attended=not silent and happens(self.random, 0.75)))
        else:
            guests = known
        # The first of them is who we usually meet; others join now and then.
        for place, contact in enumerate(guests[:4]):
            if place == 0 or happens(self.random, 0.3):
                found.append(_guest(contact["id"], attended=place == 0 or happens(self.random, 0.85)))
        return found

    def _planned(self) -> dict[str, Any] | None:
        account = self.account
        chance = {Segment.enterprise: 0.7, Segment.mid_market: 0.45, Segment.smb: 0.08}[account.segment]
        if account.churned_on is not None or not happens(self.random, chance * (1 - account.pressure(account.today))):
            return None
        kind = self.random.choice((MeetingKind.check_in, MeetingKind.value_review, MeetingKind.renewal))
        on = account.today + timedelta(days=self.random.randint(1, 45))
        row = self._blank(kind, on, MeetingStatus.planned)
        row["attendees"] = self._attendees(account.today, sponsor=True, ours=False)
        return row

    # -- notes and tasks ----------------------------------------------------------------------------------------
    def _notes(self) -> Iterator[dict[str, Any]]:
        account = self.account
        most = {Segment.enterprise: 6, Segment.mid_market: 4, Segment.smb: 2}[account.segment]
        span = max(1, (self._last_day - account.starts_on).days)
        for _ in range(self.random.randint(0, most)):
            on = self._last_day - timedelta(days=min(span, int(self.random.expovariate(1 / 120))))
            mood = mood_of(self.random, account.pressure(on))
            subject = self.writer.subject(mood)
            yield {
                "id": self.ids.new("health_note"),
                "account_id": self.account_id,
                "written_on": on,
                "text": self.writer.note(mood, subject),
                "sentiment": mood.value,
                "risk": subject if mood is Sentiment.negative and subject in _RISKS else None,
                "author_id": self.owner[0] if self.owner is not None else None,
            }

    def _tasks(self) -> Iterator[dict[str, Any]]:
        account = self.account
        pressure = account.pressure(account.today)
        open_ones = 0 if account.churned_on is not None else self._count(0.5 + pressure)
        for _ in range(open_ones):
            worried = happens(self.random, pressure)
            subject = "risk" if worried else self.random.choice(("follow_up", "follow_up", "growth"))
            due = account.today + timedelta(days=int(self.random.gauss(10, 14)))
            priority = self.random.choice((Priority.high, Priority.urgent)) if worried else Priority.normal
            yield self._task(subject, due, priority)
        for _ in range(self._count(0.6)):
            on = self._last_day - timedelta(days=self.random.randint(0, 300))
            if on >= account.starts_on:
                done = self._task("follow_up", on + timedelta(days=self.random.randint(-3, 10)), Priority.normal)
                outcome = self.writer.line("tasks", "outcome")
                yield done | {"status": TaskStatus.done.value, "done_on": on, "outcome": outcome}

    def _count(self, mean: float) -> int:
        return min(4, int(self.random.expovariate(1 / mean)))

    def _task(self, subject: str, due: date, priority: Priority) -> dict[str, Any]:
        return {
            "id": self.ids.new("task"),
            "account_id": self.account_id,
            "title": self.writer.line("tasks", subject),
            "assignee_id": self.owner[0] if self.owner is not None else None,
            "due_on": due,
            "priority": priority.value,
            "status": TaskStatus.open.value,
            "origin": TaskOrigin.person.value,
        }


def _guest(contact: str, *, attended: bool) -> dict[str, Any]:
    return {"contact_id": contact, "user_id": None, "name": None, "attended": attended}
