"""The state machine but for its rules: how a write is sent and judged, and what must hold of the store after each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from _model import EMPTY, Draft, Entry, Model, Refused, Row, broken
from _model_bench import Bench
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from conftest import NOW
from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.history.changes import plain, recorded_columns
from cs_mcp.domain.contract import Command
from cs_mcp.domain.errors import Conflict, CustomerSuccessError
from faults._oracle import history_faults

TODAY = NOW.date()
WHY = "Said so"
Born = Callable[[str], str]
Effect = Callable[[Born], Draft]


# What the machine may do: a name of a method, and its arguments; more often what is in here more often.
STEPS: list[tuple[str, st.SearchStrategy[tuple[str, dict[str, Any]]]]] = []
who = st.sampled_from(["ada"] * 4 + ["lea"] * 2 + ["kim"])
which = st.integers(0, 31)
days = st.integers(-5, 3).map(lambda n: TODAY + timedelta(days=n))
stale = st.sampled_from([0] * 8 + [-1, 1])
keys = st.sampled_from([None, "k1", "k2", "k3"])


def move(weight: int, **given: Any) -> Callable[[Any], Any]:
    """A step that the machine may take, with the arguments it draws; `weight` is how often."""

    def declare(method: Any) -> Any:
        step = st.tuples(st.just(method.__name__), st.fixed_dictionaries(given))
        STEPS.extend([(method.__name__, step)] * weight)
        return method

    return declare


def chosen(rows: list[Row], number: int) -> Row | None:
    return rows[number % len(rows)] if rows else None


class Company(RuleBasedStateMachine):
    """People at work on one small book. After every step the whole store is held against the model."""

    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.desks = self.bench.begin()
        self.people = {name: desk.id for name, desk in self.desks.items()}
        self.before = len(self.bench.rows()["change"])
        self.model = Model(now=NOW.isoformat(), today=str(TODAY))
        self.keyed: dict[tuple[str, str, str], tuple[Command, str | None]] = {}
        self.made: list[str] = []

    def teardown(self) -> None:
        self.bench.end()

    # -- sending ----------------------------------------------------------------------------------------------
    def attempt(self, work: Any) -> Any:
        try:
            return self.bench.run(work)
        except CustomerSuccessError as refusal:
            return refusal

    def some(self, entity: str, number: int) -> Row | None:
        """Mostly a live one."""
        every = [row for row in self.model.rows.values() if row.entity == entity]
        return chosen(every if number > 28 else self.model.live(entity), number)

    def sees(self, name: str, account: str | None) -> bool:
        """Ada sees everything; Lea what nobody or Ana owns, whom she leads; Kim what nobody or she herself owns."""
        if account is None or name == "ada":
            return account is not None
        owner = self.model.rows[account].fields["owner_id"]
        return owner in (None, self.people["ana" if name == "lea" else "kim"])

    def sends(self, name: str, command: Command, effect: Effect) -> None:
        """Carry out a command; it must do what `effect` drafts, or be refused as it says."""
        answer = self.attempt(self.desks[name].do(command))
        slot = (name, command.tool, command.idempotency_key or "")
        if command.idempotency_key is not None and slot in self.keyed:
            self._answered_again(command, self.keyed[slot], answer)
            return
        change = self._happened(answer, effect)
        if command.idempotency_key is not None and not isinstance(answer, Exception):
            self.keyed[slot] = (command, change)

    def _answered_again(self, command: Command, earlier: tuple[Command, str | None], answer: Any) -> None:
        first, change = earlier
        name = command.idempotency_key
        if command.arguments() != first.arguments():
            assert isinstance(answer, Conflict), answer
            assert "with other arguments" in answer.message
        else:
            assert not isinstance(answer, Exception), f"{name} is forgotten: {answer!r}"
            assert (answer.already_done, answer.change_id) == (True, change)

    def _happened(self, answer: Any, effect: Effect, undoes: str | None = None) -> str | None:
        """Bring the model up to what was answered; the change_id."""
        changed = [] if isinstance(answer, Exception) else answer.changed
        fresh: dict[str, deque[str]] = {}
        for record in changed:
            if record.did == "created":
                fresh.setdefault(record.record, deque()).append(record.id)
        try:
            draft = effect(lambda entity: fresh[entity].popleft() if fresh.get(entity) else f"no {entity}")
        except Refused as refused:
            assert type(answer) is refused.kind, f"expected {refused}, got {answer!r}"
            assert not refused.naming or any(one in answer.message for one in refused.naming), answer.message
            return None
        assert not isinstance(answer, Exception), f"refused: {answer!r}"
        entries = self.model.enter(draft, answer.change_id or "", undoes=undoes)
        told = sorted((record.id, record.record, record.did) for record in changed)
        drafted = sorted((entry.id, entry.entity, entry.kind) for entry in entries)
        assert told == drafted, f"answered {told}\ndrafted {drafted}"
        assert (answer.change_id is None) == (not entries)
        if entries:
            self.made.append(answer.change_id)
        return answer.change_id

    # -- plans ------------------------------------------------------------------------------------------------
    def shows(self, plan: Any, planned: Draft) -> dict[str, set[str]]:
        """What a plan would change, by record: as drafted, and nothing of it done yet."""
        assert not isinstance(plan, Exception), f"refused: {plan!r}"
        assert plan.change_id is None
        shown = self.model.touched(planned)
        told = {d.id: {change.field for change in d.fields} for d in plan.differences if d.did != "created"}
        # Amounts are told as money, and a removal as what was done.
        drafted = {r: {name.removesuffix("_minor") for name in fields - {"removed_at"}} for r, fields in shown.items()}
        assert told == drafted, f"told {told}\ndrafted {drafted}"
        self.the_store_is_what_the_model_says()
        return shown

    def carries_out(
        self, name: str, plan: Any, shown: dict[str, set[str]], since: list[Entry], again: Effect,
        undoes: str | None = None,
    ) -> None:  # fmt: skip
        """Commit a plan: refused where someone set a field of it since, or where it would touch other records now."""

        def effect(born: Born) -> Draft:
            if any(entry.after.keys() & (shown.get(entry.id, set()) - {"removed_at"}) for entry in since):
                raise Refused(Conflict)
            draft = again(born)
            if self.model.touched(draft).keys() - shown.keys():
                raise Refused(Conflict)
            return draft

        self._happened(self.attempt(self.desks[name].commits(plan.plan_id)), effect, undoes)

    # -- what must hold ---------------------------------------------------------------------------------------
    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        tables = self.bench.rows()
        assert history_faults(tables) == []
        for entity in EMPTY:
            columns = recorded_columns(REMEMBERED[entity])
            stored = {row["id"]: ({n: plain(row[n]) for n in columns}, row["version"]) for row in tables[entity]}
            modelled = {r.id: (r.fields, r.version) for r in self.model.rows.values() if r.entity == entity}
            differing = {key: (stored.get(key), modelled.get(key)) for key in stored.keys() | modelled.keys()}
            differing = {key: both for key, both in differing.items() if both[0] != both[1]}
            assert not differing, f"{entity}, stored and modelled: {differing}"
        payloads = {row["seq"]: row for row in tables["change_payload"]}
        told = [
            (e["change_id"], e["entity_id"], e["entity_version"], e["kind"], payloads[e["seq"]]["before"],
             payloads[e["seq"]]["after"])
            for e in tables["change"][self.before :]
        ]  # fmt: skip
        versions: dict[str, int] = {}
        expected = []
        for e in self.model.entries:
            versions[e.id] = versions.get(e.id, 0) + 1
            expected.append((e.change, e.id, versions[e.id], e.kind, e.before, e.after))
        # Entries of one write come in the order of the flush, which the model does not know.
        assert sorted(told, key=str) == sorted(expected, key=str)
        assert [e[0] for e in told] == [e[0] for e in expected]
        assert broken(self.model.rows.values(), str(TODAY)) == []
        for account in tables["account"]:
            ledger = [m for m in tables["arr_movement"] if m["account_id"] == account["id"] and m["removed_at"] is None]
            assert account["arr_minor"] == sum(m["amount_minor"] for m in ledger if m["on"] <= TODAY)
