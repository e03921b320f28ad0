"""A live renewal has its account's band and segment and names who is responsible, whoever moves them and how."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from _health_book import random_book
from book import Desk, desk, rows_of, unit

from conftest import NOW, Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Account, Band, Segment
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.renewals.renewals import Renewal
from cs_mcp.services.accounts.merge import MergeRecords
from cs_mcp.services.health.overrides import OverrideHealth, Overrides
from cs_mcp.services.health.scoring import Scoring
from cs_mcp.services.history.changes import CommitPlan
from cs_mcp.services.renewals.renewals import ListRenewals, UpdateRenewal

TODAY = NOW.date()
CLOSES = TODAY + timedelta(days=40)


def renewal_of(work: Any, account: str, *, closes_on: date = CLOSES) -> Renewal:
    return Renewal(
        id=work.ids.new("renewal"), account_id=account, amount_minor=1_000_00, currency="USD", closes_on=closes_on
    )


async def opens_renewal(store: Store, who: Desk, account: str) -> str:
    async with unit(store, who.principal) as work:
        return work.renewals.add(renewal_of(work, account)).id


class Book:
    """The whole book as a leader sees it, and as the tables have it."""

    def __init__(self, store: Store, team: Team, ada: Desk) -> None:
        self.store, self.team, self.ada = store, team, ada

    async def accounts(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in await rows_of(self.store, self.team.workspace, AccountRow.__table__)}

    async def live(self) -> list[dict[str, Any]]:
        rows = await rows_of(self.store, self.team.workspace, RenewalRow.__table__)
        return [row for row in rows if row["removed_at"] is None]

    async def follows(self) -> None:
        """Every live renewal says what its account does, and every list by a band counts what there is of it."""
        accounts, renewals = await self.accounts(), await self.live()
        assert renewals
        for row in renewals:
            account = accounts[row["account_id"]]
            assert row["account_band"] == account["health_band"]
            assert row["account_segment"] == account["segment"]
            assert row["responsible_id"] == (row["owner_id"] or account["owner_id"])
        for name, column, values in (("band", "account_band", Band), ("segment", "account_segment", Segment)):
            for value in values:
                there = sum(row[column] == value.value for row in renewals)
                assert await self.counts(**{name: [value]}) == there
        people = {row["responsible_id"] for row in renewals} - {None}
        for person in people:
            assert await self.counts(owner=person) == sum(row["responsible_id"] == person for row in renewals)

    async def counts(self, **asked: Any) -> int | str:
        page = await self.ada.services.renewals.list(self.ada.principal, ListRenewals(**asked, limit=1))
        return page.total

    async def band_of(self, account: str) -> str:
        return (await self.accounts())[account]["health_band"]


@pytest.fixture
async def book(store: Store, team: Team) -> Book:
    """Some thirty accounts that score, each with a renewal."""
    ada = await desk(team, "ada")
    await random_book(store, Random(7), TODAY, 30).write(store, team)
    found = Book(store, team, ada)
    operator = await team.services.identity.operator(team.workspace)
    accounts = [one for one, account in (await found.accounts()).items() if account["removed_at"] is None]
    async with unit(store, operator) as work:
        shape = {"stage": "not_started", "amount_minor": 5, "currency": "USD"}
        lists: dict[str, list[Any]] = {
            name: [] for name in ("decision_criteria", "procurement_steps", "risks", "options", "concessions")
        }
        rows = [
            shape | lists | {"id": work.ids.new("renewal"), "account_id": one, "closes_on": CLOSES} for one in accounts
        ]
        await bulk_create(work, RenewalRow, rows)
    return found


async def test_through_nights_overrides_owners_segments_and_a_merge(
    book: Book, store: Store, team: Team, clock: FixedClock
) -> None:
    ada, scoring = book.ada, Scoring(store)
    operator = await team.services.identity.operator(team.workspace)
    await book.follows()

    await scoring.score_all(operator)
    assert len({row["account_band"] for row in await book.live()}) > 2
    await book.follows()

    bands = {one: row["health_band"] for one, row in (await book.accounts()).items()}
    red, other = (next(one for one in bands if bands[one] == band) for band in ("red", "yellow"))
    until = TODAY + timedelta(days=1)
    done = await ada.do(OverrideHealth(account=red, band="green", expires_on=until, reason="Signed."))
    assert await book.band_of(red) == "green"
    await book.follows()
    await ada.undoes(done.change_id)
    assert await book.band_of(red) == "red"
    await book.follows()
    await ada.do(OverrideHealth(account=red, band="green", expires_on=until, reason="Signed."))
    clock.advance(timedelta(days=2))
    await scoring.score_all(operator)
    assert await book.band_of(red) != "green"
    await book.follows()

    await ada.updates(red, segment="enterprise", owner="Ben Okafor")
    await ada.updates(other, segment="smb", owner="Ana Ruiz")
    await book.follows()
    [renewal] = [row for row in await book.live() if row["account_id"] == red]
    update: dict[str, Any] = {"renewal": renewal["id"], "reason": "Theirs."}
    await ada.do(UpdateRenewal(**update, expected_version=1, owner="Ana Ruiz"))
    await book.follows()
    assert await book.counts(account=red, owner="Ana Ruiz") == 1
    await ada.do(UpdateRenewal(**update, expected_version=2, clear=["owner"]))
    await book.follows()
    assert await book.counts(account=red, owner="Ana Ruiz") == 0

    await ada.do(OverrideHealth(account=red, band="green", expires_on=until + timedelta(days=9), reason="Signed."))
    plan = await ada.do(MergeRecords(kind="account", keep=red, merge=other, reason="One customer"))
    merged = await ada.services.changes.decide(ada.principal, CommitPlan(plan=plan.plan_id))
    assert await book.counts(account=red, band=["green"]) == 2
    await book.follows()
    await ada.undoes(merged.change_id)
    assert await book.counts(account=red) == 1
    await book.follows()


async def test_an_account_that_is_removed_takes_its_renewals_out_of_every_count(book: Book, store: Store) -> None:
    ada = book.ada
    before = await book.counts(band=["unknown"])
    async with unit(store, ada.principal) as work:
        opened = work.accounts.add(Account(id=work.ids.new("account"), name="Globex", segment=Segment.smb))
        renewal = work.renewals.add(renewal_of(work, opened.id))
        written = work.act.change_id
    assert await book.counts(band=["unknown"]) == before + 1  # type: ignore[operator]

    await ada.undoes(written)

    assert renewal.id not in {row["id"] for row in await book.live()}
    assert await book.counts(band=["unknown"]) == before
    await book.follows()


async def test_a_renewal_may_come_before_its_account(book: Book, store: Store, team: Team) -> None:
    """As one flush may write them; the keys are deferred."""
    account = next(iter((await book.accounts()).values()))
    fresh = store.ids.new("account")
    [shape] = [row for row in await book.live() if row["account_id"] == account["id"]]
    async with unit(store, book.ada.principal) as work:
        followed = ("version", "workspace", "account_band", "account_segment", "responsible_id")
        shape = {name: value for name, value in shape.items() if name not in followed}
        await bulk_create(work, RenewalRow, [shape | {"id": work.ids.new("renewal"), "account_id": fresh}])
        owned = {"id": fresh, "owner_id": team.members["ben"].id, "segment": "enterprise", "health_band": "red"}
        await bulk_create(work, AccountRow, [account | owned])

    assert await book.counts(account=fresh, band=["red"], segment=["enterprise"], owner="Ben Okafor") == 1
    await book.follows()


@pytest.mark.parametrize("first", ["the renewal", "the band"])
async def test_a_renewal_that_is_added_while_the_band_moves_has_the_new_band(
    book: Book, store: Store, first: str
) -> None:
    """Whichever of the two transactions is in the middle when the other one comes."""
    ada = book.ada
    account = await ada.opens("Globex", segment="smb")
    override = OverrideHealth(account=account, band="red", expires_on=TODAY + timedelta(days=9), reason="They said so.")

    async def later() -> None:
        await (ada.do(override) if first == "the renewal" else opens_renewal(store, ada, account))

    async with unit(store, ada.principal) as work:
        if first == "the renewal":
            work.renewals.add(renewal_of(work, account))
        else:
            await Overrides().override(work, override)
        await work.flush()
        other = asyncio.create_task(later())
        await asyncio.sleep(0.3)
        assert not other.done()
    await other

    assert await book.counts(account=account, band=["red"]) == 1
    await book.follows()
