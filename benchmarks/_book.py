"""A synthetic book of customers: every table filled, a few rows each an account, the same for the same size."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, insert, update

from benchmarks._scores import fill_scores
from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE, steps_follow
from cs_mcp.db.base import Remembered
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.history.changes import Act
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.promises import IDEMPOTENCY, PLANS
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.store import Store
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.identity import Principal
from cs_mcp.services.identity import Identity

TODAY = datetime.now(UTC).date()
BOOK_OF_ONE = 200  # accounts a CSM owns, whatever the size of the company
A_BATCH = 2_000  # accounts a transaction
NOTES = 5  # an account
SCORED = 50  # accounts with a score every night for a year

SEGMENTS = ("smb", "mid_market", "enterprise")
TIERS = ("standard", "gold", "platinum")
STAGES = ("onboarding", "adoption", "value_realization", "expansion", "renewal", "advocacy")
BANDS = ("green", "green", "yellow", "red")
INDUSTRIES = ("software", "retail", "health", "logistics", "energy", "media")
_PROSE = (
    "the team asked for single sign-on before the renewal and the admin seat count went up after training while "
    "usage of the reporting module fell since march because the new champion prefers the older export"
)
WORDS = _PROSE.split()

Rows = dict[type[Remembered], list[dict[str, Any]]]


@dataclass(frozen=True)
class Book:
    """What a filled store holds, in brief."""

    workspace: str
    leader: str
    csm: str
    scored: list[str]  # accounts of the CSM with a year of scores
    records: int
    seconds_in_bulk: float


async def fill(store: Store, accounts: int) -> Book:
    """Fill an empty, migrated store through the bulk path."""
    identity = Identity(store, b"")
    workspace = await identity.found_workspace(name="Benchmark")
    principal = await identity.operator(workspace)
    made = Maker(store, accounts)
    records, spent = 0, 0.0
    members: Rows = {MemberRow: made.members()}
    for rows in itertools.chain([members], made.batches()):
        started = time.perf_counter()
        records += await load(store, principal, rows)
        spent += time.perf_counter() - started
    await _fill_promises(store, principal, made)
    async with store.unit_of_work(principal, an_act(store)) as work:
        await fill_scores(work, made.scored, TODAY)
        mine = (ACCOUNT_SCORE.c.workspace == workspace, ACCOUNT_SCORE.c.account_id == bindparam("of"))
        await work.session.execute(update(ACCOUNT_SCORE).where(*mine).values(score=bindparam("now")), made.scores)
        if store.where.is_sqlite:
            await work.session.execute(steps_follow(ACCOUNT_SCORE.c.workspace == workspace))
    return Book(workspace, made.leader_email, made.csm_email, [account for account, _ in made.scored], records, spent)


async def load(store: Store, principal: Principal, rows: Rows) -> int:
    """One transaction of the bulk path."""
    async with store.unit_of_work(principal, an_act(store)) as work:
        for table, given in rows.items():
            await bulk_create(work, table, given)
    return sum(len(given) for given in rows.values())


def an_act(store: Store) -> Act:
    return Act(
        change_id=store.ids.new("change"),
        actor_id="operator",
        tool="import_records",
        at=store.clock.now(),
        client="benchmark",
        run_id=store.ids.new("run"),
    )


class Maker:
    """Makes rows; nothing here touches the store."""

    def __init__(self, store: Store, accounts: int) -> None:
        self._ids = store.ids
        self._random = random.Random(accounts)
        self._accounts = accounts
        self._members: list[str] = []
        self.scored: list[tuple[str, str]] = []  # with their segments
        self.scores: list[dict[str, Any]] = []  # of every account
        self.leader_email = "lea@vendor.example"
        self.csm_email = "csm0@vendor.example"

    def members(self) -> list[dict[str, Any]]:
        """One who sees the whole workspace, and as many CSMs as the book takes."""
        leader = self._member("Lea Brandt", self.leader_email, "cs_leader", "workspace", None)
        csms = [
            self._member(f"Csm {n} of ours", f"csm{n}@vendor.example", "csm", "own", leader["id"])
            for n in range(max(5, self._accounts // BOOK_OF_ONE))
        ]
        self._members = [csm["id"] for csm in csms]
        return [leader, *csms]

    def _member(self, name: str, email: str, role: str, reach: str, boss: str | None) -> dict[str, Any]:
        given = {"name": name, "email": email, "role": role, "reach": reach, "manager_id": boss, "active": True}
        return {"id": self._ids.new("member"), **given}

    def batches(self, size: int = A_BATCH) -> Iterator[Rows]:
        for start in range(0, self._accounts, size):
            rows: Rows = {}
            for number in range(start, min(start + size, self._accounts)):
                for table, row in self._account(number):
                    rows.setdefault(table, []).append(row)
            yield rows

    def _account(self, number: int) -> Iterator[tuple[type[Remembered], dict[str, Any]]]:
        pick, new = self._random, self._ids.new
        account, subscription, meeting = new("account"), new("subscription"), new("meeting")
        owner = self._members[number % len(self._members)]
        started = self._day(-900, -60)
        ends = self._day(5, 400)
        arr = pick.randrange(2_000_00, 250_000_00, 100)
        contacts = [new("contact") for _ in range(3)]
        segment = pick.choice(SEGMENTS)
        if owner == self._members[0] and len(self.scored) < SCORED:
            self.scored.append((account, segment))
        self.scores.append({"of": account, "now": round(pick.uniform(5, 99), 1)})
        yield AccountRow, {
            "id": account, "name": f"Customer {number:06d} Holding", "domain": f"customer{number}.example",
            "industry": pick.choice(INDUSTRIES), "employees": pick.randrange(10, 9_000),
            "segment": segment, "tier": pick.choice(TIERS), "touch": "mid",
            "stage": pick.choice(STAGES), "onboarding_status": "complete", "owner_id": owner, "currency": "USD",
            "created_on": started, "renewal_on": ends, "tags": ["emea", "sso"] if number % 5 == 0 else [],
            "custom": {"region": "emea"} if number % 7 == 0 else {}, "arr_minor": arr,
            "health_band": pick.choice(BANDS),
            "source_system": "crm", "source_id": f"A-{number}", "last_touch_on": self._day(-80, -1),
            "last_meeting_on": self._day(-200, -81), "next_meeting_on": self._day(2, 60),
            "executive_sponsor_id": contacts[0], "champion_id": contacts[1],
        }  # fmt: skip
        if number % 4 == 0:
            colleague = self._members[(number + 1) % len(self._members)]
            yield TeamMemberRow, {
                "id": new("account_team"), "account_id": account, "user_id": colleague, "role": "support",
            }  # fmt: skip
        for place, contact in enumerate(contacts):
            yield ContactRow, {
                "id": contact, "account_id": account, "name": f"Person {place} of {number}",
                "email": f"p{place}@customer{number}.example", "title": "Head of Operations",
                "department": "Operations", "level": "director", "status": "active",
                "roles": ["champion"] if place == 1 else [],
                "sentiment": "neutral", "last_confirmed_on": self._day(-300, -1),
            }  # fmt: skip
        yield SponsorshipRow, {
            "id": new("sponsorship"), "account_id": account, "contact_id": contacts[0],
            "role": "executive_sponsor", "from_on": started,
        }  # fmt: skip
        yield SubscriptionRow, {
            "id": subscription, "account_id": account, "product": "Platform", "starts_on": started, "ends_on": ends,
            "arr_minor": arr, "currency": "USD", "seats": 120, "seat_limit": 150, "auto_renew": True,
            "term_months": 12, "notice_days": 60, "trial": False,
        }  # fmt: skip
        yield ArrMovementRow, {
            "id": new("arr_movement"), "account_id": account, "subscription_id": subscription, "on": started,
            "kind": "new", "amount_minor": arr, "currency": "USD",
        }  # fmt: skip
        yield RenewalRow, {
            "id": new("renewal"), "account_id": account, "subscription_id": subscription, "owner_id": owner,
            "stage": "not_started", "forecast_category": "commit", "amount_minor": arr, "currency": "USD",
            "closes_on": ends, "decision_criteria": [], "procurement_steps": [], "risks": [], "options": [],
            "concessions": [],
        }  # fmt: skip
        for n in range(2):
            yield TaskRow, {
                "id": new("task"), "account_id": account, "title": "Agree the success plan for the next quarter",
                "assignee_id": owner, "due_on": self._day(-20, 60), "priority": "normal",
                "status": "open" if n or number % 3 else "done", "origin": "person",
            }  # fmt: skip
        yield MeetingRow, {
            "id": meeting, "account_id": account, "kind": "qbr", "status": "held", "held_on": self._day(-200, -1),
            "attendees": [{"contact_id": contacts[1], "attended": True}], "summary": self._prose(60),
            "decisions": ["Send the adoption report"], "sentiment": "neutral", "product_requests": [],
            "roi_shown": False,
        }  # fmt: skip
        yield HealthNoteRow, {
            "id": new("health_note"), "account_id": account, "written_on": self._day(-200, -1),
            "text": self._prose(40), "sentiment": "neutral", "author_id": owner, "meeting_id": meeting,
        }  # fmt: skip
        for _ in range(NOTES - 1):
            yield HealthNoteRow, {
                "id": new("health_note"), "account_id": account, "written_on": self._day(-200, -1),
                "text": f"{self._prose(30)} Case {number}.", "sentiment": "negative", "risk": "adoption",
                "author_id": owner,
            }  # fmt: skip

    def promises(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Answers to keys and open plans, as a month of use leaves them."""
        now = datetime.now(UTC)
        member = self._members[0]
        answers: list[dict[str, Any]] = [
            {
                "actor_id": member, "tool": "update_account", "key": f"old-{n}", "arguments_hash": "0" * 64,
                "answer": {"change_id": self._ids.new("change")}, "at": now - timedelta(minutes=n),
            }
            for n in range(max(500, self._accounts // 5))
        ]  # fmt: skip
        plans: list[dict[str, Any]] = [
            {
                "id": self._ids.new("plan"), "tool": "update_account", "arguments": {}, "arguments_hash": "0" * 64,
                "proposal": False, "state": "open", "made_by": member, "made_at": now, "made_at_seq": 1,
                "expires_at": now + timedelta(hours=1), "differences": [], "accounts": [],
            }
            for _ in range(100)
        ]  # fmt: skip
        return answers, plans

    def _day(self, first: int, last: int) -> date:
        return TODAY + timedelta(days=self._random.randint(first, last))

    def _prose(self, words: int) -> str:
        return " ".join(self._random.choices(WORDS, k=words)).capitalize() + "."


async def _fill_promises(store: Store, principal: Principal, made: Maker) -> None:
    answers, plans = made.promises()
    async with store.unit_of_work(principal, an_act(store)) as work:
        for table, rows in ((IDEMPOTENCY, answers), (PLANS, plans)):
            await work.session.execute(insert(table), [{"workspace": principal.workspace, **row} for row in rows])
