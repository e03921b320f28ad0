"""Why an account's health is what it is, read as a model reads it; figures are worked out by hand from the rubric."""

from __future__ import annotations

import base64
import json
import struct
import sys
from datetime import timedelta

import pytest

from conftest import Team
from cs_mcp.db.facts.measures import RAW
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.health.evidence import SOURCES
from cs_mcp.services.health.scoring import Scoring
from cs_mcp.services.health.views import value_in_words

from ._client import Answer, Desk, Desks

TODAY = "2026-03-16"


@pytest.fixture
async def ada(desks: Desks, team: Team) -> Desk:
    return await desks.of(team, "ada")


@pytest.fixture
async def globex(csm: Desk, ada: Desk) -> str:
    """A sponsor who is confirmed and was called, a severe ticket, a poor NPS, a worried note; no champion."""
    account = await csm.account("Globex", segment="enterprise")
    await csm.done("save_contact", account=account, name="Priya Natarajan", level="c_level", department="Finance")
    await csm.done(
        "assign_sponsor", account=account, role="executive_sponsor", contact="Priya Natarajan", since="2026-01-10"
    )
    await csm.done(
        "log_meeting",
        account=account,
        kind="call",
        held_on="2026-03-02",
        summary="Talked",
        attendees=[{"contact": "Priya Natarajan"}],
    )
    await csm.done("add_health_note", account=account, text="They are unhappy", sentiment="negative")
    await ada.done(
        "record_signals",
        items=[
            {"kind": "ticket", "account": account, "source_id": "T1", "severity": 1, "opened_at": "2026-03-01T00:00Z"},
            {
                "kind": "survey",
                "account": account,
                "source_id": "S1",
                "survey": "nps",
                "score": 3,
                "answered_at": "2026-03-10T12:00Z",
            },
        ],
    )
    return account


async def night(team: Team) -> None:
    await Scoring(team.services.store).score_all(await team.principal("ada"))


def gives(answer: Answer) -> dict[str, float]:
    return {line["name"]: line["gives"] for line in answer["measures"]}


def tenths(points: float) -> int:
    return round(points * 10)


async def test_each_measure_gives_and_costs_what_the_rubric_says(csm: Desk, team: Team, globex: str) -> None:
    # Weight × points of what has data, by the enterprise weights: 5×20 + 2×100 + 2×86.67 + 9×0 + 6×0 + 5×100 + 4×100
    # + 4×100 + 3×0 + 5×40 + 2×0 = 1973.34, of 47 weights: 42.0 of 100.
    await night(team)

    told = await csm.done("explain_health", account="Globex")

    assert (told["band"], told["score"], told["confidence"], told["segment"]) == ("red", 42.0, 0.47, "enterprise")
    assert gives(told) == {
        "survey": 0.0, "notes_sentiment": 0.0, "open_severe": 2.1, "breadth": 4.3, "champion_present": 0.0,
        "attendance": 0.0, "ticket_volume": 3.7, "touch": 10.6, "sponsor_present": 8.5, "sponsor_confirmed": 8.5,
        "escalations": 4.3,
    }  # fmt: skip
    costs = [(line["name"], line["costs"]) for line in told["measures"] if line["costs"]]
    assert costs == [
        ("survey", 19.1), ("notes_sentiment", 12.8), ("open_severe", 8.5), ("breadth", 6.4), ("champion_present", 6.4),
        ("attendance", 4.2), ("ticket_volume", 0.6),
    ]  # fmt: skip
    assert sum(map(tenths, gives(told).values())) == 420
    assert sum(tenths(cost) for _, cost in costs) == 580
    assert (await csm.done("get_account", account="Globex"))["health_score"] == 42.0


async def test_a_model_reads_the_evidence_with_ids_and_days(csm: Desk, team: Team, globex: str) -> None:
    await night(team)

    told = await csm.done("explain_health", account="Globex")

    lines = told.text.splitlines()
    [severe] = [place for place, line in enumerate(lines) if "[open_severe]" in line]
    assert "costs 8.5, gives 2.1. 3 weighted tickets = 20 points × 5, newest 2026-03-01" in lines[severe]
    ticket = next(line for line in told["measures"] if line["name"] == "open_severe")["evidence"][0]["id"]
    assert lines[severe + 1] == f"  - 2026-03-01 severity 1 ticket opened, still open ({ticket})"
    assert "- Champion [champion_present]: costs 6.4, gives 0.0. no = 0 points × 3" in lines
    assert "Active users against seats [active_seats] × 7" in lines[-1]
    assert "unhappy" not in told.text  # a note's words are in list_health_notes, fenced
    assert len(told.text.encode()) <= 4000 * 3.3


