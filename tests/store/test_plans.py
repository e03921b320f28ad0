"""A plan writes nothing, says everything, and is carried out once, by who may, while it still says the truth."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from book import Desk, agent_of, desk, entries_of, everything_of

from conftest import NOW, Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import FieldChange, RecordChange, Written
from cs_mcp.domain.errors import Conflict, CustomerSuccessError, Invalid, NotAllowed, NotFound
from cs_mcp.domain.identity import Scope
from cs_mcp.services.accounts.accounts import CreateAccount
from cs_mcp.services.history.changes import Decided
from cs_mcp.services.work.meetings import NewAttendee

NOT_YOURS = "No plan has the id {plan!r}, or it is not yours to decide."


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


@pytest.fixture
async def ben(team: Team) -> Desk:
    return await desk(team, "ben")


@pytest.fixture
async def bot(team: Team) -> Desk:
    return await agent_of(team, "ana")


@pytest.fixture
async def acme(ana: Desk) -> str:
    """An account nobody owns, so that everybody works on it."""
    return await ana.opens("Acme", industry="Freight", renewal_on=date(2026, 9, 1))


@pytest.fixture
async def hers(ana: Desk) -> str:
    """An account of Ana's own book."""
    return await ana.opens("Hers", owner="me", renewal_on=date(2026, 9, 1))


async def refusal(deciding: Any) -> str:
    with pytest.raises(CustomerSuccessError) as refused:
        await deciding
    return refused.value.message


# -- a preview --------------------------------------------------------------------------------------------------


async def test_a_preview_writes_nothing_but_its_plan(store: Store, team: Team, ana: Desk, acme: str) -> None:
    before = await everything_of(store, team)

    for planned in (
        await ana.updates(acme, industry="Logistics", preview=True, idempotency_key="k1"),
        await ana.meets(acme, preview=True),
        await ana.plans_work(acme, "One", "Two", preview=True),
        await ana.do(CreateAccount(name="Beta", preview=True)),
    ):
        assert (planned.change_id, planned.record, planned.changed) == (None, None, [])

    after = await everything_of(store, team)
    assert len(after.pop("plan")) == len(before.pop("plan")) + 4
    assert after == before


async def test_a_preview_says_every_difference_and_until_when(ana: Desk, acme: str) -> None:
    planned = await ana.updates(acme, industry="Logistics", add_tags=["vip"], preview=True)

    assert isinstance(planned, Written)
    assert planned.model_dump(exclude={"plan_id"}, exclude_defaults=True) == {
        "expires_at": NOW + timedelta(minutes=10),
        "differences": [
            RecordChange(
                id=acme,
                record="account",
                did="updated",
                account="Acme",
                fields=[
                    FieldChange(field="industry", before="Freight", after="Logistics"),
                    FieldChange(field="tags", before=[], after=["vip"]),
                ],
            ).model_dump()
        ],
    }


async def test_a_preview_says_what_it_would_trigger(ana: Desk, acme: str) -> None:
    planned = await ana.meets(acme, attendees=[NewAttendee(name="Priya Nair")], preview=True)

    assert [line.split(" (")[0] for line in planned.would_trigger] == ["Entered Priya Nair"]
    assert sorted((d.record, d.did) for d in planned.differences) == [("contact", "created"), ("meeting", "created")]


async def test_a_preview_that_would_be_refused_is_refused(ana: Desk, acme: str) -> None:
    with pytest.raises(Invalid, match="in the future"):
        await ana.notes(acme, "Later", written_on=date(2027, 1, 1), preview=True)


async def test_a_preview_that_changes_nothing_makes_no_plan(ana: Desk, acme: str) -> None:
    planned = await ana.updates(acme, industry="Freight", preview=True)

    assert (planned.plan_id, planned.change_id, planned.changed) == (None, None, [])


# -- carrying out -----------------------------------------------------------------------------------------------


