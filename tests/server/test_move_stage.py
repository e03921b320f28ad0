"""move_account_stage: the lifecycle's exit criteria against the facts, and a person's word for the rest."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from conftest import NOW, Team
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Account, Band, OnboardingStatus, Stage, Tier
from cs_mcp.domain.accounts.lifecycle import ORDER, STAGES, LifecycleFacts, Verdict, judged
from cs_mcp.domain.renewals.renewals import Renewal
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind

from ._client import Desk, Desks, writing

TODAY = NOW.date()


@pytest.fixture
async def globex(csm: Desk) -> str:
    """An account in onboarding of which nothing is known yet."""
    return await csm.account("Globex", segment="enterprise")


async def head(desk: Desk, account: str) -> dict[str, Any]:
    return (await desk.done("get_account", account=account, sections=[])).data


async def moves(desk: Desk, account: str, to: str, **more: Any) -> Any:
    version = (await head(desk, account))["version"]
    return await desk.done("move_account_stage", account=account, to_stage=to, expected_version=version, **more)


async def stays(desk: Desk, account: str, to: str, **more: Any) -> str:
    """The refusal of a move; nothing is written."""
    version = (await head(desk, account))["version"]
    before = await desk.head()
    said = await desk.refused("move_account_stage", account=account, to_stage=to, expected_version=version, **more)
    assert await desk.head() == before
    return said


async def onboard(desk: Desk, account: str) -> None:
    version = (await head(desk, account))["version"]
    await desk.done("update_account", account=account, expected_version=version, onboarding_status="complete")
    await desk.done("log_meeting", account=account, kind="kickoff", summary="Began", attendees=[{"name": "Priya Nair"}])
    await desk.done("assign_sponsor", account=account, role="executive_sponsor", contact="Priya Nair")


async def test_a_refusal_names_each_criterion_that_fails_its_fact_and_its_remedy(csm: Desk, globex: str) -> None:
    said = await stays(csm, globex, "adoption")
    assert said.splitlines()[0].endswith(
        f"Globex ({globex}) cannot move from onboarding to adoption yet. Nothing was done."
    )
    assert said.splitlines()[1:4] == [
        (
            "- onboarding is complete: no, onboarding is not_started. "
            "Set onboarding_status 'complete' with update_account once it is."
        ),
        (
            "- a kickoff was held or first value was reached: no, no kickoff is recorded. "
            "Log the kickoff with log_meeting, kind 'kickoff'."
        ),
        (
            "- the executive sponsor is known: no, executive sponsor unknown. "
            "Seat one with assign_sponsor, role 'executive_sponsor'."
        ),
    ]
    assert "override_reason" in said


async def test_an_account_moves_on_once_the_facts_are_there_and_one_undo_brings_it_back(csm: Desk, globex: str) -> None:
    await onboard(csm, globex)

    moved = await moves(csm, globex, "adoption")

    record = moved["record"]
    assert (record["from_stage"], record["stage"], record.get("overridden", [])) == ("onboarding", "adoption", [])
    assert [finding["verdict"] for finding in record["findings"]] == ["met", "met", "met"]
    assert [change["fields"] for change in moved["changed"]] == [
        [{"field": "stage", "before": "onboarding", "after": "adoption"}]
    ]
    await csm.done("undo_changes", change=moved["change_id"])
    assert (await head(csm, globex))["stage"] == "onboarding"


async def test_a_person_overrides_with_a_reason_that_stays_in_the_audit_trail(csm: Desk, globex: str) -> None:
    moved = await moves(csm, globex, "adoption", override_reason="They run on it since May")

    assert moved["record"]["overridden"] == ["onboarding_complete", "kickoff_or_first_value", "executive_sponsor"]
    [change] = (await csm.done("list_changes", change=moved["change_id"]))["items"]
    assert change["reason"] == "They run on it since May"


async def test_a_stage_is_skipped_only_with_a_reason(csm: Desk, globex: str) -> None:
    await onboard(csm, globex)

    said = await stays(csm, globex, "value_realization")
    assert "it would skip adoption" in said
    assert "a champion is known: no" in said  # what the skipped stage asks for counts too

    moved = await moves(csm, globex, "value_realization", override_reason="Migrated from the old product")
    assert moved["record"]["skipped"] == ["adoption"]


async def test_a_step_back_and_a_churn_need_a_reason(csm: Desk, team: Team, store: Store, globex: str) -> None:
    await moves(csm, globex, "adoption", override_reason="Imported late")
    assert "it is a step back" in await stays(csm, globex, "onboarding", reason="Only a note")
    await moves(csm, globex, "onboarding", override_reason="The rollout starts again")

    assert "it is a churn" in await stays(csm, globex, "churned")
    async with writing(store, team.workspace) as work:
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"), account_id=globex, on=TODAY, kind=MovementKind.new,
                amount_minor=1_200_000, currency="USD",
            )
        )  # fmt: skip
    gone = await moves(csm, globex, "churned", reason="They went bankrupt")
    assert "an ARR of 12,000.00 USD" in gone["triggered"][1]
    assert "it is a return from churned" in await stays(csm, globex, "adoption")
    assert "is in churned already" in await stays(csm, globex, "churned")


async def test_what_no_feed_tells_is_said_to_be_unknown_and_does_not_block(csm: Desk, globex: str) -> None:
    await moves(csm, globex, "value_realization", override_reason="Known from before")
    await onboard(csm, globex)
    await csm.done("log_meeting", account=globex, kind="qbr", summary="Saved 40 days", roi_shown=True)

    moved = await moves(csm, globex, "expansion")

    verdicts = {finding["criterion"]: finding["verdict"] for finding in moved["record"]["findings"]}
    assert verdicts == {"executive_sponsor": "met", "roi_shown": "met", "value_confirmed": "unknown"}
    # Health without a score and opportunities without a feed block nothing either.
    onward = await moves(csm, globex, "advocacy")
    assert {finding["verdict"] for finding in onward["record"]["findings"]} == {"unknown"}


async def test_renewal_begins_in_its_window_from_any_stage_and_gives_the_stage_back(
    csm: Desk, team: Team, store: Store, globex: str
) -> None:
    await onboard(csm, globex)
    await moves(csm, globex, "adoption")

    async def renewal(closes_on: date) -> None:
        async with writing(store, team.workspace) as work:
            for known in await work.renewals.where():
                work.renewals.save(known.changed(closes_on=closes_on))
                return
            work.renewals.add(
                Renewal(id=work.ids.new("renewal"), account_id=globex, currency="USD", closes_on=closes_on)
            )

    await renewal(TODAY + timedelta(days=121))
    assert "motion window" in await stays(csm, globex, "renewal")
    await renewal(TODAY + timedelta(days=120))
    await moves(csm, globex, "renewal")

    assert "an open renewal has its deadline on 2026-07-14" in await stays(csm, globex, "adoption")
    await renewal(TODAY + timedelta(days=400))
    back = await moves(csm, globex, "adoption")
    assert back["record"]["stage"] == "adoption"


async def test_a_stale_version_and_another_book_are_refused(csm: Desk, team: Team, desks: Desks, globex: str) -> None:
    lea, ben = await desks.of(team, "lea"), await desks.of(team, "ben")
    await lea.done("update_account", account=globex, expected_version=1, tier="gold")
    asked = {"account": globex, "to_stage": "adoption", "expected_version": 1, "override_reason": "Because"}
    assert "Lea Brandt changed tier" in await csm.refused("move_account_stage", **asked)
    assert "No account" in await ben.refused("move_account_stage", **asked)


async def test_an_agent_only_proposes_a_move(csm: Desk, team: Team, store: Store, desks: Desks) -> None:
    account = await csm.account("Common", owner="ana@acme.example")
    lea = await desks.of(team, "lea")
    await lea.done("update_account", account=account, expected_version=1, clear=["owner"])
    bot = await desks.of(team, "bot")

    made = await bot.done(
        "move_account_stage", account=account, to_stage="adoption", expected_version=2, override_reason="Usage says so"
    )

    assert made["proposal"]
    assert (await head(csm, account))["stage"] == "onboarding"
    done = await csm.done("commit_plan", plan=made["plan_id"])
    assert done["record"]["stage"] == "adoption"


# -- the rule itself --------------------------------------------------------------------------------------------------


def facts(stage: Stage, **more: Any) -> LifecycleFacts:
    known = {"id": "acc", "name": "A", "stage": stage} | more.pop("account", {})
    return LifecycleFacts(account=Account(**known), today=TODAY, **more)


def test_every_stage_has_a_rule_and_a_leader() -> None:
    assert set(STAGES) == set(Stage) == {*ORDER, Stage.churned}


def test_platinum_starts_its_motion_earlier() -> None:
    deadline = TODAY + timedelta(days=180)
    for tier, verdict in ((Tier.gold, Verdict.failed), (Tier.platinum, Verdict.met)):
        known = facts(Stage.adoption, account={"tier": tier}, renewals=1, open_renewal_deadline_on=deadline)
        [finding] = judged(known, Stage.renewal).findings
        assert finding.verdict is verdict


def test_a_review_counts_for_half_a_year_and_red_health_holds_back() -> None:
    late = facts(Stage.adoption, last_review_on=TODAY - timedelta(days=184))
    assert "review_held" in {f.criterion for f in judged(late, Stage.value_realization).failed}
    fresh = facts(Stage.adoption, last_review_on=TODAY - timedelta(days=183))
    assert "review_held" not in {f.criterion for f in judged(fresh, Stage.value_realization).failed}
    red = facts(Stage.expansion, account={"health_band": Band.red})
    assert [f.criterion for f in judged(red, Stage.advocacy).failed] == ["health_not_red"]


@pytest.mark.parametrize("stage", [stage for stage in ORDER if stage is not Stage.renewal])
@pytest.mark.parametrize("to", [stage for stage in ORDER if stage is not Stage.renewal])
def test_forward_leaves_every_stage_between_and_back_is_a_judgement(stage: Stage, to: Stage) -> None:
    path = [one for one in ORDER if one is not Stage.renewal]
    at, goal = path.index(stage), path.index(to)
    if at == goal:
        return
    move = judged(facts(stage, account={"onboarding_status": OnboardingStatus.not_started}), to)
    assert move.judgement == ("a step back" if goal < at else None)
    assert move.skipped == path[at + 1 : goal]
    asked = {criterion.name for one in path[at:goal] for criterion in STAGES[one].exit}
    assert {finding.criterion for finding in move.findings} == asked
