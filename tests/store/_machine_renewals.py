"""Steps on contracts and their renewals, to the close."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from _machine import TODAY, WHY, Born, Company, chosen, days, move, stale, which, who
from _model import Draft, Refused, Row
from _model_rules import found, moves_renewal, open_renewal
from book import unit
from hypothesis import strategies as st

from cs_mcp.domain.contract import Amount
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.renewals.renewals import CYCLE, Renewal
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.services.renewals.closing import MoveRenewal
from cs_mcp.services.renewals.renewals import UpdateRenewal

amounts = st.sampled_from([None, 60_000, 120_000, 180_000])


class Renewals(Company):
    @move(1, number=which, month=st.sampled_from([2, 3, 5, 6]), arr=st.sampled_from([60_000, 120_000]))
    def signs_a_contract(self, number: int, month: int, arr: int) -> None:
        """What an import would bring: a year's term that ends before `month`, its ARR and its renewal."""
        account = chosen(self.model.live("account"), number)
        if account is None:
            return
        ends = date(2026, month, 1) - timedelta(days=1)
        change, term, movement, renewal = self.bench.run(self._signed(account.id, ends, arr))
        draft = Draft(self.model)
        starts = date(2025, month, 1)
        draft.new("subscription", term, account_id=account.id, starts_on=str(starts), ends_on=str(ends), arr_minor=arr)
        draft.new("arr_movement", movement, account_id=account.id, subscription_id=term, on=str(starts), kind="new",
                  amount_minor=arr)  # fmt: skip
        open_renewal(draft, renewal, account.id, term, owner=None)
        self.model.enter(draft, change)
        self.made.append(change)

    async def _signed(self, account: str, ends: date, arr: int) -> tuple[str, str, str, str]:
        operator = await self.bench.services.identity.operator(self.bench.workspace)
        starts = date(2025, ends.month % 12 + 1, 1)
        async with unit(self.bench.store, operator) as work:
            bought = Subscription(id=work.ids.new("subscription"), account_id=account, starts_on=starts, ends_on=ends,
                                  arr_minor=arr, currency="USD", term_months=12, notice_days=30)  # fmt: skip
            movement = ArrMovement(id=work.ids.new("arr_movement"), account_id=account, subscription_id=bought.id,
                                   on=starts, kind=MovementKind.new, amount_minor=arr, currency="USD")  # fmt: skip
            renewal = Renewal(
                id=work.ids.new("renewal"), account_id=account, subscription_id=bought.id, amount_minor=arr,
                currency="USD", closes_on=ends, notice_deadline_on=ends - timedelta(days=30), source_system=CYCLE,
                source_id=f"{bought.id}:{ends}",
            )  # fmt: skip
            work.subscriptions.add(bought)
            work.movements.add(movement)
            work.renewals.add(renewal)
            return work.act.change_id, bought.id, movement.id, renewal.id

    @move(1, name=who, number=which, off=stale, amount=amounts, closes=st.none() | days, confirmed=st.booleans(),
          forecast=st.sampled_from([None, "commit", "at_risk"]), reason=st.sampled_from([None, WHY]))  # fmt: skip
    def updates_a_renewal(
        self, name: str, number: int, off: int, amount: int | None, closes: date | None, confirmed: bool,
        forecast: Any, reason: str | None,
    ) -> None:  # fmt: skip
        row = self.some("renewal", number)
        if row is None:
            return
        version = max(1, row.version + off)
        known = {"stakeholders_confirmed_on": TODAY, "decision_criteria": ["Price"]} if confirmed else {}
        command = UpdateRenewal(renewal=row.id, expected_version=version, amount=_usd(amount), closes_on=closes,
                                forecast_category=forecast, reason=reason, **known)  # fmt: skip

        def effect(born: Born) -> Draft:
            told = found(self.model, row.id, "renewal", seen=self.sees(name, row.account), version=version).fields
            if told["stage"].startswith("closed"):
                raise Refused(Conflict)
            if forecast not in (None, told["forecast_category"]) and reason is None:
                raise Refused(Invalid)
            given = {"amount_minor": amount, "closes_on": closes and str(closes), "forecast_category": forecast}
            new = {n: v for n, v in given.items() if v is not None}
            if forecast is not None:
                new["category_reason"] = reason or told["category_reason"]
            if confirmed:
                new |= {"stakeholders_confirmed_on": str(TODAY), "decision_criteria": ["Price"]}
            draft = Draft(self.model)
            draft.edit(row.id, **new)
            return draft

        self.sends(name, command, effect)

    @move(1, name=who, number=which, off=stale, amount=amounts,
          to=st.sampled_from(["not_started", "discovery", "value_review", "proposal", "closed_won"]))  # fmt: skip
    def moves_a_renewal(self, name: str, number: int, off: int, amount: int | None, to: Any) -> None:
        if (row := self.some("renewal", number)) is not None:
            self._moves_a_renewal(name, row, off, amount, to)

    @move(3, number=which, amount=amounts, to=st.sampled_from(["closed_won", "closed_won", "closed_lost"]))
    def closes_a_renewal(self, number: int, amount: int | None, to: Any) -> None:
        still_open = [row for row in self.model.live("renewal") if not row.fields["stage"].startswith("closed")]
        if (row := chosen(still_open, number)) is not None:
            self._moves_a_renewal("ada", row, 0, amount, to)

    def _moves_a_renewal(self, name: str, row: Row, off: int, amount: int | None, to: Any) -> None:
        version, loss = max(1, row.version + off), "price" if to == "closed_lost" else None
        command = MoveRenewal(renewal=row.id, expected_version=version, stage=to, amount=_usd(amount), reason=WHY,
                              loss_reason=loss)  # type: ignore[arg-type]  # fmt: skip

        def effect(born: Born) -> Draft:
            found(self.model, row.id, "renewal", seen=self.sees(name, row.account), version=version)
            draft = Draft(self.model)
            moves_renewal(draft, row.id, to, born, amount=amount, why=loss or WHY)
            return draft

        self.sends(name, command, effect)


def _usd(minor: int | None) -> Amount | None:
    return None if minor is None else Amount.of(minor, "USD")
