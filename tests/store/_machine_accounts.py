"""Steps on accounts: opening, updating, moving through the lifecycle."""

from __future__ import annotations

import json
from typing import Any

from _machine import TODAY, WHY, Born, Company, chosen, keys, move, stale, which, who
from _model import Draft, Refused
from _model_rules import found
from hypothesis import strategies as st

from cs_mcp.domain.errors import Conflict
from cs_mcp.services.accounts.accounts import CreateAccount, UpdateAccount
from cs_mcp.services.accounts.lifecycle import MoveAccountStage

industries = st.sampled_from(["Freight", "Retail"])


class Accounts(Company):
    @move(1, name=who, number=st.integers(0, 4), owned=st.booleans(), industry=st.none() | industries,
          tags=st.lists(st.sampled_from(["a", "b"]), max_size=2), parent=st.none() | which)  # fmt: skip
    def opens_an_account(
        self, name: str, number: int, owned: bool, industry: str | None, tags: list[str], parent: int | None
    ) -> None:
        above = chosen(self.model.live("account"), parent) if parent is not None else None
        title, owner = f"Account {number}", self.people["ana"] if owned else None
        command = CreateAccount(
            name=title, owner=owner, industry=industry, tags=tags, parent=above.id if above else None
        )

        def effect(born: Born) -> Draft:
            alike = [row for row in self.model.live("account", name=title) if self.sees(name, row.id)]
            if alike:
                raise Refused(Conflict, [row.id for row in alike])
            if above is not None:
                found(self.model, above.id, "account", seen=self.sees(name, above.id))
            draft = Draft(self.model)
            draft.new("account", born("account"), name=title, owner_id=owner, industry=industry, created_on=str(TODAY),
                      tags=sorted(set(tags)), parent_id=above.id if above else None)  # fmt: skip
            return draft

        self.sends(name, command, effect)

    @move(4, name=who, number=which, off=stale, key=keys, clear=st.booleans(),
          fields=st.fixed_dictionaries({}, optional={
              "industry": industries, "employees": st.integers(1, 2), "tier": st.sampled_from(["gold", "standard"]),
              "owner": st.sampled_from(["ana", "kim"]), "add_tags": st.just(["b"]), "remove_tags": st.just(["a"]),
              "renewal_on": st.just("2026-05-31"), "custom": st.sampled_from([{"plan": "x"}, {"plan": None, "n": 1}]),
          }))  # fmt: skip
    def updates_an_account(
        self, name: str, number: int, off: int, key: str | None, clear: bool, fields: dict[str, Any]
    ) -> None:
        row = self.some("account", number)
        if row is None:
            return
        version, told = max(1, row.version + off), dict(fields)
        if "owner" in told:
            told["owner"] = self.people[told["owner"]]
        emptied = ["owner"] if clear and "owner" not in told else []
        asked = told | {"account": row.id, "expected_version": version, "clear": emptied, "idempotency_key": key}
        command = UpdateAccount.model_validate_json(json.dumps(asked))

        def effect(born: Born) -> Draft:
            found(self.model, row.id, "account", seen=self.sees(name, row.id), version=version)
            new = {n: v for n, v in told.items() if n in ("industry", "employees", "tier", "renewal_on")}
            if "owner" in told or emptied:
                new["owner_id"] = told.get("owner")
            if "add_tags" in told or "remove_tags" in told:
                tags = {*row.fields["tags"], *told.get("add_tags", [])} - {*told.get("remove_tags", [])}
                new["tags"] = sorted(tags)
            if "custom" in told:
                custom = row.fields["custom"] | told["custom"]
                new["custom"] = {n: v for n, v in custom.items() if v is not None}
            draft = Draft(self.model)
            draft.edit(row.id, **new)
            return draft

        self.sends(name, command, effect)

    @move(1, name=who, number=which, off=stale, to=st.sampled_from(["adoption", "expansion", "churned"]))
    def moves_a_stage(self, name: str, number: int, off: int, to: Any) -> None:
        row = self.some("account", number)
        if row is None:
            return
        version = max(1, row.version + off)
        command = MoveAccountStage(account=row.id, to_stage=to, expected_version=version, override_reason=WHY)

        def effect(born: Born) -> Draft:
            found(self.model, row.id, "account", seen=self.sees(name, row.id), version=version)
            if row.fields["stage"] == to:
                raise Refused(Conflict)
            draft = Draft(self.model)
            draft.edit(row.id, stage=to)
            return draft

        self.sends(name, command, effect)
