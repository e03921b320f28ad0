"""Meetings to come."""

from __future__ import annotations

import json

from evals._task import After, Checks, Hands, task


def _qbr_planned(after: After) -> Checks:
    sponsor = after.before.account("Acme Robotics")["executive_sponsor_id"]
    new = after.new("meeting", "Acme Robotics")
    yield (
        "one QBR is planned for that day",
        [(m["kind"], m["status"], m["held_on"]) for m in new] == [("qbr", "planned", after.now.as_held("in_a_month"))],
    )
    invited = {who.get("contact_id") for m in new for who in json.loads(m["attendees"])}
    champion = after.before.account("Acme Robotics")["champion_id"]
    yield "sponsor and champion are invited", {sponsor, champion} <= invited
    yield "the agenda is with it", any("downtime" in (m["agenda"] or "").lower() for m in new)


@task(
    """Plan a QBR with Acme Robotics for {in_a_month}, with their executive sponsor and their champion. On the agenda:
    what downtime costs now, and the user day.""",
    touches=("Acme Robotics",),
    check=_qbr_planned,
)
async def plan_a_qbr_with_the_sponsor(hands: Hands) -> None:
    account = await hands.call("get_account", account="Acme Robotics", sections=[])
    planned = await hands.call(
        "schedule_meeting",
        account="Acme Robotics",
        kind="qbr",
        on=hands.in_a_month,
        attendees=[{"contact": account["executive_sponsor"]["id"]}, {"contact": account["champion"]["id"]}],
        agenda="- What downtime costs now\n- The user day",
    )
    assert "Not invited" not in " ".join(planned["triggered"])


def _sponsor_is_missing(after: After) -> Checks:
    sponsor = after.before.account("Initech")["executive_sponsor_id"]
    name = after.before.value("select name from contact where id = :id", id=sponsor)
    yield (
        "the review is planned",
        [(m["kind"], m["held_on"]) for m in after.new("meeting", "Initech")]
        == [("value_review", after.now.as_held("in_two_weeks"))],
    )
    yield (
        "it says that the sponsor is not invited",
        after.tells(name) and after.tells_one_of("not invited", "isn't invited", "without", "missing"),
    )


@task(
    "Plan a value review with Milo Hart at Initech for {in_two_weeks}, and tell me if somebody important is missing.",
    touches=("Initech",),
    check=_sponsor_is_missing,
)
async def plan_without_the_sponsor(hands: Hands) -> str:
    planned = await hands.call(
        "schedule_meeting",
        account="Initech",
        kind="value_review",
        on=hands.in_two_weeks,
        attendees=[{"contact": "Milo Hart"}],
    )
    return " ".join(planned["triggered"])


def _planned_already(after: After) -> Checks:
    [twin] = after.before.of_account("meeting", "Massive Dynamic", "status = 'planned'")
    yield "it says for when one is planned", after.tells(after.before.day(twin["held_on"]))


@task(
    "Plan a value review with Massive Dynamic for {in_ten_days}. If there is one about then, just tell me which day.",
    person="ben",
    check=_planned_already,
)
async def do_not_plan_twice(hands: Hands) -> str:
    return await hands.refused("schedule_meeting", account="Massive Dynamic", kind="value_review", on=hands.in_ten_days)


def _next_one(after: After) -> Checks:
    new = after.new("meeting", "Umbrella Health")
    yield "the call of today is on record", [m["kind"] for m in new if m["status"] == "held"] == ["call"]
    yield (
        "the next one is planned",
        [(m["kind"], m["held_on"]) for m in new if m["status"] == "planned"]
        == [("check_in", after.now.as_held("in_a_month"))],
    )
    day = after.now.account("Umbrella Health")["next_meeting_on"]
    yield "the account shows it", day == after.now.as_held("in_a_month")
    yield "it is one write", after.is_one_write


@task(
    """I called Clara Weiß at Umbrella Health today: the laboratory gets a pilot. We meet again on {in_a_month} for a
    check-in. Put both down.""",
    person="ben",
    touches=("Umbrella Health",),
    check=_next_one,
)
async def log_and_plan_the_next(hands: Hands) -> None:
    await hands.call(
        "log_meeting",
        account="Umbrella Health",
        kind="call",
        attendees=[{"contact": "Clara Weiß"}],
        summary="The laboratory gets a pilot.",
        next_meeting={"kind": "check_in", "on": hands.in_a_month},
    )
