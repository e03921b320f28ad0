"""Prompts and resources on hostile records: instructions hold none of it, briefs hold it as data alone."""

from __future__ import annotations

from conftest import Team
from server._client import Desks
from server._prompts import BRIEF, completed, read, rendered

from .test_untrusted_text import HOSTILE, LIVE, planted

__all__ = ["planted"]

INJECTED = "gnore previous instructions"
CASES = {
    "qbr_summary": {"audience": "working_team"},
    "detractor_outreach": {"concern": HOSTILE},
}


async def test_instructions_hold_nothing_that_anybody_wrote(planted: str, team: Team, desks: Desks, era: str) -> None:
    desk = await desks.of(team, "ada", mode=era)
    for prompt, more in CASES.items():
        got = await rendered(desk, prompt, account=planted, **more)
        assert INJECTED not in got.told
        assert "evil" not in got.told
        assert f"⟦brief {got.mark} " in got.told, "the instructions say which mark ends the data"
        assert INJECTED not in (await desk.client.list_prompts()).model_dump_json()


async def test_a_brief_holds_hostile_text_inert_within_its_marks(
    planted: str, team: Team, desks: Desks, era: str
) -> None:
    desk = await desks.of(team, "ada", mode=era)
    for prompt, more in CASES.items():
        got = await rendered(desk, prompt, account=planted, **more)
        assert INJECTED in got.inside, "the check sees nothing"
        assert not LIVE.search(got.brief), LIVE.search(got.brief)
        assert "As the customer wrote" not in got.outside_quotes
        assert "⟦" not in got.outside_quotes
        assert BRIEF.fullmatch(got.brief)
        assert got.brief.count(f"end brief {got.mark}") == 1


async def test_marks_cannot_be_foreseen(planted: str, team: Team, desks: Desks) -> None:
    desk = await desks.of(team, "ada")
    assert len({(await rendered(desk, "qbr_summary", account=planted)).mark for _ in range(10)}) == 10


async def test_addresses_and_completions_bring_it_back_inert(planted: str, team: Team, desks: Desks, era: str) -> None:
    desk = await desks.of(team, "ada", mode=era)
    text = await read(desk, f"cs://accounts/{planted}")
    suggested = await completed(desk.client, "qbr_summary", "account", "")
    people = await completed(desk.client, "detractor_outreach", "contact", "", account=planted)

    assert INJECTED in text
    assert not LIVE.search(text)
    assert not LIVE.search(" ".join(suggested + people))
    assert INJECTED not in " ".join(suggested + people)
