"""What each write does to the model: people, tasks, renewals, merges. Each function raises Refused or fills a draft.

`born` gives the ids of records that the write creates, in the order in which they are entered.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from _model import Draft, Fields, Model, Refused, Row

from cs_mcp.domain.errors import Conflict, Invalid, NotFound, Stale

Born = Callable[[str], str]
ROLES = ("executive_sponsor", "champion")


def day_after(day: str, days: int = 1) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def found(model: Model, record: str, entity: str, *, seen: bool, version: int | None = None) -> Row:
    """The live record, at the version that the caller names."""
    row = model.rows.get(record)
    if row is None or row.entity != entity or not row.is_live or not seen:
        raise Refused(NotFound)
    if version is not None and version != row.version:
        raise Refused(Stale)
    return row


# -- people -----------------------------------------------------------------------------------------------------


def held(draft: Draft, account: str, role: str) -> list[str]:
    """Ids of the seats without an end."""
    rows = [row for row in draft.model.live("sponsorship", account, role=role) if draft[row.id]["to_on"] is None]
    return [row.id for row in rows if draft[row.id]["removed_at"] is None]


def without(roles: list[str], role: str) -> list[str]:
    return [one for one in roles if one != role]


def seat(draft: Draft, contact: str, role: str, on: str, *, correction: bool, born: Born) -> None:
    model, person = draft.model, draft[contact]
    if person["status"] == "departed":
        raise Refused(Conflict)
    if on > model.today:
        raise Refused(Invalid)
    confirmed = max(filter(None, (person["last_confirmed_on"], on)))
    draft.edit(contact, roles=sorted({*person["roles"], role}), last_confirmed_on=confirmed)
    current = held(draft, person["account_id"], role)
    if any(draft[one]["contact_id"] == contact for one in current):
        return
    for one in current:
        vacate(draft, one, None if correction else day_after(on, -1))
    draft.new(
        "sponsorship", born("sponsorship"), account_id=person["account_id"], contact_id=contact, role=role, from_on=on
    )


def vacate(draft: Draft, one: str, last_day: str | None) -> None:
    """End a seat; without a last day nobody ever held it."""
    told = draft[one]
    ended: Fields = {"removed_at": draft.model.now} if last_day is None else {"to_on": max(told["from_on"], last_day)}
    draft.edit(one, **ended)
    holder = told["contact_id"]
    if holder in draft.edited or draft.model.rows[holder].is_live:
        draft.edit(holder, roles=without(draft[holder]["roles"], told["role"]))


def departs(draft: Draft, contact: str, on: str, successor: str | None) -> None:
    fields: Fields = {"leaves_on": on}
    if gone := on <= draft.model.today:
        fields |= {"status": "departed", "departed_on": on}
    if successor is not None:
        fields["successor_id"] = successor
    draft.edit(contact, **fields)
    for role in ROLES:
        for one in held(draft, draft[contact]["account_id"], role):
            if gone and draft[one]["contact_id"] == contact:
                vacate(draft, one, on)


# -- renewals ---------------------------------------------------------------------------------------------------


def moves_renewal(draft: Draft, renewal: str, to: str, born: Born, *, amount: int | None, why: str) -> None:
    """Any move with a reason given, so that stages may be skipped; `why` is the reason of a loss too."""
    model, told = draft.model, draft[renewal]
    account = told["account_id"]
    closed = told["stage"] in ("closed_won", "closed_lost")
    if closed or to == told["stage"]:
        raise Refused(Conflict)
    amount = told["amount_minor"] if amount is None else amount
    lacking = {
        "not_started": False,
        "discovery": told["owner_id"] is None and draft[account]["owner_id"] is None,
        "value_review": told["stakeholders_confirmed_on"] is None or not told["decision_criteria"],
        "closed_won": amount <= 0,
        "closed_lost": False,
    }
    if lacking.get(to, True):  # later stages want meetings and offers, which nobody here has
        raise Refused(Invalid)
    draft.edit(renewal, stage=to, amount_minor=amount)
    if to not in ("closed_won", "closed_lost"):
        return
    draft.edit(renewal, closed_on=model.today)
    bought = model.rows[told["subscription_id"]]
    if not bought.is_live:
        raise Refused(NotFound)
    if to == "closed_won":
        _won(draft, renewal, bought, amount, born, why)
    else:
        draft.edit(renewal, forecast_category="omitted", category_reason=None, loss_reason=why)
        _lost(draft, bought, born, why)
    _renewal_day(draft, renewal)


def _won(draft: Draft, renewal: str, bought: Row, amount: int, born: Born, why: str) -> None:
    old, account = bought.fields, bought.account
    first_day = day_after(old["ends_on"])
    last_day = day_after(date.fromisoformat(first_day).replace(year=int(first_day[:4]) + 1).isoformat(), -1)
    term = draft.new(
        "subscription",
        born("subscription"),
        **old
        | {
            "source_system": None,
            "source_id": None,
            "starts_on": first_day,
            "ends_on": last_day,
            "arr_minor": amount,
            "canceled_on": None,
        },
    )
    ledger = draft.model.live("arr_movement", account)
    booked = books_the_end(ledger, bought.id, first_day)

    def post(subscription: str, on: str, kind: str, minor: int, reason: str | None, note: str | None = None) -> None:
        if minor:
            draft.new(
                "arr_movement", born("arr_movement"), account_id=account, subscription_id=subscription, on=on,
                kind=kind, amount_minor=minor, reason=reason, note=note,
            )  # fmt: skip

    if booked:
        note = f"Renewed: takes back the end of contract booked for {first_day}."
        first = next(row for row in ledger if row.fields["on"] == first_day and row.fields["amount_minor"] < 0)
        post(bought.id, first_day, first.fields["kind"], old["arr_minor"], None, note)
    difference = amount - old["arr_minor"]
    post(term, first_day, "expansion" if difference > 0 else "contraction", difference, why if difference < 0 else None)
    if booked:
        after = day_after(last_day)
        there = balance(ledger, after) + old["arr_minor"] + difference
        falls = min(amount, max(0, there))
        kind = "churn" if falls == max(0, there) else "contraction"
        post(term, after, kind, -falls, None, "The end of contract, booked ahead.")
    open_renewal(draft, born("renewal"), account, term, owner=draft[renewal]["owner_id"])


def books_the_end(ledger: list[Row], subscription: str, first_day: str) -> bool:
    """Whether the ledger has the end of this subscription already, as after an undo that left its churn."""
    of_it = [row.fields for row in ledger if row.fields["subscription_id"] == subscription]
    return sum(told["amount_minor"] for told in of_it if told["on"] == first_day) < 0


def balance(ledger: list[Row], day: str) -> int:
    return sum(row.fields["amount_minor"] for row in ledger if row.fields["on"] <= day)


def _lost(draft: Draft, bought: Row, born: Born, why: str) -> None:
    first_day = day_after(bought.fields["ends_on"])
    ledger = draft.model.live("arr_movement", bought.account)
    draft.edit(bought.id, canceled_on=first_day, auto_renew=False)
    if books_the_end(ledger, bought.id, first_day):
        for row in ledger:
            told = row.fields
            falls = told["kind"] in ("churn", "contraction") and told["amount_minor"] < 0
            of_it = told["subscription_id"] == bought.id and told["on"] == first_day
            if falls and of_it and told["reason"] is None:
                draft.edit(row.id, reason=why)
        return
    there = max(0, balance(ledger, first_day))
    if falls := min(bought.fields["arr_minor"], there):
        draft.new(
            "arr_movement", born("arr_movement"), account_id=bought.account, subscription_id=bought.id, on=first_day,
            kind="churn" if falls == there else "contraction", amount_minor=-falls, reason=why,
        )  # fmt: skip


def open_renewal(draft: Draft, record: str, account: str, term: str, *, owner: str | None) -> None:
    told = draft[term]
    draft.new(
        "renewal", record, account_id=account, subscription_id=term, owner_id=owner, amount_minor=told["arr_minor"],
        closes_on=told["ends_on"], notice_deadline_on=day_after(told["ends_on"], -30), source_system="subscription",
        source_id=f"{term}:{told['ends_on']}",
    )  # fmt: skip


def _renewal_day(draft: Draft, renewal: str) -> None:
    """The account's renewal day follows to the next one's, unless it tells of something else."""
    told = draft[renewal]
    account = told["account_id"]
    term_ends = told["source_id"].rpartition(":")[2]
    if draft[account]["renewal_on"] not in (None, told["closes_on"], term_ends):
        return
    records = [row.id for row in draft.model.live("renewal", account)]
    records += [record for record, entity in draft.born.items() if entity == "renewal"]
    ends = [draft[one]["source_id"].rpartition(":")[2] for one in records if draft[one]["stage"][:6] != "closed"]
    draft.edit(account, renewal_on=min(ends, default=None))


# -- merges -----------------------------------------------------------------------------------------------------

FILLS = {
    "account": (
        "domain", "industry", "employees", "owner_id", "created_on", "renewal_on", "risk_reason", "source_url",
    ),
    "contact": ("email", "title", "department", "level", "sentiment", "last_confirmed_on", "leaves_on"),
}  # fmt: skip
KEYS = {
    "account": ("account_id", "parent_id", "related_id"),
    "contact": ("contact_id", "successor_id", "related_id"),
}


def merges(model: Model, kept: Row, gone: Row) -> Draft:
    if kept.id == gone.id:
        raise Refused(Invalid)
    draft, kind = Draft(model), kept.entity
    mine, theirs = kept.fields, gone.fields
    if kind == "contact":
        departed = [row.fields["status"] == "departed" for row in (kept, gone)]
        if kept.account != gone.account or departed == [True, False]:
            raise Refused(Conflict)
    filled = {name: theirs[name] for name in FILLS[kind] if mine[name] is None and theirs[name] is not None}
    lists = "tags" if kind == "account" else "roles"
    if more := set(theirs[lists]) - set(mine[lists]):
        filled[lists] = sorted({*mine[lists], *more})
    if kind == "account":
        filled["custom"] = theirs["custom"] | mine["custom"]
    draft.edit(kept.id, **filled)
    draft.edit(gone.id, removed_at=model.now, merged_into_id=kept.id)
    if kind == "account":
        _of_accounts(draft, kept.id, gone.id)
    else:
        if mine["successor_id"] == gone.id:
            draft.edit(kept.id, successor_id=None)
        _one_person(draft, kept, gone)
        for row in model.rows.values():
            if row.entity == "meeting" and row.account == kept.account:
                there: list[Fields] = row.fields["attendees"]
                led = [who | {"contact_id": kept.id} if who["contact_id"] == gone.id else who for who in there]
                draft.edit(row.id, attendees=led)
    for row in model.rows.values():
        named = {name: kept.id for name in KEYS[kind] if row.fields.get(name) == gone.id}
        if named and row.id not in (kept.id, gone.id):
            draft.edit(row.id, **named)
    return draft


def _of_accounts(draft: Draft, kept: str, gone: str) -> None:
    model = draft.model
    for role in ROLES:
        if held(draft, kept, role):
            for one in held(draft, gone, role):
                vacate(draft, one, day_after(model.today, -1))
    open_already = {row.fields["purpose"]: row.id for row in model.live("task", kept, status="open")}
    open_already.pop(None, None)
    for row in model.live("task", gone, status="open"):
        if (twin := open_already.get(row.fields["purpose"])) is not None:
            draft.edit(row.id, status="canceled", outcome=f"The same as {twin} after the accounts were merged.")
    above = model.rows[gone].fields["parent_id"]
    if gone in _ancestors(model, kept) or (
        draft[kept]["parent_id"] is None and above is not None and kept not in (above, *_ancestors(model, above))
    ):
        draft.edit(kept, parent_id=above)


def _ancestors(model: Model, account: str) -> list[str]:
    above: list[str] = []
    while (account := model.rows[account].fields["parent_id"]) is not None and account not in above:
        above.append(account)
    return above


def _one_person(draft: Draft, kept: Row, gone: Row) -> None:
    for role in ROLES:
        seats = held(draft, kept.account, role)
        mine = [one for one in seats if draft[one]["contact_id"] == kept.id]
        theirs = [one for one in seats if draft[one]["contact_id"] == gone.id]
        if mine and theirs:
            draft.edit(mine[0], from_on=min(draft[one]["from_on"] for one in (*mine, *theirs)))
            for one in theirs:
                draft.edit(one, removed_at=draft.model.now)