async def test_a_plan_is_carried_out_as_it_said(store: Store, team: Team, ana: Desk, acme: str) -> None:
    planned = await ana.updates(acme, industry="Logistics", preview=True, reason="She said so")

    done = await ana.commits(planned.plan_id)

    [entry] = await entries_of(store, team, done.change_id)
    said = {name: entry[name] for name in ("plan_id", "actor_id", "tool", "reason", "before", "after")}
    assert [change.fields for change in done.changed] == [change.fields for change in planned.differences]
    assert said == {
        "plan_id": planned.plan_id,
        "actor_id": ana.id,
        "tool": "update_account",
        "reason": "She said so",
        "before": {"industry": "Freight"},
        "after": {"industry": "Logistics"},
    }


async def test_a_plan_is_good_for_one_commit(ana: Desk, acme: str) -> None:
    planned = await ana.notes(acme, "Once", preview=True)
    await ana.commits(planned.plan_id)

    said = await refusal(ana.commits(planned.plan_id))

    assert said == f"The plan {planned.plan_id} was committed already. Nothing was done."
    assert len((await ana.sees(acme)).notes or []) == 1


async def test_of_two_commits_at_once_one_wins(ana: Desk, acme: str) -> None:
    planned = await ana.notes(acme, "Once", preview=True)

    answers = await asyncio.gather(*(ana.commits(planned.plan_id) for _ in range(4)), return_exceptions=True)

    won = [answer for answer in answers if isinstance(answer, Written)]
    lost = [answer for answer in answers if isinstance(answer, Conflict)]
    assert (len(won), len(lost)) == (1, 3)
    assert len((await ana.sees(acme)).notes or []) == 1


async def test_a_commit_with_a_key_is_answered_again(ana: Desk, acme: str) -> None:
    planned = await ana.updates(acme, industry="Logistics", preview=True)

    first = await ana.commits(planned.plan_id, idempotency_key="commit-1")
    again = await ana.commits(planned.plan_id, idempotency_key="commit-1")

    assert again == first.model_copy(update={"already_done": True})


async def test_a_persons_plan_lives_ten_minutes(clock: FixedClock, ana: Desk, acme: str) -> None:
    first = await ana.notes(acme, "In time", preview=True)
    second = await ana.notes(acme, "Too late", preview=True)

    clock.advance(timedelta(minutes=9, seconds=59))
    await ana.commits(first.plan_id)
    clock.advance(timedelta(seconds=1))
    said = await refusal(ana.commits(second.plan_id))

    assert said == f"The plan {second.plan_id} expired at 2026-03-16 09:40 UTC."
    assert [note.note.text for note in (await ana.sees(acme)).notes or []] == ["In time"]


async def test_a_proposal_lives_seven_days(clock: FixedClock, ana: Desk, bot: Desk, acme: str) -> None:
    first = await bot.updates(acme, renewal_on=date(2027, 1, 1))
    clock.advance(timedelta(days=6, hours=23, minutes=59))
    await ana.commits(first.plan_id)

    second = await bot.updates(acme, renewal_on=date(2027, 2, 1))
    clock.advance(timedelta(days=7))

    assert second.proposal
    assert await refusal(ana.commits(second.plan_id)) == f"The plan {second.plan_id} expired at 2026-03-30 09:29 UTC."
    assert (await ana.changes(state="proposed")).items == []


async def test_a_field_of_the_plan_that_moved_meanwhile_stops_it(ana: Desk, ben: Desk, acme: str) -> None:
    planned = await ana.updates(acme, industry="Logistics", employees=80, preview=True)
    moved = await ben.updates(acme, industry="Mining")

    said = await refusal(ana.commits(planned.plan_id))

    assert said == (
        f"{acme} changed since the plan was made: Ben Okafor set industry (update_account, {moved.change_id}). "
        "Nothing was done; the plan stays open."
    )
    now = await ana.sees(acme)
    assert (now.industry, now.employees, now.version) == ("Mining", None, 2)
    assert await refusal(ana.declines(planned.plan_id, None)) == "Declining a plan needs a reason."


