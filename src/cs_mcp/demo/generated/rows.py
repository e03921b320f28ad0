"""Generated accounts as rows of every table, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.demo.generated.activity import Activity
from cs_mcp.demo.generated.colleagues import Colleagues, colleagues_of
from cs_mcp.demo.generated.facts import ticket_rows
from cs_mcp.demo.generated.history import RATES, Generated, account_of
from cs_mcp.demo.generated.money import contract_rows
from cs_mcp.demo.generated.people import People, people_of
from cs_mcp.demo.generated.prose import Writer
from cs_mcp.demo.generated.randomness import happens, stream
from cs_mcp.demo.generated.rowing import Placed, Rows
from cs_mcp.domain.accounts.accounts import TOUCH_OF_SEGMENT, OnboardingStatus, Segment, Stage, TeamRole, Tier
from cs_mcp.domain.identity import Member
from cs_mcp.domain.money import exponent
from cs_mcp.domain.records import Ids
from cs_mcp.domain.renewals.checkpoints import MOTION_DAYS
from cs_mcp.domain.renewals.terms import rolling_term_end

SOURCE: Final = "generated"  # with `seed-number` as the source id, an account of the store is made again
A_BATCH: Final = 500  # accounts a transaction
_SAMPLED: Final = 500  # accounts that tell where the tiers begin
_SEGMENT_EMPLOYEES: Final = {Segment.smb: (3, 12), Segment.mid_market: (5, 20), Segment.enterprise: (6, 25)}
_TAGS: Final = ("reference", "beta", "multi-site", "public-sector", "vip", "at-risk-list")


def source_id(seed: int, number: int) -> str:
    return f"{seed}-{number}"


@dataclass(frozen=True, slots=True)
class TierBounds:
    """ARR in USD from which an account is among the top 20 % and the next 30 %."""

    platinum: float
    gold: float

    @classmethod
    def of(cls, seed: int, accounts: int, today: date) -> TierBounds:
        step = max(1, accounts // _SAMPLED)
        sample = (account_of(seed, number, today) for number in range(0, accounts, step))
        held = sorted((_usd(account) for account in sample if account.arr_minor), reverse=True) or [0.0]
        return cls(held[len(held) // 5], held[len(held) // 2])

    def tier(self, account: Generated) -> Tier:
        usd = _usd(account)
        if not account.arr_minor or usd < self.gold:
            return Tier.standard
        return Tier.platinum if usd >= self.platinum else Tier.gold


def _usd(account: Generated) -> float:
    return float(account.arr_minor * RATES[account.currency] / 10 ** exponent(account.currency))


def members_and_batches(
    seed: int,
    accounts: int,
    *,
    today: date,
    ids: Ids,
    members: Mapping[str, Member],
    domain: str,
    made: Callable[[Generated, str], None] = lambda _account, _id: None,
) -> tuple[Rows, Iterator[Rows]]:
    """The members to create first, then the accounts in batches of one transaction each, made as they are asked for.

    `made` is told of each account with its id, for what is no record of the batch.
    """
    ours = colleagues_of(seed, accounts, members, ids, domain)
    return {MemberRow: ours.rows}, _batches(seed, accounts, today, ids, ours, made)


def _batches(
    seed: int, accounts: int, today: date, ids: Ids, ours: Colleagues, made: Callable[[Generated, str], None]
) -> Iterator[Rows]:
    tiers = TierBounds.of(seed, accounts, today)
    for start in range(0, accounts, A_BATCH):
        rows: Rows = {}
        for number in range(start, min(start + A_BATCH, accounts)):
            account = account_of(seed, number, today)
            for table, row in account_rows(account, tiers, ours, ids):
                rows.setdefault(table, []).append(row)
            made(account, rows[AccountRow][-1]["id"])
        yield rows


def account_rows(account: Generated, tiers: TierBounds, ours: Colleagues, ids: Ids) -> Iterator[Placed]:
    """Everything of one account."""
    random = stream(account.seed, account.number, "rows")
    account_id = ids.new("account")
    live = account.churned_on is None
    owner = ours.owner(random, account.segment, live=live)
    people = people_of(account, account_id, random, ids)
    writer = Writer(random, [contact["name"] for contact in people.present])
    yield AccountRow, _account(account, account_id, owner, tiers.tier(account), random, writer)
    if account.segment is Segment.enterprise and owner is not None and happens(random, 0.4):
        helper = ours.owner(random, Segment.mid_market, live=False)
        if helper is not None:
            role = TeamRole.technical_account_manager.value
            yield TeamMemberRow, {
                "id": ids.new("account_team"), "account_id": account_id, "user_id": helper, "role": role,
            }  # fmt: skip
    yield from _people(people)
    yield from contract_rows(account, account_id, random, ids, writer)
    who = (owner, ours.name(owner)) if owner is not None else None
    yield from Activity(account, account_id, people, who, random, ids, writer).rows()
    yield from ticket_rows(account, account_id, ids)


def _people(people: People) -> Iterator[Placed]:
    for contact in people.contacts:
        yield ContactRow, contact
    for seat in people.seats:
        yield SponsorshipRow, seat


def _account(
    account: Generated, account_id: str, owner: str | None, tier: Tier, random: Random, writer: Writer
) -> dict[str, Any]:
    renewal_on = _renewal_on(account)
    pressure = account.pressure(account.today)
    stage = _stage(account, renewal_on, random)
    low, high = _SEGMENT_EMPLOYEES[account.segment]
    at_risk = account.churned_on is None and pressure > 0.6
    return {
        "id": account_id,
        "name": account.company.name,
        "domain": account.company.domain,
        "industry": account.company.industry,
        "employees": account.seats * random.randint(low, high),
        "segment": account.segment.value,
        "tier": tier.value,
        "touch": TOUCH_OF_SEGMENT[account.segment].value,
        "stage": stage.value,
        "onboarding_status": _onboarding(account, stage).value,
        "owner_id": owner,
        "currency": account.currency,
        "created_on": account.starts_on,
        "renewal_on": renewal_on,
        "risk_reason": writer.line("reasons", "at_risk") if at_risk else None,
        "tags": sorted({random.choice(_TAGS) for _ in range(random.choice((0, 0, 0, 1, 2)))}),
        "custom": {"region": account.region},
        "source_system": SOURCE,
        "source_id": source_id(account.seed, account.number),
    }


def _renewal_on(account: Generated) -> date | None:
    ends = [
        term.ends_on or rolling_term_end(term.starts_on, term.months, account.today)
        for term in account.running
        if term.canceled_on is None
    ]
    return min((end for end in ends if end is not None), default=None)


def _stage(account: Generated, renewal_on: date | None, random: Random) -> Stage:
    if account.churned_on is not None:
        return Stage.churned
    age = (account.today - account.starts_on).days
    if age < 75:
        return Stage.onboarding
    main = next(term for term in account.running if not term.is_addition)
    if main.months > 1 and renewal_on is not None:
        deadline = renewal_on - timedelta(days=main.notice_days)
        if (deadline - account.today).days <= MOTION_DAYS:
            return Stage.renewal
    usage = account.latent.usage_before(account.today)
    if usage > 0.8 and age > 300 and happens(random, 0.6):
        return Stage.advocacy
    if usage > 0.65:
        return Stage.expansion if age > 250 else Stage.value_realization
    return Stage.value_realization if usage > 0.5 and age > 150 else Stage.adoption


def _onboarding(account: Generated, stage: Stage) -> OnboardingStatus:
    if stage is not Stage.onboarding:
        return OnboardingStatus.complete
    begun = (account.today - account.starts_on).days > 7
    return OnboardingStatus.in_progress if begun else OnboardingStatus.not_started
