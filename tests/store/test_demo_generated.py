"""The generated book hangs together, and is the same for the same seed and day."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest
from book import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import NOW, SECRET
from cs_mcp.db.base import REMEMBERED, Remembered
from cs_mcp.db.history.changes import CHANGES
from cs_mcp.db.store import Store, open_store
from cs_mcp.db.usage.usage import USAGE_DAY
from cs_mcp.demo.book import company
from cs_mcp.demo.generated.colleagues import BOOK
from cs_mcp.demo.generated.companies import company_of
from cs_mcp.demo.generated.facts import DAILY
from cs_mcp.demo.generated.history import RATES, account_of, signals
from cs_mcp.demo.generated.populate import populate
from cs_mcp.demo.generated.rows import members_and_batches, source_id
from cs_mcp.domain.accounts.accounts import Segment
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Member
from cs_mcp.domain.money import exponent
from cs_mcp.domain.records import Ids
from cs_mcp.services.history.changes import CommitPlan
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.wiring import Services

TODAY = NOW.date()
SEED = 7
BOOK_RANGE = {"enterprise": 30, "mid_market": 75, "smb": 500}  # domain.md 2
Rows = dict[str, list[dict[str, Any]]]


def made(accounts: int, seed: int = SEED, today: date = TODAY) -> Rows:
    """The rows by table, with ids that count."""
    number = count()
    ids = Ids(milliseconds=lambda: 0, random_bits=lambda _: next(number))
    people = company().people
    members = {c.key: Member(id=f"usr_{c.key}", name=c.name, email=f"{c.key}@x.example", role=c.role) for c in people}
    ours, batches = members_and_batches(seed, accounts, today=today, ids=ids, members=members, domain="x.example")
    found: Rows = defaultdict(list)
    for batch in (ours, *batches):
        for table, rows in batch.items():
            found[table.__tablename__] += rows
    return found


def dollars(account: dict[str, Any], amount_minor: int) -> float:
    return float(amount_minor * RATES[account["currency"]] / 10 ** exponent(account["currency"]))


@pytest.fixture(scope="module")
def large() -> Rows:
    return made(1500)


# -- what the histories are like --------------------------------------------------------------------------------
def test_low_use_foretells_churn() -> None:
    accounts = [account_of(SEED, number, TODAY) for number in range(3000)]
    ranked = sorted(accounts, key=lambda account: mean(signals(account).usage))
    bottom, top = ranked[:300], ranked[-300:]

    def rate(part: list[Any]) -> float:
        return mean(any(term.won is False for term in account.terms) for account in part)

    assert rate(bottom) >= 2 * rate(top)
    assert 0.02 < rate(accounts) < 0.3
    for account in accounts[:200]:
        told, gone = signals(account), account.churned_on
        last = told.begins_on + timedelta(days=7 * (len(told.usage) - 1))
        assert account.starts_on <= told.begins_on
        assert last <= TODAY
        assert gone is None or last < gone or len(told.usage) == 1
        assert all(0 <= share <= 1 for share in told.usage)


def test_tickets_foretell_churn_too() -> None:
    accounts = [account_of(SEED, number, TODAY) for number in range(1500)]
    strained = [a.pressure(TODAY) for a in accounts if a.latent.strain(TODAY) > 0.5]
    calm = [a.pressure(TODAY) for a in accounts if a.latent.strain(TODAY) < 0.1]

    assert len(strained) > 20
    assert median(strained) > median(calm)


def test_the_ledger_holds_every_kind_of_movement(large: Rows) -> None:
    kinds = Counter(movement["kind"] for movement in large["arr_movement"])

    assert set(kinds) == {"new", "expansion", "contraction", "churn", "reactivation", "price_change"}
    assert min(kinds.values()) >= 5
    assert all(m["reason"] for m in large["arr_movement"] if m["kind"] in ("churn", "contraction"))
    first = min(movement["on"] for movement in large["arr_movement"])
    assert TODAY - timedelta(days=3 * 366) <= first < TODAY - timedelta(days=1000)


def test_arr_is_ledger_and_contracts_and_makes_the_segment(large: Rows) -> None:
    posted: Counter[str] = Counter()
    contracted: Counter[str] = Counter()
    for movement in large["arr_movement"]:
        posted[movement["account_id"]] += movement["amount_minor"]
    for subscription in large["subscription"]:
        over = [day for day in (subscription["ends_on"], subscription["canceled_on"]) if day is not None]
        lives = subscription["canceled_on"] is None and all(day >= TODAY for day in over)
        contracted[subscription["account_id"]] += (
            subscription["arr_minor"] if lives and not subscription["trial"] else 0
        )
    for account in large["account"]:
        arr = posted[account["id"]]
        assert arr == contracted[account["id"]]
        assert (account["stage"] == "churned") <= (arr == 0)
        if arr:
            usd = dollars(account, arr)
            expected = "smb" if usd < 10_000 else "enterprise" if usd > 100_000 else "mid_market"
            assert account["segment"] == expected


def test_segments_tiers_and_books_are_as_the_domain_has_them(large: Rows) -> None:
    live = [account for account in large["account"] if account["stage"] != "churned"]
    shares = {segment: n / len(live) for segment, n in Counter(a["segment"] for a in live).items()}
    tiers = {tier: n / len(live) for tier, n in Counter(a["tier"] for a in live).items()}
    books: Counter[tuple[str, str]] = Counter((a["segment"], a["owner_id"]) for a in live if a["owner_id"])

    assert shares["smb"] > shares["mid_market"] > shares["enterprise"] > 0.05
    assert tiers["platinum"] == pytest.approx(0.2, abs=0.05)
    assert tiers["gold"] == pytest.approx(0.3, abs=0.06)
    assert all(size <= BOOK_RANGE[segment] for (segment, _), size in books.items())
    assert {segment for segment, _ in books} == {segment.value for segment in BOOK}
    assert any(account["owner_id"] is None for account in live)


def test_people_come_by_size_and_some_sponsors_are_missing(large: Rows) -> None:
    per_account: Counter[str] = Counter(contact["account_id"] for contact in large["contact"])
    sponsored = {seat["account_id"] for seat in large["sponsorship"] if seat["role"] == "executive_sponsor"}
    size = {
        segment: mean(per_account[a["id"]] for a in large["account"] if a["segment"] == segment.value)
        for segment in Segment
    }

    assert size[Segment.smb] < size[Segment.mid_market] < size[Segment.enterprise]
    assert 0.05 < 1 - len(sponsored) / len(large["account"]) < 0.3
    assert any(seat["to_on"] is not None for seat in large["sponsorship"])
    emails = [contact["email"] for contact in large["contact"]]
    assert len(set(emails)) == len(emails)


def test_one_renewal_a_cycle_and_none_open_without_a_contract(large: Rows) -> None:
    keys = [renewal["source_id"] for renewal in large["renewal"]]
    churned = {account["id"] for account in large["account"] if account["stage"] == "churned"}

    assert len(set(keys)) == len(keys)
    for renewal in large["renewal"]:
        if not renewal["stage"].startswith("closed_"):
            assert renewal["closes_on"] >= TODAY
            assert renewal["account_id"] not in churned
        else:
            assert renewal["closed_on"] <= TODAY
    assert {renewal["stage"] for renewal in large["renewal"]} >= {"discovery", "proposal", "negotiation", "closed_lost"}


def test_nothing_was_said_in_the_future_or_before_the_start(large: Rows) -> None:
    start = {account["id"]: account["created_on"] for account in large["account"]}

    for meeting in large["meeting"]:
        assert (meeting["held_on"] > TODAY) == (meeting["status"] == "planned")
        assert meeting["held_on"] >= start[meeting["account_id"]]
    assert all(start[note["account_id"]] <= note["written_on"] <= TODAY for note in large["health_note"])
    assert all(task["done_on"] <= TODAY for task in large["task"] if task["status"] == "done")


def test_prose_is_varied_and_complete(large: Rows) -> None:
    texts = [m["summary"] for m in large["meeting"] if m.get("summary")] + [n["text"] for n in large["health_note"]]
    sentences = {sentence for text in texts for sentence in re.split(r"(?<=[.!?]) ", text)}

    assert len(sentences) > 1000
    assert not any("{" in text or "}" in text for text in texts)
    assert not any(re.search(r"(^|[.!?] )[a-z]", text) for text in texts)
    # What a sentence says beside the words filled in.
    frames = {re.sub(r"[A-ZÀ-Ž]\S+ [A-ZÀ-Ž]\S+|\d+", "_", sentence) for sentence in sentences}
    assert len(frames) > 500


def test_moods_follow_the_pressure() -> None:
    rows = made(400)
    by_source = {a["id"]: account_of(SEED, int(a["source_id"].split("-")[1]), TODAY) for a in rows["account"]}
    pressure: dict[str, list[float]] = defaultdict(list)
    for note in rows["health_note"]:
        pressure[note["sentiment"]].append(by_source[note["account_id"]].pressure(note["written_on"]))

    assert mean(pressure["positive"]) < mean(pressure["neutral"]) < mean(pressure["negative"])


# -- names ------------------------------------------------------------------------------------------------------
@given(seed=st.integers(0, 10**9), start=st.integers(0, 250_000))
@settings(deadline=None, max_examples=15)
def test_no_two_companies_share_a_domain(seed: int, start: int) -> None:
    made_up = [company_of(seed, number) for number in range(start, start + 4000)]

    assert len({each.domain for each in made_up}) == len(made_up)
    assert all(re.fullmatch(r"[a-z0-9-]+\.example", each.domain) for each in made_up)


def test_a_hundred_thousand_companies_have_as_many_domains() -> None:
    assert len({company_of(SEED, number).domain for number in range(100_000)}) == 100_000


# -- the same again ---------------------------------------------------------------------------------------------
def digest(rows: Rows) -> str:
    return hashlib.sha256(repr(sorted(rows.items())).encode()).hexdigest()


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    assert digest(made(60)) == digest(made(60))
    assert digest(made(60)) != digest(made(60, seed=SEED + 1))


@given(number=st.integers(0, 10**6), today=st.dates(date(2024, 1, 1), date(2036, 12, 31)))
@settings(deadline=None, max_examples=40)
def test_an_account_is_made_again_from_its_number_on_any_day(number: int, today: date) -> None:
    account = account_of(SEED, number, today)

    assert signals(account) == signals(account_of(SEED, number, today))
    assert account.terms == account_of(SEED, number, today).terms
    assert all(term.starts_on <= today for term in account.terms)
    assert account.arr_minor == 0 or account.running


# -- in the store -----------------------------------------------------------------------------------------------
async def figures(store: Store, workspace: str) -> dict[str, Any]:
    """What a store holds, ids apart."""
    found: dict[str, Any] = {}
    for name, row in REMEMBERED.items():
        rows = await rows_of(store, workspace, row.__table__)
        found[name] = sorted(
            json.dumps([values[key] for key in _content(row)], sort_keys=True, default=str) for values in rows
        )
    return found


def _content(row: type[Remembered]) -> list[str]:
    """Columns that hold no id."""
    kept = {column.key for column in row.__table__.c}
    ids = {key for key in kept if key == "id" or key.endswith("_id")} | {"workspace", "attendees"}
    return sorted(kept - ids)


async def test_the_store_holds_the_book_twice_the_same(
    services: Services, sqlite_template: Path, tmp_path: Path
) -> None:
    done: list[int] = []
    first = await populate(services, accounts=120, seed=SEED, progress=done.append)
    held = await figures(services.store, first.workspace)
    again = tmp_path / "again.db"
    again.write_bytes(sqlite_template.read_bytes())
    other = await open_store(f"sqlite:///{again}", clock=FixedClock(NOW))
    try:
        second = await populate(Services(other, SECRET), accounts=120, seed=SEED)
        assert await figures(other, second.workspace) == held
    finally:
        await other.close()

    assert done == [120]
    assert (len(held["account"]), first.records) == (120, second.records)
    accounts = await rows_of(services.store, first.workspace, REMEMBERED["account"].__table__)
    movements = await rows_of(services.store, first.workspace, REMEMBERED["arr_movement"].__table__)
    for account in accounts:
        mine = [m["amount_minor"] for m in movements if m["account_id"] == account["id"]]
        number = int(account["source_id"].split("-")[1])
        assert account["source_id"] == source_id(SEED, number)
        assert account["arr_minor"] == sum(mine) == account_of(SEED, number, TODAY).arr_minor


async def test_a_book_is_taken_back_as_one_run(services: Services) -> None:
    made_up = await populate(services, accounts=3, seed=SEED)
    [run] = {e["run_id"] for e in await rows_of(services.store, made_up.workspace, CHANGES) if e["run_id"]}
    operator = await services.identity.operator(made_up.workspace)
    plan = await services.writes.perform(operator, UndoChanges(run=run, preview=True))
    await services.changes.decide(operator, CommitPlan(plan=plan.plan_id))

    for name in ("account", "contact", "subscription", "arr_movement", "renewal", "meeting"):
        rows = await rows_of(services.store, made_up.workspace, REMEMBERED[name].__table__)
        assert rows, name
        assert all(row["removed_at"] is not None for row in rows), name


@pytest.mark.parametrize("accounts", [0, 100_001])
async def test_a_size_out_of_range_is_refused(services: Services, accounts: int) -> None:
    with pytest.raises(Invalid, match="cannot be made"):
        await populate(services, accounts=accounts, seed=SEED)

    assert services.store.dialect != "sqlite" or await services.store.workspaces() == []


async def test_use_and_tickets_are_told_as_the_history_was_drawn(store: Store) -> None:
    done = await populate(Services(store, SECRET), accounts=12, seed=SEED)

    accounts = {row["id"]: row for row in await rows_of(store, done.workspace, REMEMBERED["account"].__table__)}
    told = await rows_of(store, done.workspace, USAGE_DAY, "account_id", "day")
    tickets = Counter(r["account_id"] for r in await rows_of(store, done.workspace, REMEMBERED["ticket"].__table__))
    by_account: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in told:
        by_account[row["account_id"]].append(row)
    for record, account in accounts.items():
        history = account_of(SEED, int(account["source_id"].split("-")[1]), TODAY)
        drawn, days = signals(history), by_account[record]
        assert tickets[record] == len(drawn.tickets)
        assert all(row["day"] < TODAY.toordinal() for row in days)
        for row in days:
            day = date.fromordinal(row["day"])
            share = drawn.usage[(day - drawn.begins_on).days // 7]
            is_mean = (TODAY - day).days > DAILY  # of its week, which is told by one day
            at_work = 5.5 / 7 if is_mean else 1 if day.weekday() < 5 else 0.25
            if (TODAY - day).days not in range(
                DAILY - 6, DAILY + 1
            ):  # the week that it begins within is told either way
                assert row["active_users"] == round(history.seats * share * at_work)
            assert row["active_users"] <= row["seats_used"] <= history.seats
    assert sum(len(days) for days in by_account.values()) > 12 * 30
