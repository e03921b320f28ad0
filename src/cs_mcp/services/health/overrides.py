"""Overriding the health of an account: a person's word, with a reason and a last day, beside the computed score."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cs_mcp.db.health.override_reads import health_within
from cs_mcp.db.health.rubrics import RUBRIC_IN_FORCE
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account, Band
from cs_mcp.domain.contract import AccountRef, Command, ShortText, View, shown
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.health.overrides import MOST_DAYS, HealthOverride
from cs_mcp.domain.health.rubric import Bands
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.health.rubric_files import default_text, read_rubric
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome


class OverrideHealth(Command):
    tool: ClassVar[str] = "override_health"

    account: AccountRef
    band: Literal["green", "yellow", "red"] | None = None
    score: Annotated[float, Field(ge=0, le=100, description="Instead of a band, e.g. 62.5")] | None = None
    expires_on: (
        Annotated[date, Field(description=f"Last day it holds, at most {MOST_DAYS} days ahead; ends by itself")] | None
    ) = None
    clear: Annotated[bool, Field(description="End the override that holds")] = False
    # An override is a judgement; pydantic leaves the field without the default of the command above.
    reason: ShortText  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


class OverrideView(View):
    """An override, and the account's health with it (`effective_band`) and without."""

    id: str
    version: int
    account: PersonRef
    band: str
    score: float | None = None
    reason: str
    author: str | None = None
    from_on: date
    expires_on: date
    ended_on: date | None = None
    effective_band: str
    computed_band: str
    computed_score: float | None = None

    def text(self, nonce: str) -> str:
        given = self.band if self.score is None else f"{self.band} (score {self.score:g})"
        until = f"ended on {self.ended_on}" if self.ended_on else f"until {self.expires_on}"
        score = "" if self.computed_score is None else f" {self.computed_score:g}"
        by = f" by {shown(self.author)}" if self.author else ""
        return (
            f"Override {self.id} of {self.account.text(nonce)}: {given} from {self.from_on}, {until}{by}: "
            f"{shown(self.reason, 500)}\n"
            f"Effective band: {self.effective_band}. Computed: {self.computed_band}{score}."
        )


class Overrides:
    async def override(self, work: UnitOfWork, command: OverrideHealth) -> Outcome:
        account = await work.accounts.get((await Names.writing(work).account(command.account)).id)
        standing = await work.overrides.standing(account.id, work.today)
        if command.clear:
            _refuse_given(command)
            if not standing:
                raise Conflict(
                    f"No override of {account.name} ({account.id}) holds today. Nothing was done.",
                    remedy="get_account shows its health as it is.",
                )
            for one in standing:
                work.overrides.save(one.changed(ended_on=work.today))
            return await _answer(work, account, standing[-1].id)
        given = await _given(work, account, command)
        if standing and _says_the_same(standing[-1], given):
            return await _answer(work, account, standing[-1].id)
        for one in standing:
            work.overrides.save(one.changed(ended_on=work.today))
        work.overrides.add(given)
        return await _answer(work, account, given.id)


def _refuse_given(command: OverrideHealth) -> None:
    for name in ("band", "score", "expires_on"):
        if getattr(command, name) is not None:
            raise Invalid(
                f"`clear` ends the override, and {name} is given for a new one.",
                remedy=f"Leave {name} out to end it, or leave clear out: a new override takes the place of the old.",
            )


async def _given(work: UnitOfWork, account: Account, command: OverrideHealth) -> HealthOverride:
    if (command.band is None) == (command.score is None):
        said = "No band is given, and no score" if command.band is None else "Both a band and a score are given"
        raise Invalid(f"{said}. Nothing was done.", remedy="Give one of the two: band 'yellow', or score 62.5.")
    last = work.today + timedelta(days=MOST_DAYS)
    if command.expires_on is None:
        raise Invalid("An override ends on a day, and none is given.", remedy=f"Give expires_on, {last} at the latest.")
    if not work.today <= command.expires_on <= last:
        raise Invalid(
            f"expires_on {command.expires_on} is not between today, {work.today}, and {last}, {MOST_DAYS} days ahead.",
            remedy="Give a day between; who still means it then can override again.",
        )
    tenths = None if command.score is None else round(command.score * 10)
    return HealthOverride(
        id=work.ids.new("health_override"),
        account_id=account.id,
        band=(await _bands(work)).of(tenths) if tenths is not None else Band(command.band),
        score_tenths=tenths,
        reason=command.reason,
        author_id=work.principal.user,
        from_on=work.today,
        expires_on=command.expires_on,
    )


async def _bands(work: UnitOfWork) -> Bands:
    """Where green and yellow begin, by the rubric in force."""
    own = await (await work.wire()).rows(RUBRIC_IN_FORCE, {"workspace": work.principal.workspace})
    return read_rubric(own[0]["text"] if own else default_text()).bands


def _says_the_same(one: HealthOverride, other: HealthOverride) -> bool:
    names = ("band", "score_tenths", "reason", "expires_on")
    return all(getattr(one, name) == getattr(other, name) for name in names)


async def _answer(work: UnitOfWork, account: Account, override: str) -> Outcome:
    before = account.health_band.value
    await work.flush()
    one, health = work.overrides.now(override), await health_within(work, account.id)
    effective, computed = health["health_band"], health["computed_band"]
    triggered: list[str] = []
    if effective != before:
        triggered.append(f"Lists and filters show {shown(account.name)} as {effective} from now on; it was {before}.")
    if computed != effective and one.stands(work.today):
        triggered.append(f"Its score says {computed}, which stays beside it.")
    authors = await work.members.names([one.author_id])
    return Outcome(
        record=OverrideView(
            id=one.id,
            version=one.version,
            account=PersonRef(id=account.id, name=account.name),
            band=one.band.value,
            score=None if one.score_tenths is None else one.score_tenths / 10,
            reason=one.reason,
            author=authors.get(one.author_id) if one.author_id else None,
            from_on=one.from_on,
            expires_on=one.expires_on,
            ended_on=one.ended_on,
            effective_band=effective,
            computed_band=computed,
            computed_score=health["health_score"],
        ),
        triggered=triggered,
    )