async def test_the_way_up_is_the_one_measure_of_least_points(csm: Desk, team: Team, globex: str) -> None:
    # 500×10×47 − 5×47 − 197 334 = 37 431 weighted hundredths are missing: of the measures that reach it alone, NPS
    # needs the fewest points: 41.59, which is 60.8 on its line.
    await night(team)

    path = (await csm.done("explain_health", account="Globex"))["path"]

    assert (path["target"], path["reaches"], path["score"]) == ("yellow", True, 50.0)
    assert [(step["name"], step["raw"], step["to"]) for step in path["steps"]] == [("survey", 30.0, 61.0)]


async def test_why_it_moved_is_split_to_the_last_tenth(
    csm: Desk, ada: Desk, team: Team, globex: str, clock: FixedClock
) -> None:
    await night(team)
    clock.advance(timedelta(days=10))
    await ada.done(
        "record_signals",
        items=[{"kind": "ticket", "account": globex, "source_id": "T1", "status": "resolved", "severity": 1,
                "opened_at": "2026-03-01T00:00Z", "resolved_at": "2026-03-20T00:00Z"}],
    )  # fmt: skip
    await csm.done(
        "log_meeting",
        account=globex,
        kind="qbr",
        held_on="2026-03-25",
        summary="Went well",
        sentiment="positive",
        attendees=[{"contact": "Priya Natarajan"}],
    )
    await night(team)

    told = await csm.done("explain_health", account="Globex", since=TODAY)

    # By what both days know: (5×80 + 6×60 + 2×50) / 47 better, 42.0 → 60.3. The time to resolution, known now and worth
    # nothing, makes it 56.7 of 50 weights.
    why = told["why"]
    assert (told["score"], why["score_then"], why["difference"]) == (56.7, 42.0, 14.7)
    assert (why["behaviour"], why["missing_data"], why["configuration"], why["override"]) == (18.3, -3.6, 0.0, 0.0)
    assert [(one["name"], one["points"]) for one in why["measures"]] == [
        ("open_severe", 8.5), ("notes_sentiment", 7.7), ("attendance", 2.1),
    ]  # fmt: skip
    assert "(red 42.0, from the snapshot) to 56.7: +14.7 = behaviour +18.3" in told.text
    assert "Has data now and had none: time_to_resolution." in why["remarks"]
    assert told["trend"] == {"days_7": 14.7, "course": "▁█", "low": 42.0, "high": 56.7, "since": TODAY}

    # On a day that no night scored it is replayed, by what was dated by then: the ticket is resolved, the QBR not held.
    between = await csm.done("explain_health", account="Globex", as_of="2026-03-20")
    assert (between["source"], between["score"], between["scored_on"]) == ("replay", 47.5, "2026-03-20")
    assert "No night scored 2026-03-20" in between.text


async def test_weights_and_a_persons_word_are_told_from_behaviour(
    csm: Desk, team: Team, globex: str, clock: FixedClock
) -> None:
    await night(team)
    clock.advance(timedelta(days=1))
    version = (await csm.done("get_account", account="Globex"))["version"]
    await csm.done("update_account", account="Globex", expected_version=version, segment="smb")
    lea = await csm.done(
        "override_health", account="Globex", score=80, expires_on="2026-04-10", reason="The CFO told me they renew"
    )
    await night(team)

    told = await csm.done("explain_health", account="Globex", since=TODAY)

    # Of the smb weights only breadth (1), sponsor_confirmed (2) and attendance (1) differ: 40, 4 and 2 days give
    # 1973.34 − 4×40 − 2×100 = 1613.34 of 40 weights, 40.3; a day older changes no points.
    assert (told["segment"], told["score"], told["computed_band"], told["band"]) == ("smb", 40.3, "red", "green")
    why = told["why"]
    assert (why["configuration"], why["behaviour"], why["missing_data"]) == (-1.7, 0.0, 0.0)
    assert (why["override"], why["difference"], why["score_now"]) == (39.7, 38.0, 80.0)
    assert "It was weighed as enterprise, and is as smb." in why["remarks"]
    assert told["override"]["reason"] == "The CFO told me they renew"
    assert f"Override {lea['record']['id']}: green 80.0 until 2026-04-10 by Ana Ruiz" in told.text
    # The override hides neither the sum nor the way up from it.
    assert told["path"]["target"] == "yellow"
    before = await csm.done("explain_health", account="Globex", as_of=TODAY)
    assert (before["score"], before["band"], before["segment"]) == (42.0, "red", "enterprise")
    assert "override" not in before.data


