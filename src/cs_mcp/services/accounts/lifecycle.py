"""Moving an account's stage: its exit criteria against the facts, or a person's word for it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from cs_mcp.db.accounts.lifecycle import lifecycle_of
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account, Stage
from cs_mcp.domain.accounts.lifecycle import STAGES, Finding, LifecycleFacts, Move, Verdict, judged
from cs_mcp.domain.contract import AccountRef, Amount, Command, ShortText, Version, View, shown
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome


class MoveAccountStage(Command):
    tool: ClassVar[str] = "move_account_stage"

    account: AccountRef
    to_stage: Stage
    expected_version: Version
    override_reason: (
        Annotated[
            ShortText,
            Field(description="Why it moves although a criterion fails, a stage is skipped, or backwards; churned too"),
        ]
        | None
    ) = None

    @property
    def why(self) -> str | None:
        """The override is what the audit trail must tell."""
        return "; ".join(dict.fromkeys(filter(None, (self.override_reason, self.reason)))) or None


class StageMoved(View):
    """`overridden`: the criteria that failed and were set aside; `unknown` ones blocked nothing."""

    account: PersonRef
    from_stage: str
    stage: str
    version: int
    led_by: str
    time_limit_days: int | None = None
    findings: list[Finding] = []
    overridden: list[str] = []
    skipped: list[str] = []

    def text(self, nonce: str) -> str:
        limit = f", at most {self.time_limit_days} days" if self.time_limit_days else ""
        head = f"{self.account.text(nonce)}: {self.from_stage} → {self.stage}, v{self.version}"
        lines = [f"{head} (led by {self.led_by}{limit})"]
        if self.skipped:
            lines.append(f"Skipped: {', '.join(self.skipped)}.")
        for finding in self.findings:
            set_aside = ", set aside" if finding.criterion in self.overridden else ""
            lines.append(f"- {finding.says}: {finding.verdict.value}{set_aside} ({shown(finding.fact)})")
        return "\n".join(lines)


class Lifecycle:
    async def move(self, work: UnitOfWork, command: MoveAccountStage) -> Outcome:
        account = await work.accounts.get((await Names.writing(work).account(command.account)).id)
        await check_version(work, account, command.expected_version, "account")
        if account.stage is command.to_stage:
            raise Conflict(
                f"{account.name} ({account.id}) is in {account.stage.value} already. Nothing was done.",
                remedy="get_account shows what its exit still needs.",
            )
        facts, since = await _facts(work, account)
        move = judged(facts, command.to_stage)
        if command.override_reason is None:
            _refuse_unless_free(account, command.to_stage, move, said=command.reason)
        work.accounts.save(account.changed(stage=command.to_stage))
        await work.flush()
        rule = STAGES[command.to_stage]
        record = StageMoved(
            account=PersonRef(id=account.id, name=account.name),
            from_stage=account.stage.value,
            stage=command.to_stage.value,
            version=work.accounts.now(account.id).version,
            led_by=rule.owner.value,
            time_limit_days=rule.limit_days,
            findings=move.findings,
            overridden=[finding.criterion for finding in move.failed],
            skipped=[stage.value for stage in move.skipped],
        )
        return Outcome(
            record=record, triggered=_triggered(account, command.to_stage, since), next=_next(command.to_stage)
        )


async def _facts(work: UnitOfWork, account: Account) -> tuple[LifecycleFacts, date | None]:
    found = await lifecycle_of(work, account.id)
    facts = LifecycleFacts(
        account=account,
        today=work.today,
        kickoff_on=found.kickoff_on,
        last_review_on=found.last_review_on,
        last_roi_on=found.last_roi_on,
        engaged_contacts=found.engaged_contacts,
        open_renewal_deadline_on=found.open_renewal_deadline_on,
        renewals=found.renewals,
        stage_before_renewal=found.stage_before_renewal,
    )
    return facts, found.stage_since or account.created_on


def _refuse_unless_free(account: Account, to: Stage, move: Move, *, said: str | None) -> None:
    """A churn is a judgement, not an override: `reason` alone explains it."""
    what = f"{account.name} ({account.id}) cannot move from {account.stage.value} to {to.value}"
    if move.judgement is not None:
        if to is Stage.churned and said is not None:
            return
        raise Invalid(
            f"{what} without a reason: it is {move.judgement}. Nothing was done.",
            remedy="Say why in override_reason.",
        )
    against: list[str] = []
    if move.skipped:
        against.append(f"it would skip {', '.join(stage.value for stage in move.skipped)}")
    against += [f"{finding.says}: no, {finding.fact}. {finding.remedy}" for finding in move.failed]
    if not against:
        return
    unknown = [finding.says for finding in move.findings if finding.verdict is Verdict.unknown]
    listed = "".join(f"\n- {line}" for line in against)
    aside = f"\nNot known, so not held against it: {'; '.join(unknown)}." if unknown else ""
    raise Conflict(
        f"{what} yet. Nothing was done.{listed}{aside}\n",
        remedy="Do what is missing, or have a person say in override_reason why it moves all the same.",
    )


def _triggered(account: Account, to: Stage, since: date | None) -> list[str]:
    if to is not Stage.churned:
        return []
    told = f"{account.name} is churned; it had been {account.stage.value}"
    said = [f"{told} since {since}." if since is not None else f"{told}."]
    if account.arr_minor > 0:
        amount = Amount.of(account.arr_minor, account.currency)
        said.append(f"Its ledger still holds an ARR of {amount}: the stage posts no movement.")
    return said


def _next(to: Stage) -> str | None:
    needed = [criterion.says for criterion in STAGES[to].exit]
    return f"To leave {to.value}: {'; '.join(needed)}." if needed else None
