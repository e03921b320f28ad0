"""Steps on people at the customer: contacts, seats, departures."""

from __future__ import annotations

from datetime import date
from typing import Any

from _machine import TODAY, Born, Company, days, keys, move, stale, which, who
from _model import Draft, Refused, Row
from _model_rules import departs, found, seat
from hypothesis import strategies as st

from cs_mcp.domain.errors import Ambiguous, Conflict, Invalid
from cs_mcp.services.people.sponsors import AssignSponsor, RecordDeparture, SaveContact

names = st.sampled_from(["Priya", "Jon", "Mia", "Ole"])


class People(Company):
    @move(1, name=who, number=which, called=names, title=st.sampled_from([None, "CFO"]), key=keys)
    def enters_a_contact(self, name: str, number: int, called: str, title: str | None, key: str | None) -> None:
        if (account := self.some("account", number)) is not None:
            self.enters(name, account, called, title, key)

    def enters(self, name: str, account: Row, called: str, title: str | None, key: str | None) -> None:
        command = SaveContact(account=account.id, name=called, title=title, idempotency_key=key)

        def effect(born: Born) -> Draft:
            found(self.model, account.id, "account", seen=self.sees(name, account.id))
            if twins := self.model.live("contact", account.id, name=called):
                raise Refused(Conflict, [row.id for row in twins])
            draft = Draft(self.model)
            draft.new("contact", born("contact"), account_id=account.id, name=called, title=title,
                      last_confirmed_on=str(TODAY))  # fmt: skip
            return draft

        self.sends(name, command, effect)

    @move(2, name=who, number=which, off=stale, title=st.sampled_from([None, "CFO", "COO"]),
          on_leave=st.none() | st.booleans(), sentiment=st.sampled_from([None, "positive", "negative"]),
          power=st.booleans())  # fmt: skip
    def updates_a_contact(
        self, name: str, number: int, off: int, title: str | None, on_leave: bool | None, sentiment: Any, power: bool
    ) -> None:
        row = self.some("contact", number)
        if row is None:
            return
        version = max(1, row.version + off)
        command = SaveContact(
            account=row.account, contact=row.id, expected_version=version, title=title, on_leave=on_leave,
            sentiment=sentiment, roles=["power_user"] if power else None,
        )  # fmt: skip

        def effect(born: Born) -> Draft:
            found(self.model, row.account, "account", seen=self.sees(name, row.account))
            told = found(self.model, row.id, "contact", seen=True, version=version).fields
            if told["status"] == "departed" and on_leave is not None:
                raise Refused(Conflict)
            given = {"title": title, "sentiment": sentiment}
            new = {n: v for n, v in given.items() if v is not None}
            if on_leave is not None:
                new["status"] = "on_leave" if on_leave else "active"
            if power:
                seats = [role for role in told["roles"] if role in ("executive_sponsor", "champion")]
                new["roles"] = sorted({*seats, "power_user"})
            draft = Draft(self.model)
            draft.edit(row.id, **new)
            return draft

        self.sends(name, command, effect)

    @move(3, number=which, correction=st.booleans())
    def seats_an_executive_sponsor(self, number: int, correction: bool) -> None:
        self.seats_someone("ada", number, "executive_sponsor", None, correction)

    @move(2, name=who, number=which, role=st.sampled_from(["executive_sponsor", "champion"]), since=st.none() | days,
          correction=st.booleans())  # fmt: skip
    def seats_someone(self, name: str, number: int, role: Any, since: date | None, correction: bool) -> None:
        row = self.some("contact", number)
        if row is None:
            return
        command = AssignSponsor(account=row.account, role=role, contact=row.id, since=since, correction=correction)

        def effect(born: Born) -> Draft:
            found(self.model, row.account, "account", seen=self.sees(name, row.account))
            found(self.model, row.id, "contact", seen=True)
            draft = Draft(self.model)
            seat(draft, row.id, role, str(since or TODAY), correction=correction, born=born)
            return draft

        self.sends(name, command, effect)

    @move(3, name=who, number=which, on=st.none() | days, successor=st.none() | names)
    def records_a_departure(self, name: str, number: int, on: date | None, successor: str | None) -> None:
        row = self.some("contact", number)
        if row is None:
            return
        command = RecordDeparture(account=row.account, contact=row.id, on=on, successor=successor)

        def effect(born: Born) -> Draft:
            found(self.model, row.account, "account", seen=self.sees(name, row.account))
            found(self.model, row.id, "contact", seen=True)
            draft, follows = Draft(self.model), None
            if successor is not None:
                known = self.model.live("contact", row.account, name=successor)
                if len(known) > 1:
                    raise Refused(Ambiguous)
                follows = known[0].id if known else draft.new(
                    "contact", born("contact"), account_id=row.account, name=successor, last_confirmed_on=str(TODAY)
                )  # fmt: skip
                if follows == row.id:
                    raise Refused(Invalid)
            departs(draft, row.id, str(on or TODAY), follows)
            return draft

        self.sends(name, command, effect)