async def test_a_hard_rule_is_named_with_what_clears_it(csm: Desk, team: Team, globex: str, clock: FixedClock) -> None:
    await night(team)
    clock.advance(timedelta(days=1))
    await csm.done("record_departure", account="Globex", contact="Priya Natarajan")
    await night(team)

    told = await csm.done("explain_health", account="Globex", since=TODAY)

    assert [(rule["name"], rule["cap"]) for rule in told["rules"]] == [("sponsor_departed", "red")]
    assert "Hard rule sponsor_departed caps at red" in told.text
    assert "Clears: A successor is assigned and has met us." in told.text
    assert told["why"]["rules_added"] == ["sponsor_departed"]
    assert told["path"]["clear"] == ["sponsor_departed"]
    # Who left is the evidence of the rule, and of the empty seat.
    [who] = told["rules"][0]["evidence"]
    assert (who["id"][:4], who["what"]) == ("con_", "Priya Natarajan, executive sponsor, departed")
    assert f"  - 2026-03-17 Priya Natarajan, executive sponsor, departed ({who['id']})" in told.text
    [seat] = [line for line in told["measures"] if line["name"] == "sponsor_present"]
    assert (seat["raw"], seat["evidence"]) == (0, [who])


async def test_too_little_data_says_which_would_do(csm: Desk, team: Team) -> None:
    await csm.account("Initech", segment="smb")
    await csm.done("add_health_note", account="Initech", text="Fine", sentiment="positive")
    await night(team)

    told = await csm.done("explain_health", account="Initech")

    # 6 of 100 weights have data; with the two heaviest missing ones, 11 + 9, it is 26, with a third of 9 it is 35.
    assert (told["band"], told.data.get("score"), told["confidence"]) == ("unknown", None, 0.06)
    assert "path" not in told.data
    [said] = told["remarks"]
    assert said.startswith("No score: 6 % of the weights have data and 30 % are needed.")
    assert said.count("[") == 3
    assert "[active_seats]" in said


async def test_before_any_night_it_is_replayed(csm: Desk, globex: str) -> None:
    told = await csm.done("explain_health", account="Globex")

    assert (told["source"], told["score"]) == ("replay", 42.0)
    assert "why" not in told.data


async def test_days_that_make_no_sense_are_refused(csm: Desk, globex: str) -> None:
    assert "in the future" in await csm.refused("explain_health", account="Globex", as_of="2026-03-17")
    assert "not before" in await csm.refused("explain_health", account="Globex", since=TODAY)
    assert "was no customer on 2025-01-01" in await csm.refused("explain_health", account="Globex", as_of="2025-01-01")


async def test_an_account_outside_the_book_is_not_there(desks: Desks, team: Team, globex: str) -> None:
    await night(team)
    ben = await desks.of(team, "ben")
    assert "No account" in await ben.refused("explain_health", account=globex)


async def test_a_small_budget_gives_up_evidence_first_and_says_so(csm: Desk, team: Team, globex: str) -> None:
    await night(team)
    for budget in (300, 700, 1200):
        told = await csm.done("explain_health", account="Globex", budget_tokens=budget)
        assert (told["score"], told["band"]) == (42.0, "red")
        assert len(told.text.encode()) <= budget * 3.3
        assert len(json.dumps(told.data, ensure_ascii=False, separators=(",", ":")).encode()) <= budget * 3.3
        assert told["left_out"]
        assert "Left out:" in told.text


