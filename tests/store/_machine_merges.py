"""Steps that make one record of two, by a plan that is looked at, and carried out unless something came between."""

from __future__ import annotations

from typing import Literal

from _machine import WHY, chosen, move, which
from _machine_accounts import Accounts
from _machine_work import Work
from _model import Refused
from _model_rules import merges
from hypothesis import strategies as st

from cs_mcp.services.accounts.merge import MergeRecords


class Merges(Accounts, Work):
    @move(3, number=which, other=which, kind=st.sampled_from(["account", "contact"]),
          meanwhile=st.sampled_from([None, None, "industry", "task"]))  # fmt: skip
    def merges_two(self, number: int, other: int, kind: Literal["account", "contact"], meanwhile: str | None) -> None:
        """Planned, shown to write nothing, and carried out, unless what happened meanwhile is in its way."""
        live = self.model.live(kind)
        kept = chosen(live, number)
        # Seldom with itself; contacts of one account more often than not.
        others = [row for row in live if row is not kept and (kind == "account" or row.account == kept.account)]
        gone = chosen(others if other < 26 else live, other)
        if kept is None or gone is None:
            return
        ada = self.desks["ada"]
        plan = self.attempt(ada.do(MergeRecords(kind=kind, keep=kept.id, merge=gone.id, reason=WHY)))
        try:
            planned = merges(self.model, kept, gone)
        except Refused as refused:
            assert type(plan) is refused.kind, plan
            return
        assert not isinstance(plan, Exception), f"refused: {plan!r}"
        assert plan.change_id is None
        shown = self.shows(plan, planned)
        entries = len(self.model.entries)
        if meanwhile == "industry":
            self.updates_an_account("lea", self._number_of(kept.account), 0, None, False, {"industry": "Mining"})
        elif meanwhile == "task":
            self.creates_tasks("lea", self._number_of(gone.account), [None], None)
        since = self.model.entries[entries:]

        self.carries_out("ada", plan, shown, since, lambda born: merges(self.model, kept, gone))

    def _number_of(self, account: str) -> int:
        return [row.id for row in self.model.live("account")].index(account)