async def test_another_field_that_moved_meanwhile_does_not(ana: Desk, ben: Desk, acme: str) -> None:
    planned = await ana.updates(acme, industry="Logistics", preview=True)
    await ben.updates(acme, employees=80)

    await ana.commits(planned.plan_id)

    now = await ana.sees(acme)
    assert (now.industry, now.employees, now.version) == ("Logistics", 80, 3)


async def test_a_plan_stays_with_the_record_it_showed_whoever_is_called_so_now(ana: Desk, ben: Desk, acme: str) -> None:
    planned = await ana.updates("Acme", version=1, industry="Logistics", preview=True)
    await ben.updates(acme, name="Acme Holding")
    other = await ben.opens("Acme", industry="Retail")

    said = await refusal(ana.commits(planned.plan_id))

    assert said == (f"The plan would now change {other}, which it did not show. Nothing was done; the plan stays open.")
    assert [(await ana.sees(account)).industry for account in (acme, other)] == ["Freight", "Retail"]


# -- an agent proposes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [{"renewal_on": date(2027, 1, 1)}, {"tier": "gold"}, {"currency": "EUR"}, {"owner": "ana@acme.example"}],
    ids=lambda fields: next(iter(fields)),
)
async def test_an_agents_write_of_money_or_lifecycle_waits_for_a_person(
    bot: Desk, ana: Desk, acme: str, fields: dict[str, Any]
) -> None:
    was = await ana.sees(acme)

    proposed = await bot.updates(acme, **fields)

    assert (proposed.proposal, proposed.change_id, proposed.changed) == (True, None, [])
    assert proposed.expires_at == NOW + timedelta(days=7)
    assert await ana.sees(acme) == was
    await ana.commits(proposed.plan_id)
    assert (await ana.sees(acme)).version == 2


async def test_an_agents_new_account_waits_for_a_person(bot: Desk, ana: Desk) -> None:
    proposed = await bot.do(CreateAccount(name="Beta"))
    assert await ana.found_names() == []

    done = await ana.commits(proposed.plan_id)

    assert (done.record.name, await ana.found_names()) == ("Beta", ["Beta"])


async def test_an_agents_ordinary_writes_do_not_wait(bot: Desk, ana: Desk, acme: str) -> None:
    done = [
        await bot.updates(acme, industry="Logistics"),
        await bot.notes(acme, "Quiet"),
        await bot.plans_work(acme, "Call"),
        await bot.meets(acme),
    ]

    assert all(answer.change_id and not answer.proposal for answer in done)


async def test_a_proposal_shows_to_who_may_decide_it(team: Team, bot: Desk, hers: str) -> None:
    proposed = await bot.updates(hers, renewal_on=date(2027, 1, 1), reason="The contract says so")

    seen = {name: (await (await desk(team, name)).changes(state="proposed")).items for name in team.members}

    assert {name for name, lines in seen.items() if lines} == {"ana", "lea", "ada", "vic", "bot"}
    [line] = seen["ana"]
    assert line.model_dump(exclude_defaults=True) == {
        "plan_id": proposed.plan_id,
        "at": NOW,
        "expires_at": NOW + timedelta(days=7),
        "by": "Night Agent",
        "by_id": bot.id,
        "on_behalf_of": team.members["ana"].id,
        "tool": "update_account",
        "reason": "The contract says so",
        "records": [difference.model_dump() for difference in proposed.differences],
    }


async def test_a_planned_note_does_not_land_on_another_account_of_that_name(ana: Desk, ben: Desk, acme: str) -> None:
    planned = await ana.notes("Acme", "Quiet", preview=True)
    await ben.updates(acme, name="Acme Holding")
    other = await ben.opens("Acme")

    assert (await refusal(ana.commits(planned.plan_id))).startswith(f"The plan would now change {other}")


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("ben", NOT_YOURS),
        ("kim", NOT_YOURS),
        ("vic", "Your role viewer may not use commit_plan."),
        ("bot", "Your role agent may not use commit_plan."),
    ],
)
async def test_a_proposal_is_not_theirs_to_decide(
    team: Team, bot: Desk, ana: Desk, hers: str, who: str, said: str
) -> None:
    """Ben and Kim do not see the account, Vic only reads, and an agent never decides, its own proposals included."""
    proposed = await bot.updates(hers, renewal_on=date(2027, 1, 1))
    person = bot if who == "bot" else await desk(team, who)

    heard = {await refusal(person.commits(proposed.plan_id)), await refusal(person.declines(proposed.plan_id, "No"))}

    assert heard == {said.format(plan=proposed.plan_id)}
    assert (await ana.sees(hers)).renewal_on == date(2026, 9, 1)


