"""Steps of daily work: tasks, notes, meetings and what comes out of them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from _machine import TODAY, WHY, Born, Company, chosen, days, keys, move, stale, which, who
from _model import Draft, Refused
from _model_rules import found
from hypothesis import strategies as st

from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.work.meetings import MeetingKind
from cs_mcp.services.health.health import AddHealthNote
from cs_mcp.services.work.meetings import LogMeeting, NewAttendee, NewNote
from cs_mcp.services.work.tasks import CreateTasks, NewTask, UpdateTask


class Work(Company):
    @move(
        2, name=who, number=which, purposes=st.lists(st.sampled_from([None, "qbr"]), min_size=1, max_size=2), key=keys
    )
    def creates_tasks(self, name: str, number: int, purposes: list[str | None], key: str | None) -> None:
        account = self.some("account", number)
        if account is None:
            return
        asked = [NewTask(title="Call them", purpose=purpose) for purpose in purposes]
        command = CreateTasks(account=account.id, tasks=asked, idempotency_key=key)

        def effect(born: Born) -> Draft:
            found(self.model, account.id, "account", seen=self.sees(name, account.id))
            open_already = {row.fields["purpose"] for row in self.model.live("task", account.id, status="open")}
            draft = Draft(self.model)
            for purpose in purposes:
                if purpose is not None and purpose in open_already:
                    continue
                open_already.add(purpose)
                draft.new("task", born("task"), account_id=account.id, title="Call them", purpose=purpose,
                          assignee_id=self.people[name])  # fmt: skip
            if not draft.born:
                raise Refused(Invalid)
            return draft

        self.sends(name, command, effect)

    @move(2, name=who, number=which, off=stale, status=st.sampled_from([None, "open", "done", "canceled"]),
          title=st.sampled_from([None, "Write"]), assignee=st.sampled_from([None, "ana", "kim"]))  # fmt: skip
    def updates_a_task(
        self, name: str, number: int, off: int, status: Any, title: str | None, assignee: str | None
    ) -> None:
        row = chosen([row for row in self.model.rows.values() if row.entity == "task"], number)
        if row is None:
            return
        version, outcome = max(1, row.version + off), "Sent" if status == "done" else None
        command = UpdateTask(task=row.id, expected_version=version, status=status, title=title, outcome=outcome,
                             assignee=self.people[assignee] if assignee else None)  # fmt: skip

        def effect(born: Born) -> Draft:
            found(self.model, row.id, "task", seen=self.sees(name, row.account), version=version)
            given = {"title": title, "outcome": outcome, "assignee_id": self.people.get(assignee or "")}
            new: dict[str, Any] = {n: v for n, v in given.items() if v is not None}
            if status is not None:
                new |= {"status": status, "done_on": str(TODAY) if status == "done" else None}
            draft = Draft(self.model)
            draft.edit(row.id, **new)
            draft.check()
            return draft

        self.sends(name, command, effect)

    @move(1, name=who, number=which, corrects=st.none() | which, sentiment=st.sampled_from([None, "positive"]))
    def writes_a_note(self, name: str, number: int, corrects: int | None, sentiment: Any) -> None:
        account = self.some("account", number)
        if account is None:
            return
        older = self.some("health_note", corrects) if corrects is not None else None
        command = AddHealthNote(account=account.id, text=WHY, sentiment=sentiment, corrects=older and older.id)

        def effect(born: Born) -> Draft:
            found(self.model, account.id, "account", seen=self.sees(name, account.id))
            if older is not None:
                found(self.model, older.id, "health_note", seen=self.sees(name, older.account))
                if older.account != account.id:
                    raise Refused(Conflict)
            draft = Draft(self.model)
            draft.new("health_note", born("health_note"), account_id=account.id, written_on=str(TODAY), text=WHY,
                      sentiment=sentiment, author_id=self.people[name], corrects_id=older and older.id)  # fmt: skip
            return draft

        self.sends(name, command, effect)

    @move(
        3,
        name=who,
        number=which,
        person=which,
        on=days.filter(lambda on: on <= TODAY + timedelta(days=1)),
        note=st.booleans(),
        follow_up=st.sampled_from([None, "qbr"]),
    )
    def logs_a_meeting(self, name: str, number: int, person: int, on: date, note: bool, follow_up: str | None) -> None:
        account = self.some("account", number)
        if account is None:
            return
        there = chosen(self.model.live("contact", account.id), person)
        command = LogMeeting(
            account=account.id, kind=MeetingKind.check_in, summary=WHY, held_on=on,
            attendees=[NewAttendee(contact=there.id)] if there else None,
            health_note=NewNote(text=WHY) if note else None,
            follow_ups=[NewTask(title="Call them", purpose=follow_up)] if follow_up else None,
        )  # fmt: skip

        def effect(born: Born) -> Draft:
            found(self.model, account.id, "account", seen=self.sees(name, account.id))
            if on > TODAY:
                raise Refused(Invalid)
            draft, attendees = Draft(self.model), list[dict[str, Any]]()
            if there is not None:
                told, day = there.fields, str(on)
                if told["status"] == "departed" and told["departed_on"] <= day:
                    raise Refused(Conflict)
                draft.edit(there.id, last_confirmed_on=max(filter(None, (told["last_confirmed_on"], day))))
                attendees = [{"contact_id": there.id, "user_id": None, "name": None, "attended": True}]
            meeting = draft.new("meeting", born("meeting"), account_id=account.id, kind="check_in", status="held",
                                held_on=str(on), summary=WHY, attendees=attendees)  # fmt: skip
            if note:
                draft.new("health_note", born("health_note"), account_id=account.id, written_on=str(on), text=WHY,
                          author_id=self.people[name], meeting_id=meeting)  # fmt: skip
            if follow_up is not None:
                if self.model.live("task", account.id, status="open", purpose=follow_up):
                    raise Refused(Invalid)
                draft.new("task", born("task"), account_id=account.id, title="Call them", purpose=follow_up,
                          assignee_id=self.people[name], origin="meeting", related_id=meeting)  # fmt: skip
            return draft

        self.sends(name, command, effect)