async def test_an_account_tells_its_health_in_a_line(csm: Desk, team: Team, globex: str, clock: FixedClock) -> None:
    assert "health" not in (await csm.done("get_account", account="Globex")).data
    await night(team)
    clock.advance(timedelta(days=40))
    await csm.done("log_meeting", account="Globex", kind="call", summary="They renew", sentiment="positive")
    override = await csm.done(
        "override_health", account="Globex", band="green", expires_on="2026-05-01", reason="They renew"
    )
    await night(team)

    told = await csm.done("get_account", account="Globex")

    # 40 days on the ticket is not new any more, and the call outweighs half of the note: 5×20 + 2×100 + 2×100 + 6×60 +
    # 5×100 + 4×100 + 4×100 + 5×40 = 2360 of 47, 50.2.
    health = told["health"]
    assert (health["band"], health["score"], health["computed_band"], health["trend_30"]) == (
        "green", 50.2, "yellow", 8.2,
    )  # fmt: skip
    assert [loss["name"] for loss in health["losses"]] == ["survey", "open_severe", "champion_present"]
    assert health["override"]["id"] == override["record"]["id"]
    assert "Health green 50.2 (by the sum alone yellow), +8.2 in 30 days, confidence 47%, of 2026-04-25." in told.text
    assert "Costs most: NPS and CSAT −19.1, Open severe tickets −8.5, Champion −6.4." in told.text
    past = await csm.done("get_account", account="Globex", as_of="2026-03-18")
    assert (past["health_band"], past["health_score"], past["health"]["scored_on"]) == ("red", 42.0, TODAY)
    assert (await csm.done("get_account", account="Globex", as_of="2026-04-20"))["health_band"] == "unknown"


async def test_a_list_begins_with_the_steepest_fall(
    csm: Desk, ada: Desk, team: Team, globex: str, clock: FixedClock
) -> None:
    steady = await csm.account("Steady", segment="mid_market")
    await csm.done("log_meeting", account="Steady", kind="call", summary="Hi", sentiment="positive",
                   attendees=[{"name": "Tom Ode"}])  # fmt: skip
    answer = {"kind": "survey", "survey": "nps", "score": 9, "answered_at": "2026-03-10T12:00Z"}
    await ada.done("record_signals", items=[answer | {"account": steady, "source_id": "S2"}])
    await csm.account("Unscored")
    await night(team)
    clock.advance(timedelta(days=35))
    await night(team)

    first = await csm.done("find_accounts", sort="health_trend", fields=["health"], limit=1)
    rest = await csm.done("find_accounts", sort="health_trend", fields=["health"], cursor=first["next_cursor"])

    # Globex was touched 1.63 cadences ago now, 54.67 points; its ticket is no longer new: 1773.35 of 47, 37.7.
    falls = [(item["name"], item.get("health_trend")) for item in [*first["items"], *rest["items"]]]
    assert falls == [("Globex", -4.3), ("Steady", 0.0), ("Unscored", None)]
    assert "red 37.7 (−4.3 in 30 days)" in first.text


async def test_a_picture_comes_beside_the_text(csm: Desk, team: Team, globex: str) -> None:
    await night(team)
    result = await csm.client.call_tool("explain_health", {"account": "Globex", "image": True})

    said, picture = result.content
    assert said.type == "text"
    assert picture.type == "image"
    png = base64.b64decode(picture.data)
    width, height = struct.unpack(">II", png[16:24])
    assert (picture.mime_type, png[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert width > 600
    assert height > 200


async def test_without_the_extra_for_charts_the_answer_says_how_to_get_it(
    csm: Desk, globex: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as where it is not installed

    told = await csm.done("explain_health", account="Globex", image=True)

    assert "pip install 'cs-mcp[charts]'" in told["remarks"][-1]


@pytest.mark.parametrize(
    ("raw", "unit", "words"),
    [
        (0.576, "share of seats", "57.6 % of seats"),
        (-0.196, "change over two falling weeks", "−19.6 % over two falling weeks"),
        (0.02, "change", "+2 %"),
        (0, "change", "0 %"),
        (1, "yes or no", "yes"),
        (0, "yes or no", "no"),
        (1, "tickets more than usual", "1 ticket more than usual"),
        (1, "weighted tickets", "1 weighted ticket"),
        (3, "of six", "3 of six"),
        (1, "points of 100", "1 point of 100"),
    ],
)
def test_a_raw_value_reads_as_people_say_it(raw: float, unit: str, words: str) -> None:
    assert value_in_words(raw, unit) == words


def test_every_measure_a_rubric_may_name_says_what_it_is_computed_from() -> None:
    """A workspace's own rubric takes its measures from these names, whatever weights and points it gives them."""
    without_a_feed = {"objectives_on_track", "value_confirmed", "first_value"}
    assert set(RAW) - set(SOURCES) == without_a_feed
    assert set(SOURCES) <= set(RAW)
