"""Any order of writes, undos, merges and retries ends as a plain model says, on both stores, entry by entry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from _machine import STEPS
from _machine_merges import Merges
from _machine_people import People
from _machine_renewals import Renewals
from _machine_undo import Undos
from _model_bench import Bench, PostgresBench
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from conftest import PROOF, Postgres

SETTINGS = settings(
    max_examples=10 * PROOF,
    stateful_step_count=30,
    deadline=None,
    derandomize=PROOF == 1,  # the same examples in every run; a proof draws new ones
    suppress_health_check=list(HealthCheck),
    # Steps are slow, so that shrinking takes minutes: a proof does.
    phases=[Phase.explicit, Phase.reuse, Phase.generate] + ([Phase.shrink] if PROOF > 1 else []),
)
# Hypothesis is fond of the first: the undo.
ORDERED = [step for _, step in sorted(STEPS, key=lambda named: not named[0].startswith("undoes"))]


class AtWork(Merges, People, Renewals, Undos):
    """People at work on one small book."""

    @initialize()
    def a_small_book(self) -> None:
        self.opens_an_account("ada", 0, False, "Freight", ["pilot"], None)
        self.opens_an_account("ada", 1, True, None, [], None)
        first, second = self.model.live("account")
        for account, name in ((first, "Priya"), (first, "Jon"), (second, "Mia")):
            self.enters("ada", account, name, None, None)
        self.signs_a_contract(0, 5, 120_000)

    # One rule draws them all: hypothesis would leave out half of many rules in each example, undo among them.
    @rule(step=st.sampled_from(ORDERED).flatmap(lambda step: step))
    def then(self, step: tuple[str, dict[str, Any]]) -> None:
        name, given = step
        getattr(self, name)(**given)


def play(bench: Bench) -> None:
    machine = type("AtWork", (AtWork,), {"bench": bench})
    try:
        run_state_machine_as_test(machine, settings=SETTINGS)
    finally:
        bench.close()


@pytest.mark.timeout(600 * PROOF)
def test_any_order_of_writes_ends_as_the_model_says(sqlite_template: Path, tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        play(Bench(runner, tmp_path, sqlite_template))


@pytest.mark.timeout(600 * PROOF)
def test_so_it_does_on_postgresql(postgres: Postgres, postgres_database: str) -> None:
    with asyncio.Runner() as runner:
        play(PostgresBench(runner, postgres, postgres_database))
