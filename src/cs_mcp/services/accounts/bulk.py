"""One change to many accounts: hand over a book, set a field, tag. Always a plan first, then item by item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.accounts.pages import COUNTED, fitting
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.contract import AccountRef, Command, Item, ShortText, View
from cs_mcp.domain.errors import Conflict, CustomerSuccessError, Invalid, NotFound
from cs_mcp.domain.health.risks import RiskCase
from cs_mcp.domain.plans import Plan
from cs_mcp.domain.work.tasks import Task
from cs_mcp.services.accounts.edits import AccountEdits, cleared
from cs_mcp.services.accounts.filters import AccountFilters
from cs_mcp.services.naming import Match, Names
from cs_mcp.services.writes import Outcome, moved_since

MOST_ACCOUNTS: Final = 200

Follows = Literal["open_tasks", "open_renewals", "open_risks"]
Clearable = Literal["industry", "owner", "renewal_on", "risk_reason"]


class UpdateAccounts(AccountEdits, Command):
    tool: ClassVar[str] = "update_accounts"
    always_planned: ClassVar[bool] = True
    skips_moved: ClassVar[bool] = True

    where: Annotated[AccountFilters, Field(description="Filters as of find_accounts, or else `accounts`")] | None = None
    accounts: Annotated[list[AccountRef], Field(min_length=1, max_length=MOST_ACCOUNTS)] | None = None
    follows: (
        Annotated[list[Follows], Field(description="What the owner before holds on them that goes to the new owner")]
        | None
    ) = None
    clear: Annotated[list[Clearable], Field(description="Fields to empty")] | None = None
    # A bulk write says why; pydantic leaves the field without the default of the command above.
    reason: ShortText  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]

    @property
    def sets(self) -> bool:
        """Whether it changes anything at all."""
        return bool(self.clear or self.custom or self.add_tags or self.remove_tags) or any(
            getattr(self, name) is not None for name in AccountEdits.model_fields
        )


class AccountsUpdated(View):
    """How many accounts were meant and what became of them; those not changed are listed one by one."""

    accounts: int
    changed: int
    unchanged: int
    refused: int
    tasks: int = 0
    renewals: int = 0
    risks: int = 0

    def text(self, nonce: str) -> str:
        return (
            f"{self.changed} of {self.accounts} accounts changed, {self.unchanged} were so already, "
            f"{self.refused} refused; {self.tasks} tasks, {self.renewals} renewals and {self.risks} risk cases follow "
            "their owner."
        )


@dataclass(slots=True)
class _Chosen:
    """The accounts to change by their place in the call, and what became of the others.

    `planned` are all records that the plan showed, `moved` those that someone changed since; empty without a plan.
    """

    accounts: list[tuple[int, Account]] = field(default_factory=list[tuple[int, Account]])
    items: list[Item] = field(default_factory=list[Item])
    planned: frozenset[str] = frozenset()
    moved: dict[str, str] = field(default_factory=dict[str, str])

    def refuse(self, index: int, record: str | None, why: str) -> None:
        self.items.append(Item(index=index, id=record, outcome="refused", why=why))


class BulkAccounts:
    async def update(self, work: UnitOfWork, command: UpdateAccounts) -> Outcome:
        if not command.sets:
            raise Invalid("The call changes no field.", remedy="Say what to set, tag or clear on these accounts.")
        if command.follows and command.owner is None:
            raise Invalid("follows goes with a new owner.", remedy="Name the `owner`, or leave follows out.")
        plan = (await work.plans.get(work.act.plan_id))[0] if work.act.plan_id is not None else None
        owner = await _new_owner(work, command, plan)
        chosen = await _chosen(work, command) if plan is None else await _as_planned(work, plan)
        done: dict[str, tuple[int, Account]] = {}
        for index, account in chosen.accounts:
            fields = command.edits(account) | ({"owner_id": owner.id} if owner is not None else {})
            after = account.changed(**cleared(fields, command.clear or ()))
            if after == account:
                chosen.items.append(Item(index=index, id=account.id, outcome="unchanged"))
            else:
                work.accounts.save(after)
                done[account.id] = (index, account)
        if not done and any(item.outcome == "refused" for item in chosen.items):
            raise _nothing_left(chosen.items)
        record = AccountsUpdated(
            accounts=len(done) + len(chosen.items),
            changed=len(done),
            unchanged=sum(item.outcome == "unchanged" for item in chosen.items),
            refused=sum(item.outcome == "refused" for item in chosen.items),
        )
        if owner is not None:
            record = await _handed_over(work, command.follows or (), owner, done, chosen, record)
        await work.flush()
        to = f" to {owner.name}" if owner is not None else ""
        said = f"{record.changed} of {record.accounts} accounts{to}, {record.unchanged} are so already"
        following = ""
        if command.follows:
            cases = f"{record.risks} open risk cases"
            following = f"; {record.tasks} open tasks, {record.renewals} open renewals and {cases} follow"
        return Outcome(record=record, items=chosen.items, triggered=[f"{said}{following}."] if done else [])


async def _new_owner(work: UnitOfWork, command: UpdateAccounts, plan: Plan | None) -> Match | None:
    if command.owner is None:
        return None
    # Who commits an agent's proposal may be another than whom it called `me`.
    maker = None if plan is None else plan.on_behalf_of or plan.made_by
    ref = maker if maker is not None and command.owner.casefold() == "me" else command.owner
    return await Names.writing(work).member(ref)


async def _chosen(work: UnitOfWork, command: UpdateAccounts) -> _Chosen:
    if (command.where is None) == (command.accounts is None):
        raise Invalid(
            "update_accounts takes exactly one of where and accounts.",
            remedy="Give filters in `where`, or list the `accounts`.",
        )
    if command.where is not None:
        return await _fitting(work, command.where)
    chosen, names = _Chosen(), Names.writing(work)
    places: dict[str, int] = {}
    for index, ref in enumerate(command.accounts or ()):
        try:
            match = await names.account(ref)
        except CustomerSuccessError as why:
            chosen.refuse(index, None, str(why))
            continue
        if places.setdefault(match.id, index) != index:
            chosen.refuse(index, match.id, f"It is named before, as item {places[match.id]}.")
    found = {account.id: account for account in await work.accounts.these(places)}
    chosen.accounts = [(index, found[account]) for account, index in places.items()]
    return chosen


async def _fitting(work: UnitOfWork, where: AccountFilters) -> _Chosen:
    if not where.model_fields_set:
        raise Invalid(
            "`where` holds no filter: it would mean every account.", remedy="Narrow it, e.g. by owner or segment."
        )
    filters = await where.parameters(Names.writing(work), work.workspace.currency)
    ids = await fitting(work, filters, COUNTED + 1)
    if not ids:
        raise NotFound("No account fits these filters. Nothing was done.", remedy="Try them with find_accounts.")
    if len(ids) > MOST_ACCOUNTS:
        count = f"{COUNTED}+" if len(ids) > COUNTED else str(len(ids))
        raise Invalid(
            f"{count} accounts fit these filters; one call changes at most {MOST_ACCOUNTS}. Nothing was done.",
            remedy="Narrow them, e.g. by segment, tier or a range of arr, and call once for each part.",
        )
    return _Chosen(accounts=list(enumerate(await work.accounts.these(ids))))


async def _as_planned(work: UnitOfWork, plan: Plan) -> _Chosen:
    """The accounts that the plan showed, whatever fits its filters by now, less those that moved since."""
    shown_ids = [difference["id"] for difference in plan.differences if difference["record"] == "account"]
    chosen = _Chosen(
        planned=frozenset(difference["id"] for difference in plan.differences), moved=await moved_since(work, plan)
    )
    found = {account.id: account for account in await work.accounts.these(shown_ids)}
    for index, record in enumerate(shown_ids):
        if record not in found:
            chosen.refuse(index, record, "It is no longer there, or outside your accounts.")
        elif record in chosen.moved:
            chosen.refuse(index, record, f"It changed since the plan was made: {chosen.moved[record]}.")
        else:
            chosen.accounts.append((index, found[record]))
    return chosen


async def _handed_over(
    work: UnitOfWork,
    follows: Sequence[Follows],
    owner: Match,
    done: Mapping[str, tuple[int, Account]],
    chosen: _Chosen,
    record: AccountsUpdated,
) -> AccountsUpdated:
    """Give the new owner what the owner before held on each account; what others hold there stays theirs."""
    before = {account.id: account.owner_id for _, account in done.values()}
    people = sorted({person for person in before.values() if person is not None})
    tasks = await work.tasks.open_of(before, people) if "open_tasks" in follows else []
    renewals = await work.renewals.open_of(before, people) if "open_renewals" in follows else []
    risks = await work.risks.open_owned(before, people) if "open_risks" in follows else []
    moved: Counter[str] = Counter()
    for one in [*tasks, *renewals, *risks]:
        holder = one.assignee_id if isinstance(one, Task) else one.owner_id
        if holder != before[one.account_id] or holder == owner.id:
            continue
        if one.id in chosen.moved:
            index = done[one.account_id][0]
            chosen.refuse(index, one.id, f"It changed since the plan was made: {chosen.moved[one.id]}.")
        elif chosen.planned and one.id not in chosen.planned:
            chosen.refuse(done[one.account_id][0], one.id, "It was not in the plan: it came up since.")
        elif isinstance(one, Task):
            work.tasks.save(one.changed(assignee_id=owner.id))
            moved["tasks"] += 1
        elif isinstance(one, RiskCase):
            work.risks.save(one.changed(owner_id=owner.id))
            moved["risks"] += 1
        else:
            work.renewals.save(one.changed(owner_id=owner.id))
            moved["renewals"] += 1
    return record.model_copy(update=dict(moved))


def _nothing_left(items: Sequence[Item]) -> Conflict:
    listed = "".join(f"\n- {item.id or f'item {item.index}'}: {item.why}" for item in items[:10] if item.why)
    return Conflict(
        f"Nothing could be changed, so nothing was done.{listed}\n",
        remedy="Correct the references, or preview the write again to see the accounts as they are now.",
    )
