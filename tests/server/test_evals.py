"""Every task is done right by its scripted caller, and by nobody who does nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from evals._answer import mentioned, money, said_in
from evals._stage import A_DAY, clock_at, load, play, scene_of, set_up
from evals._task import TASKS, Hands
from evals._world import World

load()
CLOCK = clock_at(A_DAY)


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> World:
    return asyncio.run(set_up(tmp_path_factory.mktemp("evals"), CLOCK))


def test_there_are_enough_tasks() -> None:
    assert len(TASKS) >= 45


@pytest.mark.parametrize("name", sorted(TASKS))
async def test_a_task_passes_for_who_does_it_and_for_nobody_else(name: str, before: World, tmp_path: Path) -> None:
    task = TASKS[name]
    mode = "legacy" if sum(name.encode()) % 2 else "auto"  # half of them in either era
    scene = await scene_of(task, before, tmp_path, CLOCK)

    untouched = task.verdict(scene.after(answer=""))
    score = await play(task, scene, CLOCK, mode)

    assert not all(held for _, held in untouched), "it passes for a caller that does and says nothing"
    assert score.failure is None, score.failure
    assert [claim for claim, held in score.claims if not held] == []


@pytest.mark.parametrize("name", ["fix_a_date", "find_the_quiet_ones", "snooze_a_task"])
async def test_doing_more_than_was_asked_is_wrong(name: str, before: World, tmp_path: Path) -> None:
    right = TASKS[name]

    async def too_much(hands: Hands) -> str | None:
        answer = await right.caller(hands)
        await hands.call("add_health_note", account="Massive Dynamic", text="While I am at it.")
        return answer

    score = await play(replace(right, caller=too_much), await scene_of(right, before, tmp_path, CLOCK), CLOCK)

    assert score.failure is None
    assert len([claim for claim, held in score.claims if not held]) == 1


async def test_a_write_under_the_name_of_another_is_wrong(before: World, tmp_path: Path) -> None:
    right = TASKS["fix_a_date"]

    async def as_lea(hands: Hands) -> str | None:
        async with hands.as_("lea") as lea:
            return await right.caller(lea)

    score = await play(replace(right, caller=as_lea), await scene_of(right, before, tmp_path, CLOCK), CLOCK)

    assert [claim for claim, held in score.claims if not held] == ["all is written under the name of who asked"]


@pytest.mark.parametrize("said", ["on 2026-05-04.", "May 4, 2026", "on Monday 4 May 2026", "4 May", "until May 4"])
def test_a_day_counts_however_it_is_written(said: str) -> None:
    assert said_in(said, date(2026, 5, 4))
    assert not said_in(said, date(2026, 5, 14))


def test_a_figure_counts_as_a_whole() -> None:
    assert said_in("ARR is $48,000.00 a year", money(4_800_000, "USD"))
    assert not said_in("ARR is 148,000 USD", money(4_800_000, "USD"))
    assert money(894_050, "EUR") == "8940.5"
    assert money(4_800_000, "JPY") == "4800000"


def test_a_name_within_a_longer_one_is_not_mentioned() -> None:
    names = ["Acme Robotics", "Acme Robotics Japan", "O'Brien & Söhne"]

    assert mentioned("Only acme robotics japan.", names) == {"Acme Robotics Japan"}
    assert mentioned("Acme Robotics, Acme Robotics Japan", names) == {"Acme Robotics", "Acme Robotics Japan"}
    assert mentioned("O&#39;Brien &amp; Söhne", names) == {"O'Brien & Söhne"}