async def test_who_leads_the_owner_may_commit_a_proposal(team: Team, bot: Desk, hers: str) -> None:
    proposed = await bot.updates(hers, renewal_on=date(2027, 1, 1))
    lea = await desk(team, "lea")

    done = await lea.commits(proposed.plan_id)

    assert [line.by for line in (await lea.changes(change=done.change_id)).items] == ["Lea Brandt"]


async def test_without_the_scope_to_commit_nothing_is_committed(bot: Desk, ana: Desk, acme: str) -> None:
    proposed = await bot.updates(acme, renewal_on=date(2027, 1, 1))
    narrow = Desk(ana.services, ana.principal.model_copy(update={"scopes": frozenset({Scope.read, Scope.write})}))

    with pytest.raises(NotAllowed, match="commit_plan"):
        await narrow.commits(proposed.plan_id)


async def test_a_persons_plan_is_theirs_alone(team: Team, ana: Desk, acme: str) -> None:
    planned = await ana.updates(acme, industry="Logistics", preview=True)

    for name in ("lea", "ada", "ben"):
        other = await desk(team, name)
        assert await refusal(other.commits(planned.plan_id)) == NOT_YOURS.format(plan=planned.plan_id)
        assert (await other.changes(state="proposed")).items == []


async def test_a_plan_that_never_was_is_not_there(ana: Desk) -> None:
    with pytest.raises(NotFound):
        await ana.commits("pln_nowhere")


async def test_a_declined_proposal_says_why_and_is_closed(bot: Desk, ana: Desk, acme: str) -> None:
    proposed = await bot.updates(acme, renewal_on=date(2027, 1, 1))

    without = await refusal(ana.declines(proposed.plan_id, None))
    declined = await ana.declines(proposed.plan_id, "Procurement moved it")
    again = await refusal(ana.commits(proposed.plan_id))

    assert without == "Declining a plan needs a reason."
    assert declined.record == Decided(plan_id=proposed.plan_id, state="declined")
    assert again == f"The plan {proposed.plan_id} was declined already. Nothing was done."
    assert (await ana.sees(acme)).renewal_on == date(2026, 9, 1)


async def test_declining_again_with_the_same_key_gives_the_first_answer(bot: Desk, ana: Desk, acme: str) -> None:
    one, other = [await bot.updates(acme, renewal_on=date(2027, 1, day)) for day in (1, 2)]

    first = await ana.declines(one.plan_id, "Procurement moved it", idempotency_key="no-1")
    again = await ana.declines(one.plan_id, "Procurement moved it", idempotency_key="no-1")
    reused = await refusal(ana.declines(other.plan_id, "Procurement moved it", idempotency_key="no-1"))

    assert (again.record, first.already_done, again.already_done) == (first.record, False, True)
    assert again.text("0000").startswith(
        f"Already done by an earlier call with this key.\nPlan {one.plan_id} is declined."
    )
    assert "with other arguments" in reused
    assert [line.plan_id for line in (await ana.changes(state="proposed")).items] == [other.plan_id]


async def test_an_agent_that_repeats_itself_with_a_key_proposes_once(bot: Desk, ana: Desk, acme: str) -> None:
    first = await bot.updates(acme, version=1, renewal_on=date(2027, 1, 1), idempotency_key="night-1")
    again = await bot.updates(acme, version=1, renewal_on=date(2027, 1, 1), idempotency_key="night-1")

    assert (again.plan_id, again.already_done) == (first.plan_id, True)
    assert len((await ana.changes(state="proposed")).items) == 1
