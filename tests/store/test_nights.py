"""Scores of a whole book in SQL: as the plain arithmetic has them, the same the second time, kept by version."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from random import Random
from subprocess import PIPE, Popen
from typing import Any

import pytest
from _health_book import HealthBook, random_book
from book import Desk, desk, rows_of, unit
from sqlalchemy import update

from conftest import NOW, SECRET, Team, new_team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE
from cs_mcp.db.drafts import Draft
from cs_mcp.db.facts.terms import LISTED, moment
from cs_mcp.db.health.scoring import scored
from cs_mcp.db.health.scoring_batches import next_accounts, score_batch
from cs_mcp.db.health.scoring_drafts import judge, slide_some, weigh
from cs_mcp.db.health.scoring_tables import RUNS, SNAPSHOTS
from cs_mcp.db.read_path import Statement
from cs_mcp.db.store import Store, open_store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.keeping import rebuild
from cs_mcp.db.usage.usage import USAGE_ROLLUP
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import contributions, score
from cs_mcp.domain.identity import Principal
from cs_mcp.services.health.overrides import OverrideHealth
from cs_mcp.services.health.rubric_files import default_text, read_rubric
from cs_mcp.services.health.rubrics import Rubrics, VersionTaken
from cs_mcp.services.health.scoring import Scoring, scored_of
from cs_mcp.services.wiring import Services

TODAY = NOW.date()
DEFAULT = default_text()


async def operator_of(team: Team) -> Principal:
    return await team.services.identity.operator(team.workspace)


async def a_book(store: Store, team: Team, accounts: int, seed: int = 7) -> HealthBook:
    book = random_book(store, Random(seed), TODAY, accounts)
    await book.write(store, team)
    return book


async def snapshots_of(store: Store, team: Team) -> list[dict[str, Any]]:
    return await rows_of(store, team.workspace, SNAPSHOTS, "account_id", "on")


async def columns_of(store: Store, team: Team) -> dict[str, tuple[Any, ...]]:
    scores = {row["account_id"]: row for row in await rows_of(store, team.workspace, ACCOUNT_SCORE, "account_id")}
    # Lists by score are sorted by the step first.
    assert all(row["step"] == (None if row["score"] is None else row["score"] // 10) for row in scores.values())
    rows = await rows_of(store, team.workspace, AccountRow.__table__, "id")
    told = ((row, scores[row["id"]]) for row in rows)
    return {row["id"]: (score["score"], row["health_band"], score["trend"], row["version"]) for row, score in told}


def random_rubric(random: Random, number: int) -> Rubric:
    """The default with other weights, lines, bands and rules: a measure may fall, rise, or do both."""
    plain = read_rubric(DEFAULT).model_dump(mode="json")
    measures = random.sample(plain["measures"], k=random.randint(1, len(plain["measures"])))
    for measure in measures:
        measure["weight"] = random.randint(1, 1000)
        raws = sorted(
            {round(raw * random.choice([0.3, 1, 2]) + random.uniform(-1, 1), 3) for raw, _ in measure["points"]}
        )
        measure["points"] = [[raw, random.randint(0, 100)] for raw in [*raws, round(raws[-1] + 0.7, 3)]]
    names = [measure["name"] for measure in measures]
    some = random.sample(names, k=random.randint(0, len(names)))
    plain |= {
        "version": f"random-{number}",
        "measures": measures,
        "min_coverage": random.choice([0, 0.2, 0.5]),
        "bands": {"green": random.randint(51, 90), "yellow": random.randint(20, 50)},
        "segments": {"smb": {name: random.randint(0, 9) for name in some} | {names[0]: 3}},
        "rules": random.sample(plain["rules"], k=random.randint(0, len(plain["rules"]))),
    }
    return Rubric.model_validate(plain)


async def test_every_account_scores_as_the_plain_arithmetic_says_by_any_rubric(store: Store, team: Team) -> None:
    book = await a_book(store, team, 80)
    random = Random(11)
    rubrics = [read_rubric(DEFAULT), *(random_rubric(random, n) for n in range(6))]
    calendar = (await store.workspace(team.workspace)).calendar
    bands: set[Band] = set()
    for rubric in rubrics:
        statement = Statement(lambda: scored(rubric, LISTED, rollup=False, with_facts=True))  # noqa: B023
        for day in (TODAY, TODAY - timedelta(days=45)):
            given = moment(day, calendar) | {"workspace": team.workspace, "accounts": book.accounts}
            [rows] = await store.reads.run([statement], given)
            assert len(rows) > 40
            for row in rows:
                found = scored_of(rubric, row)
                facts = {name[2:]: value for name, value in row.items() if name.startswith("f_")}
                assert found == score(rubric, row["segment"], found.raws, facts)
                if found.score_tenths is not None:
                    gives = contributions(rubric.weights(row["segment"]), found.points)
                    assert sum(gives.values()) == found.score_tenths
                bands.add(found.band)
    assert bands == set(Band)


async def test_a_night_snapshots_each_customer_and_the_second_rewrites_nothing(store: Store, team: Team) -> None:
    await a_book(store, team, 60)
    scoring, operator = Scoring(store), await operator_of(team)

    first = await scoring.score_all(operator, size=25)
    kept, columns = await snapshots_of(store, team), await columns_of(store, team)
    again = await scoring.score_all(operator, size=60)

    assert first.batches == 3
    assert first.written == first.accounts == len(kept) > 30
    assert (again.accounts, again.written) == (first.accounts, 0)
    assert await snapshots_of(store, team) == kept
    assert await columns_of(store, team) == columns
    for row in kept:
        health, band, trend, _ = columns[row["account_id"]]
        expected = None if row["score_tenths"] is None else row["score_tenths"] / 10
        assert (health, band, trend) == (expected, row["band"], None)
    runs = await rows_of(store, team.workspace, RUNS, "id")
    assert [(run["accounts"], run["batches"], run["finished_at"]) for run in runs] == [
        (first.accounts, 3, NOW),
        (first.accounts, 1, NOW),
    ]


async def test_the_night_and_a_look_at_one_account_are_the_same(store: Store, team: Team) -> None:
    await a_book(store, team, 30)
    scoring, operator = Scoring(store), await operator_of(team)
    await scoring.score_all(operator)
    rubric = read_rubric(DEFAULT)

    for row in await snapshots_of(store, team):
        one = await scoring.of_account(operator, row["account_id"])
        assert one is not None
        assert one.scored == scored_of(rubric, row)


async def test_a_night_that_meets_another_one_of_its_day_leaves_what_that_wrote(store: Store, team: Team) -> None:
    await a_book(store, team, 30)
    operator = await operator_of(team)
    await Scoring(store).score_all(operator)
    kept, columns = await snapshots_of(store, team), await columns_of(store, team)

    async with unit(store, operator) as work:
        batch = await next_accounts(work, "", 100)
        assert batch is not None
        rubric = read_rubric(DEFAULT)
        found = await score_batch(work, rubric, TODAY, "run_other", batch, rollup=True, fresh=True)

    assert found == (len(kept), 0)
    assert await snapshots_of(store, team) == kept
    assert await columns_of(store, team) == columns


async def test_snapshots_that_no_run_tells_of_are_left_where_they_are_right(store: Store, team: Team) -> None:
    """As where another night came between: a run that takes itself for the first of the day finds them."""
    await a_book(store, team, 30)
    operator = await operator_of(team)
    await Scoring(store).score_all(operator, size=8)
    kept, columns = await snapshots_of(store, team), await columns_of(store, team)
    async with unit(store, operator) as work:
        yesterday = {"as_of": TODAY - timedelta(days=1)}
        await work.session.execute(update(RUNS).where(RUNS.c.workspace == team.workspace).values(yesterday))

    again = await Scoring(store).score_all(operator, size=8)

    assert (again.accounts, again.written, again.batches) == (len(kept), 0, 4)
    assert await snapshots_of(store, team) == kept
    assert await columns_of(store, team) == columns


async def test_a_fact_that_moved_rewrites_its_account_alone(store: Store, team: Team) -> None:
    book = await a_book(store, team, 30)
    ada, scoring, operator = await desk(team, "ada"), Scoring(store), await operator_of(team)
    await scoring.score_all(operator)
    before = {row["account_id"]: row for row in await snapshots_of(store, team)}
    touched = next(a["id"] for a in book.rows["account"] if a["id"] in before)
    await ada.meets(touched, sentiment="negative")

    again = await scoring.score_all(operator)

    after = {row["account_id"]: row for row in await snapshots_of(store, team)}
    assert again.written == 1
    assert [a for a in after if after[a] != before[a]] == [touched]
    assert after[touched]["run_id"] == again.id


async def test_a_past_day_is_scored_from_its_own_records_and_leaves_the_account_as_it_is(
    store: Store, team: Team, clock: FixedClock
) -> None:
    await a_book(store, team, 30)
    scoring, operator = Scoring(store), await operator_of(team)
    await scoring.score_all(operator)
    columns = await columns_of(store, team)
    past = TODAY - timedelta(days=30)

    await scoring.score_all(operator, past)

    assert await columns_of(store, team) == columns
    then = {row["account_id"]: row["score_tenths"] for row in await snapshots_of(store, team) if row["on"] == past}
    # The next night tells how far each score moved since.
    await scoring.score_all(operator)
    now = {row["account_id"]: row["score_tenths"] for row in await snapshots_of(store, team) if row["on"] == TODAY}
    moved = {a: (now[a] - then[a]) / 10 for a in now if now[a] is not None and then.get(a) is not None}
    trends = {a: values[2] for a, values in (await columns_of(store, team)).items() if values[2] is not None}
    assert trends == pytest.approx(moved)
    assert moved
    with pytest.raises(Invalid, match="in the future"):
        await scoring.score_all(operator, TODAY + timedelta(days=1))


async def test_an_override_shows_in_the_account_until_it_ends_and_never_in_the_score(
    store: Store, team: Team, clock: FixedClock
) -> None:
    await a_book(store, team, 30)
    ada, scoring, operator = await desk(team, "ada"), Scoring(store), await operator_of(team)
    await scoring.score_all(operator)
    snapshot = next(row for row in await snapshots_of(store, team) if row["band"] == "red")
    account = snapshot["account_id"]
    until = TODAY + timedelta(days=1)
    await ada.do(OverrideHealth(account=account, band="green", expires_on=until, reason="Signed this week."))

    assert await bands_on(store, team, scoring, operator, account, TODAY) == ("green", "red")
    clock.advance(timedelta(days=1))
    assert await bands_on(store, team, scoring, operator, account, until) == ("green", "red")
    clock.advance(timedelta(days=1))
    last, computed = await bands_on(store, team, scoring, operator, account, until + timedelta(days=1))
    assert last == computed != "green"


async def bands_on(
    store: Store, team: Team, scoring: Scoring, operator: Principal, account: str, day: date
) -> tuple[str, str]:
    """The account's band after the night of a day, and that of its snapshot."""
    await scoring.score_all(operator)
    rows = {row["on"]: row for row in await snapshots_of(store, team) if row["account_id"] == account}
    return (await columns_of(store, team))[account][1], rows[day]["band"]


