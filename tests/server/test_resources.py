"""What is read by address: two shipped pages, accounts, briefs, each as the caller may see it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from conftest import Team
from cs_mcp.domain.renewals.renewals import ForecastCategory, RenewalStage
from cs_mcp.domain.rights import RIGHTS
from cs_mcp.prompts import PROMPTS
from cs_mcp.services.health.rubric_files import default_text
from cs_mcp.services.health.rubrics import Rubrics

from ._client import Desk, serving
from ._prompts import completed, read, rendered, resource_refused

MARK = re.compile(r"[0-9a-f]{8}(?=[ ⟧])")


async def test_pages_and_templates_are_listed(ana: Desk) -> None:
    pages = {str(page.uri): page for page in (await ana.client.list_resources()).resources}
    templates = {template.uri_template for template in (await ana.client.list_resource_templates()).resource_templates}

    assert set(pages) == {"cs://guide", "cs://glossary", "cs://health/rubric"}
    assert templates == {
        "cs://accounts/{id}",
        "cs://accounts/{id}/brief/{kind}{?period_start,period_end,contact}",
    }
    assert all(page.title and page.description and page.mime_type == "text/markdown" for page in pages.values())


async def test_the_guide_is_one_page_and_names_what_there_is(ana: Desk) -> None:
    guide = await read(ana, "cs://guide")

    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", guide))
    arguments = {"budget_tokens", "left_out", "as_of", "expected_version", "idempotency_key"}
    assert named - arguments <= set(RIGHTS) | {prompt.name for prompt in PROMPTS}
    assert len(guide.encode()) <= 4_000


async def test_the_glossary_has_the_terms_and_their_formulas(ana: Desk) -> None:
    glossary = await read(ana, "cs://glossary")

    for term in (
        "ARR",
        "GRR",
        "NRR",
        "Logo churn",
        "TTFV",
        "QBR",
        "CLV",
        "Executive sponsor",
        "Champion",
        "Quick ratio",
    ):
        assert f"**{term}**" in glossary, term
    for code in (*RenewalStage, *ForecastCategory):
        assert f"`{code.value}`" in glossary
    flat = " ".join(glossary.split())
    assert (
        "(cohort opening − contraction − churn) ÷ opening = Σ min(closing, opening) ÷ Σ opening; at most 100 %" in flat
    )
    assert "cohort closing ÷ cohort opening = GRR + (expansion + price change) ÷ opening" in flat
    assert len(glossary.encode()) <= 8_000


async def test_the_rubric_says_how_health_is_scored_here(ana: Desk, team: Team) -> None:
    """Σ and bands in words, every measure with its weight; a workspace's own once it has one."""
    page = await read(ana, "cs://health/rubric")
    assert "Version `1.0`. 26 measures in 6 groups." in page
    assert "**Score** = Σ weight × points ÷ Σ weight" in page
    assert "green from 75, yellow from 50" in page
    assert "### Last touch against the cadence (`touch`), weight 5" in page

    operator = await team.services.identity.operator(team.workspace)
    ours = default_text().replace('version: "1.0"', "version: ours-1").replace("green: 75", "green: 70")
    await Rubrics(team.services.store).adopt(operator, ours)

    page = await read(ana, "cs://health/rubric")
    assert "Version `ours-1`, in force since 2026-03-16." in page
    assert "green from 70" in page


async def test_an_account_reads_as_the_tool_shows_it(ana: Desk) -> None:
    account = await ana.account("Globex", domain="globex.example")
    await ana.done("add_health_note", account=account, text="All quiet")

    shown = (await ana.done("get_account", account=account)).text

    assert MARK.sub("mark", await read(ana, f"cs://accounts/{account}")) == MARK.sub("mark", shown)
    assert account in await read(ana, "cs://accounts/globex.example")


async def test_a_brief_reads_as_its_prompt_embeds_it(ana: Desk) -> None:
    account = await ana.account("Globex")
    await ana.done("save_contact", account=account, name="Priya Shah")
    for prompt, more in (
        ("qbr_summary", {"period_start": "2026-01-01", "period_end": "2026-01-31"}),
        ("detractor_outreach", {"contact": "Priya Shah"}),
    ):
        got = await rendered(ana, prompt, account=account, **more)
        assert MARK.sub("mark", await read(ana, got.uri)) == MARK.sub("mark", got.brief)


async def test_refusals_teach(ana: Desk) -> None:
    account = await ana.account("Globex")
    said = {
        uri: await resource_refused(ana, uri)
        for uri in (
            "cs://accounts/acc_000000000000000000",
            "cs://accounts/Globax",
            "cs://glosary",
            f"cs://accounts/{account}/brief/poem",
            f"cs://accounts/{account}/brief/qbr?period_start=yesterday",
            "cs://accounts/" + "x" * 300,
        )
    }
    words = list(said.values())

    assert "No account has the id 'acc_000000000000000000'" in words[0]
    assert f"Nearest: Globex ({account})" in words[1]
    assert "Resources: cs://guide, cs://glossary" in words[2]
    assert "Kinds: qbr, detractor." in words[3]
    assert "YYYY-MM-DD" in words[4]
    assert "names no record" in words[5]


async def test_what_is_out_of_reach_reads_as_what_is_not_there(
    ana: Desk, sit: Callable[[str], Awaitable[Desk]]
) -> None:
    account = await ana.account("Globex")
    ben, vic = await sit("ben"), await sit("vic")
    missing = "acc_000000000000000000"

    for path in ("", "/brief/qbr", "/brief/detractor"):
        theirs = await resource_refused(ben, f"cs://accounts/{account}{path}")
        nobodys = await resource_refused(ben, f"cs://accounts/{missing}{path}")
        assert theirs.replace(account, missing) == nobodys
    assert "Globex" in await read(vic, f"cs://accounts/{account}")
    assert await completed(ben.client, "cs://accounts/{id}", "id", "") == []


async def test_a_bearer_token_bounds_addresses_as_it_bounds_tools(
    store_url: str, clock: object, team: Team, ana: Desk, era: str
) -> None:
    account = await ana.account("Globex")
    with serving(store_url, clock) as http:
        async with http.client(await team.token("bot", "ana"), era) as client:
            assert "Globex" in await read(Desk(client), f"cs://accounts/{account}")
        async with http.client(await team.token("bot"), era) as client:
            assert "No account" in await resource_refused(Desk(client), f"cs://accounts/{account}")
            assert "# How this works" in await read(Desk(client), "cs://guide")
