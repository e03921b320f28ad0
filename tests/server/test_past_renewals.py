"""list_renewals with as_of: what it answers of a past day is what it answered on that day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.health.scoring import Scoring

from ._client import Answer, Desk, Desks
from ._renewals import TODAY, Book, card, is_known, moves, sets

QUESTIONS: list[dict[str, Any]] = [
    {},
    {"group_by": "owner"},
    {"group_by": "forecast_category", "fields": ["amount", "deadline_on", "owner", "version", "forecast_category"]},
    {"stage": ["closed_won", "closed_lost"], "group_by": "stage"},
    {"stage": ["discovery", "value_review"]},
    {"segment": ["enterprise"]},
    {"group_by": "band", "fields": ["band", "amount"]},
    {"band": ["red", "yellow"]},
    {"band": ["unknown"], "segment": ["smb", "enterprise"]},
    {"owner": "Kim Sato"},
    {"period_end": "2026-07-01"},
    {"quarter": "next"},
]


def pipeline(answer: Answer) -> dict[str, Any]:
    return {name: answer.data.get(name) for name in ("items", "total", "currency", "sums", "groups", "as_of")}


class Days:
    """Keeps what the pipeline said at the end of each day, by the scores of the night before."""

    def __init__(self, desk: Desk, clock: FixedClock, team: Team) -> None:
        self.desk, self._team = desk, team
        self.said: dict[date, list[dict[str, Any]]] = {}
        self._clock = clock

    async def end(self) -> None:
        today = self._clock.now().date()
        self.said[today] = [pipeline(await self.desk.done("list_renewals", **asked)) for asked in QUESTIONS]
        self._clock.advance(timedelta(days=3))
        store = self._team.services.store
        await Scoring(store).score_all(await self._team.services.identity.operator(self._team.workspace))


@pytest.fixture
def book(store: Store, team: Team) -> Book:
    return Book(store, team.workspace)


async def test_a_past_pipeline_is_what_it_was(desks: Desks, team: Team, book: Book, clock: FixedClock) -> None:
    lea = await desks.of(team, "lea")
    days = Days(lea, clock, team)
    globex = await lea.account("Globex", segment="enterprise")
    hooli = await lea.account("Hooli")
    await book.signs(globex)
    await book.signs(hooli, arr=5_000, ends=date(2026, 8, 1))
    await days.end()

    await is_known(lea, await desks.of(team, "ada"), globex, 10)
    await lea.done("save_contact", account=globex, name="Hank Scorpio")
    await lea.done("assign_sponsor", account=globex, role="executive_sponsor", contact="Hank Scorpio")
    qbr: dict[str, Any] = {
        "account": globex,
        "kind": "qbr",
        "summary": "Fine",
        "attendees": [{"contact": "Hank Scorpio"}],
    }
    await lea.done("log_meeting", **qbr, roi_shown=True)
    await moves(lea, "Globex", "discovery")
    await sets(lea, "Globex", forecast_category="commit", reason="Signed letter", owner="Kim Sato")
    over = {"account": hooli, "band": "red", "expires_on": "2026-04-30", "reason": "They told us on the phone"}
    await lea.done("override_health", **over)
    await days.end()

    late = await sets(lea, "Hooli", amount={"amount": "7000", "currency": "USD"}, closes_on="2026-06-15")
    await lea.done("record_departure", account=globex, contact="Hank Scorpio")
    version = (await lea.done("get_account", account=hooli))["version"]
    await lea.done("update_account", account=hooli, expected_version=version, segment="enterprise", owner="Ben Okafor")
    await lea.done("log_meeting", **(qbr | {"held_on": str(TODAY)}))
    await days.end()

    await moves(lea, "Hooli", "closed_lost", loss_reason="price", reason="Too dear")
    await lea.done("override_health", account=hooli, clear=True, reason="They took it back")
    initech = await lea.account("Initech")
    await book.signs(initech, ends=date(2026, 9, 1))
    await days.end()

    lost = (await lea.done("list_changes", made_by_tool="move_renewal", account=hooli))["items"][0]
    await lea.done("undo_changes", change=lost["change_id"])
    await lea.done("undo_changes", change=late["change_id"])
    await days.end()

    planned = await lea.done("merge_records", kind="account", keep=globex, merge=initech, reason="One company")
    await lea.done("commit_plan", plan=planned["plan_id"])
    await days.end()

    for day, said in days.said.items():
        for asked, then in zip(QUESTIONS, said, strict=True):
            told = await lea.done("list_renewals", **asked, as_of=str(day))
            assert pipeline(told) == then, (day, asked)
    assert len({str(said) for said in days.said.values()}) == len(days.said)
    by_band = QUESTIONS.index({"group_by": "band", "fields": ["band", "amount"]})
    assert {row["band"] for said in days.said.values() for row in said[by_band]["items"]} >= {"red", "green"}


async def test_one_renewal_of_a_past_day_has_the_facts_but_no_advice(csm: Desk, book: Book, clock: FixedClock) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    await csm.done("log_meeting", account=account, kind="qbr", summary="Fine", renewal_intent="renew")
    then = await card(csm, "Globex")
    clock.advance(timedelta(days=10))
    await csm.done("log_meeting", account=account, kind="call", summary="They leave", renewal_intent="leave")
    await moves(csm, "Globex", "discovery")

    told = await csm.done("list_renewals", renewal="Globex", detail="full", as_of=str(TODAY))

    assert then["next_steps"]
    assert told["renewal"] | {"next_steps": then["next_steps"]} == then
    assert told["renewal"].get("next_steps", []) == []
    assert f"As of {TODAY}:" in told.text
    assert "discovery" not in told.text


async def test_pages_of_a_past_pipeline_join_up_and_hide_what_the_caller_may_not_see(
    desks: Desks, team: Team, book: Book, clock: FixedClock
) -> None:
    ana, ben = await desks.of(team, "ana"), await desks.of(team, "ben")
    for day in (1, 2, 3):
        await book.signs(await ana.account(f"Account {day}"), ends=date(2026, 6, day))
    clock.advance(timedelta(days=2))
    await book.signs(await ana.account("Late"), ends=date(2026, 5, 1))

    first = await ana.done("list_renewals", as_of=str(TODAY), limit=2)
    rest = await ana.done("list_renewals", as_of=str(TODAY), limit=2, cursor=first["next_cursor"])
    hidden = await ben.done("list_renewals", as_of=str(TODAY))

    assert [row["account"] for row in first["items"] + rest["items"]] == ["Account 1", "Account 2", "Account 3"]
    assert (first["total"], rest["sums"]) == (3, first["sums"])
    assert "Left out: 1 renewals that came on record after 2026-03-16." in first.text
    assert (hidden["items"], hidden["total"], hidden["notes"][1:]) == ([], 0, [])


async def test_what_a_past_pipeline_cannot_know_is_refused(csm: Desk, book: Book, clock: FixedClock) -> None:
    await book.signs(await csm.account("Globex"))
    clock.advance(timedelta(days=1))

    told = await csm.done("list_renewals", as_of=str(TODAY), group_by="band")
    assert "\nunknown: 1 renewal" in told.text
    assert "No scores are kept from 2026-03-16 or before" in told.text
    assert "no open renewal on record on 2026-03-01" in await csm.refused(
        "list_renewals", renewal="Globex", as_of="2026-03-01"
    )
    assert "is in the future" in await csm.refused("list_renewals", as_of="2026-12-31")