async def test_a_list_by_score_goes_on_where_its_page_ended_and_a_bound_is_exact(store: Store, team: Team) -> None:
    await a_book(store, team, 60)
    await Scoring(store).score_all(await operator_of(team))
    ada = await desk(team, "ada")
    rows = await rows_of(store, team.workspace, AccountRow.__table__, "id")
    scores = await columns_of(store, team)
    live = {row["id"]: scores[row["id"]][0] for row in rows if row["removed_at"] is None}
    worst = sorted(live, key=lambda account: (live[account] is None, live[account] or 0, account))
    middle = live[worst[len(worst) // 3]]
    assert middle is not None

    listed: list[str] = []
    cursor: str | None = None
    while cursor is not None or not listed:
        page = await ada.finds(sort="health_score", limit=7, cursor=cursor)
        listed += [item.id for item in page.items]
        cursor = page.next_cursor
    low, high = await ada.finds(score={"max": middle}), await ada.finds(score={"min": middle})

    assert listed == worst
    assert low.total == sum(score is not None and score <= middle for score in live.values())
    assert high.total == sum(score is not None and score >= middle for score in live.values())


async def test_a_changed_rubric_needs_a_version_of_its_own_and_old_scores_keep_theirs(store: Store, team: Team) -> None:
    await a_book(store, team, 20)
    scoring, operator, rubrics = Scoring(store), await operator_of(team), Rubrics(store)
    await scoring.score_all(operator, TODAY - timedelta(days=1))
    changed = DEFAULT.replace("green: 75", "green: 60")
    assert read_rubric(changed) != read_rubric(DEFAULT)

    with pytest.raises(VersionTaken, match=r"still called '1\.0'"):
        await rubrics.adopt(operator, changed)
    assert (await rubrics.in_force(operator)).bands.green == 75
    # Comments are no change.
    await rubrics.adopt(operator, "# ours\n" + DEFAULT)
    await rubrics.adopt(operator, changed.replace('version: "1.0"', "version: ours-1"))
    await scoring.score_all(operator)

    by_day = {row["on"]: row["rubric"] for row in await snapshots_of(store, team)}
    assert by_day == {TODAY - timedelta(days=1): "1.0", TODAY: "ours-1"}
    old = await rubrics.version(operator, "1.0")
    assert old is not None
    assert old.bands.green == 75
    await rubrics.adopt(operator, None)
    assert [(line.name, line.in_force) for line in await rubrics.versions(operator)] == [
        ("ours-1", False),
        ("1.0", False),
    ]
    assert (await rubrics.in_force(operator)).version == "1.0"


async def test_one_sees_the_score_of_an_account_in_their_own_book_only(store: Store, team: Team) -> None:
    ana, ben = await desk(team, "ana"), await desk(team, "ben")
    mine = await ana.opens("Initech")
    await ana.updates(mine, owner="ana@acme.example")

    assert await seen(store, ana, mine)
    assert not await seen(store, ben, mine)


async def seen(store: Store, who: Desk, account: str) -> bool:
    return await Scoring(store).of_account(who.principal, account) is not None


# -- killed in the middle -----------------------------------------------------------------------------------------

SCORER = """
import asyncio, sys
from datetime import UTC, datetime
from cs_mcp.db.store import open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.identity import Identity
from cs_mcp.services.health.scoring import Scoring

async def main(url, workspace, now):
    store = await open_store(url, clock=FixedClock(datetime.fromisoformat(now)))
    operator = await Identity(store, b"").operator(workspace)
    await Scoring(store).score_all(operator, progress=lambda n: print(n, flush=True), size=5)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.faults
async def test_a_run_killed_in_the_middle_and_run_again_ends_as_an_undisturbed_one(
    store: Store, store_url: str, team: Team, tmp_path: Path
) -> None:
    book = await a_book(store, team, 60)
    script = tmp_path / "scorer.py"
    script.write_text(SCORER, encoding="utf-8")
    for batches in (1, 4):
        command = [sys.executable, str(script), store_url, team.workspace, NOW.isoformat()]
        with Popen(command, stdout=PIPE) as scorer:  # noqa: ASYNC220 - nothing else runs meanwhile
            assert scorer.stdout is not None
            for _ in range(batches):
                assert scorer.stdout.readline()
            with suppress(ProcessLookupError):
                scorer.kill()
    half = len(await snapshots_of(store, team))

    done = await Scoring(store).score_all(await operator_of(team))

    assert 0 < half < done.accounts
    calendar = (await store.workspace(team.workspace)).calendar
    rubric = read_rubric(DEFAULT)
    statement = Statement(lambda: scored(rubric, LISTED, rollup=False))
    given = moment(TODAY, calendar) | {"workspace": team.workspace, "accounts": book.accounts}
    [rows] = await store.reads.run([statement], given)
    undisturbed = {row.pop("account_id"): row for row in rows}
    assert {row["account_id"]: _as_in(undisturbed, row) for row in await snapshots_of(store, team)} == undisturbed
    runs = await rows_of(store, team.workspace, RUNS, "id")
    assert [run["finished_at"] for run in runs] == [None, None, NOW]
    # What one process kept is as good to the next: another key would have everything read anew every night.
    assert len({run["facts_key"] for run in runs}) == 1


@pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
async def test_what_others_write_while_a_batch_waits_is_in_its_score(store: Store, team: Team) -> None:
    """On SQLite a batch is scored in one transaction and written in the next: who writes in between is not lost."""
    book = await a_book(store, team, 60)
    operator = await operator_of(team)
    later = sorted(book.accounts)[15:]

    def meddle(seen: int) -> None:
        """Another program halves the usage of all accounts that are still to be written."""
        if seen != 15:
            return
        with sqlite3.connect(store.where.path, timeout=5) as other:
            for account in later:
                other.execute("update usage_day set active_users = active_users / 2 where account_id = ?", (account,))
                other.execute("update usage_rollup set stale = 1 where account_id = ?", (account,))
        other.close()

    done = await Scoring(store).score_all(operator, progress=meddle, size=5)

    assert done.batches == 12
    calendar = (await store.workspace(team.workspace)).calendar
    statement = Statement(lambda: scored(read_rubric(DEFAULT), LISTED, rollup=False))
    given = moment(TODAY, calendar) | {"workspace": team.workspace, "accounts": book.accounts}
    [rows] = await store.reads.run([statement], given)
    records = {row.pop("account_id"): row for row in rows}
    assert {row["account_id"]: _as_in(records, row) for row in await snapshots_of(store, team)} == records


async def test_batches_grow_at_first_and_shrink_at_last_and_every_account_is_in_one(
    sqlite_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cs_mcp.services.health.scoring_run._LEAST", 4)
    monkeypatch.setattr("cs_mcp.services.health.scoring_run._WORTH_IT", 1)
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    await a_book(store, team, 60)
    seen = [0]

    done = await Scoring(store).score_all(await operator_of(team), progress=seen.append, size=12)

    assert [after - before for before, after in itertools.pairwise(seen)] == [4, 8, 12, 12, 12, 6, 4, 2]
    assert done.written == done.accounts == len(await snapshots_of(store, team))
    await store.close()


@pytest.mark.parametrize("pieces", [0, 2, 9], ids=["by the writer", "in part", "in the draft"])
async def test_a_score_is_the_same_wherever_it_is_judged(
    sqlite_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """In the draft until the writer has committed, the rest by the writer: how much that is, time tells."""
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    await a_book(store, team, 60)
    operator, scoring = await operator_of(team), Scoring(store)
    await scoring.score_all(operator, TODAY - timedelta(days=30))
    judged: list[int] = []

    async def some(draft: Draft, rubric: Rubric, given: Mapping[str, Any], _wanted: Callable[[], bool]) -> int:
        asked = itertools.count()
        judged.append(await judge(draft, rubric, given, lambda: next(asked) < pieces))
        return judged[-1]

    monkeypatch.setattr("cs_mcp.db.health.scoring_drafts._AT_ONCE", 5)
    monkeypatch.setattr("cs_mcp.services.health.scoring_run.judge", some)

    drafted = await scoring.score_all(operator, size=12)
    columns, snapshots = await columns_of(store, team), await snapshots_of(store, team)
    at_once = await scoring.score_all(operator)

    assert set(judged) == {min(5 * pieces, 15)}  # of twelve
    assert (drafted.written, at_once.written) == (drafted.accounts, 0)
    assert await columns_of(store, team) == columns
    assert await snapshots_of(store, team) == snapshots
    await store.close()


@pytest.mark.parametrize("steps", [1, 99], ids=["some of it", "all of it"])
async def test_usage_is_the_same_whether_the_writer_slides_it_or_the_draft(
    sqlite_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """The writer does while it waits for the draft: how much that is, time tells."""
    monkeypatch.setattr("cs_mcp.db.health.scoring_drafts._SLID_AT_ONCE", 2)
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    book = await a_book(store, team, 60)
    operator, scoring = await operator_of(team), Scoring(store)
    slid: list[str] = []
    again = asyncio.Event()

    async def slide_and_tell(work: UnitOfWork, given: Mapping[str, Any], after: str) -> str:
        upto = await slide_some(work, given, after)
        slid.append(upto)
        if len(slid) % steps == 0 or upto == given["upto"]:
            again.set()
            await asyncio.sleep(0)
        return upto

    async def weigh_late(draft: Draft, rubric: Rubric, given: Mapping[str, Any], after: str) -> None:
        again.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(again.wait(), 0.5)  # nobody comes where no batch follows
        await weigh(draft, rubric, given, after)

    await scoring.score_all(operator, size=12)
    clock.advance(timedelta(days=1))
    monkeypatch.setattr("cs_mcp.services.health.scoring_run.slide_some", slide_and_tell)
    monkeypatch.setattr("cs_mcp.services.health.scoring_run.weigh", weigh_late)
    drafted = await scoring.score_all(operator, size=12)

    assert len(slid) > 3
    day = TODAY + timedelta(days=1)
    calendar = (await store.workspace(team.workspace)).calendar
    statement = Statement(lambda: scored(read_rubric(DEFAULT), LISTED, rollup=False))
    given = moment(day, calendar) | {"workspace": team.workspace, "accounts": book.accounts}
    [rows] = await store.reads.run([statement], given)
    records = {row.pop("account_id"): row for row in rows}
    found = [row for row in await snapshots_of(store, team) if row["on"] == day]
    assert drafted.written == len(found) > 40
    assert {row["account_id"]: _as_in(records, row) for row in found} == records
    kept = await rows_of(store, team.workspace, USAGE_ROLLUP, "account_id")
    async with unit(store, operator) as work:
        await rebuild(work, day)
    assert await rows_of(store, team.workspace, USAGE_ROLLUP, "account_id") == kept
    await store.close()


async def test_a_batch_that_does_not_fit_in_memory_waits_for_nobody(
    sqlite_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that runs out of memory takes the file for itself, and would then wait for who reads it beside him."""
    monkeypatch.setattr("cs_mcp.db.store.CACHE_KIB", 16)
    store = await open_store(sqlite_url, clock=clock, busy_milliseconds=1_000)
    team = await new_team(Services(store, SECRET))
    await a_book(store, team, 60)

    done = await Scoring(store).score_all(await operator_of(team), size=20)

    assert done.batches == 3
    assert done.written == len(await snapshots_of(store, team))
    await store.close()


def _as_in(wanted: Mapping[str, dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    like = wanted[row["account_id"]]
    return {name: row.get(name, like["segment"]) for name in like}
