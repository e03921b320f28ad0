"""How renewals are shown: a row of the pipeline, or everything about one."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal

from cs_mcp.domain.contract import Amount, Page, View, counted, grouped, shown
from cs_mcp.services.accounts.views import PersonRef

RowField = Literal[
    "stage", "arr", "days_left", "band", "sponsor", "risks", "amount", "forecast_category", "deadline_on", "owner",
    "version",
]  # fmt: skip
# What fifty rows may hold within 4 000 tokens, as text and as JSON.
DEFAULT_FIELDS: tuple[RowField, ...] = ("stage", "arr", "days_left", "band", "sponsor", "risks")


class RenewalRow(View):
    """One renewal in a list, kept small. Absent fields have no value or were not asked for; no stage: not started.

    `arr` is the subscription's on the page's day, `amount` what the renewal is expected to bring, in `currency` or else
    in the page's. `days_left` counts to the last day for notice.
    """

    id: str
    account: str
    account_id: str
    stage: str | None = None
    forecast_category: str | None = None
    arr: str | None = None
    amount: str | None = None
    currency: str | None = None
    closes_on: date
    deadline_on: date | None = None
    days_left: int | None = None
    band: str | None = None
    owner: str | None = None
    sponsor: str | None = None
    risks: list[str] | None = None
    version: int | None = None

    def text(self, nonce: str) -> str:
        parts = [
            f"ARR {self._money(self.arr)}" if self.arr else "",
            f"amount {self._money(self.amount)}" if self.amount else "",
            f"closes {self.closes_on}",
            f"notice by {self.deadline_on}" if self.deadline_on else "",
            self._notice(self.days_left) if self.days_left is not None else "",
            self.stage,
            self.forecast_category,
            self.band,
            f"owner {shown(self.owner)}" if self.owner else "",
            f"sponsor {shown(self.sponsor)}" if self.sponsor else "",
            "/".join(self.risks or ()),
            f"v{self.version}" if self.version else "",
        ]
        return f"- {shown(self.account)} ({self.account_id}) {self.id}: " + ", ".join(part for part in parts if part)

    def _money(self, amount: str) -> str:
        return f"{grouped(amount)} {self.currency}" if self.currency else grouped(amount)

    def _notice(self, days: int) -> str:
        return f"notice in {counted(days, 'day')}" if days >= 0 else f"notice over for {counted(-days, 'day')}"


class RenewalSum(View):
    """Renewals in one currency, over all matches; with a `group`, those of it."""

    group: str | None = None
    renewals: int
    arr: Amount
    amount: Amount

    def text(self, nonce: str) -> str:
        name = f"{shown(self.group)}: " if self.group else ""
        return f"{name}{counted(self.renewals, 'renewal')}, ARR {self.arr}, amount {self.amount}"


class CheckpointLine(View):
    days: int
    on: date
    asks: str
    state: str
    lacks: list[str] = []

    def text(self, nonce: str) -> str:
        lacks = f"; lacks {'; '.join(self.lacks)}" if self.lacks else ""
        return f"- {self.days} days before, {self.on}: {self.state.upper()} — {self.asks}{lacks}"


class OfferLine(View):
    tier: str
    amount: Amount
    includes: str | None = None

    def text(self, nonce: str) -> str:
        return f"- {self.tier}: {self.amount}" + (f" — {shown(self.includes, 500)}" if self.includes else "")


class ConcessionLine(View):
    kind: str
    value: str
    given_for: str

    def text(self, nonce: str) -> str:
        return f"- {self.kind}: {shown(self.value, 500)}, given for {shown(self.given_for, 500)}"


class Heard(View):
    """What a meeting said of this renewal."""

    meeting_id: str
    held_on: date
    renewal_intent: str | None = None
    forecast_hint: str | None = None

    def text(self, nonce: str) -> str:
        hint = f", hinted {self.forecast_hint}" if self.forecast_hint else ""
        return f"- {self.held_on} ({self.meeting_id}): intent {self.renewal_intent or 'not told'}{hint}"


class RenewalCard(View):
    """One renewal whole. `gaps` is what it lacks by now, `next_steps` what to do, each with the call for it."""

    id: str
    version: int
    account: PersonRef
    subscription_id: str | None = None
    product: str | None = None
    term_starts_on: date | None = None
    term_ends_on: date
    auto_renew: bool | None = None
    co_terms: list[str] = []
    owner: PersonRef | None = None
    stage: str
    forecast_category: str | None = None
    category_reason: str | None = None
    arr: Amount
    amount: Amount
    expected_amount: Amount | None = None
    closes_on: date
    deadline_on: date
    days_left: int
    motion_starts_on: date
    executive_sponsor: PersonRef | None = None
    health_band: str
    stakeholders_confirmed_on: date | None = None
    decision_criteria: list[str] = []
    procurement_steps: list[str] = []
    options: list[OfferLine] = []
    concessions: list[ConcessionLine] = []
    risks: dict[str, str] = {}
    noted_risks: list[str] = []
    heard: list[Heard] = []
    last_value_review: Heard | None = None
    checkpoints: list[CheckpointLine] = []
    gaps: list[str] = []
    next_steps: list[str] = []
    closed_on: date | None = None
    loss_reason: str | None = None

    def text(self, nonce: str) -> str:
        lines = [f"# Renewal of {self.account.text(nonce)} ({self.id}, v{self.version})", self._facts(nonce)]
        for title, words in (
            ("Decision criteria", self.decision_criteria),
            ("Procurement steps", self.procurement_steps),
            ("Noted risks", self.noted_risks),
        ):
            if words:
                lines.append(f"{title}: " + "; ".join(shown(word, 500) for word in words))
        lines += [f"Risk {code}: {why}" for code, why in self.risks.items()]
        if self.last_value_review:
            lines.append(f"Last value review {self.last_value_review.held_on} ({self.last_value_review.meeting_id}).")
        for title, items in (
            ("Options", self.options),
            ("Concessions", self.concessions),
            ("Heard in meetings", self.heard),
            ("Checkpoints, counted from the deadline", self.checkpoints),
        ):
            if items:
                lines.append(f"## {title}")
                lines += [item.text(nonce) for item in items]
        lines += [f"Gap: {gap}" for gap in self.gaps]
        lines += [f"Next: {step}" for step in self.next_steps]
        return "\n".join(lines)

    def _facts(self, nonce: str) -> str:
        parts = [
            f"{shown(self.product)} ({self.subscription_id})" if self.product else self.subscription_id or "",
            f"term {self.term_starts_on} to {self.term_ends_on}" if self.term_starts_on else "",
            "auto-renews" if self.auto_renew else "",
            f"co-terms with {', '.join(self.co_terms)}" if self.co_terms else "",
            f"stage {self.stage}" + (f" since {self.closed_on}" if self.closed_on else ""),
            f"lost for {self.loss_reason}" if self.loss_reason else "",
            f"forecast {self.forecast_category or 'not set'}"
            + (f" ({shown(self.category_reason, 500)})" if self.category_reason else ""),
            f"ARR {self.arr}, amount {self.amount}"
            + (f", expected {self.expected_amount}" if self.expected_amount else ""),
            f"closes {self.closes_on}, notice by {self.deadline_on} ({self.days_left} days left)",
            f"motion from {self.motion_starts_on}",
            f"owner {self.owner.text(nonce) if self.owner else 'nobody'}",
            f"executive sponsor {self.executive_sponsor.text(nonce) if self.executive_sponsor else 'none'}",
            f"health {self.health_band}",
            f"stakeholders confirmed {self.stakeholders_confirmed_on}" if self.stakeholders_confirmed_on else "",
        ]
        return ". ".join(part for part in parts if part) + "."


class RenewalPage(Page[RenewalRow]):
    """`sums` tie out to all matches, the rows on other pages included; `renewal` is the one asked for in full.

    `notes` say what holds of a past day.

    Where all matches are in one currency it is said once, as the page's `currency`.
    """

    heading: ClassVar[str] = "Renewals by close day"
    as_of: date
    currency: str | None = None
    sums: list[RenewalSum] = []
    groups: list[RenewalSum] = []
    notes: list[str] = []
    renewal: RenewalCard | None = None

    def text(self, nonce: str) -> str:
        if self.renewal is None:
            return super().text(nonce)
        return "\n".join([self.renewal.text(nonce), *self.notes])

    def title(self) -> str:
        sums = "; ".join(total.text("") for total in self.sums)
        unit = f", in {self.currency}" if self.currency else ""
        return f"{self.heading}{unit}, as of {self.as_of}" + (f" — all: {sums}" if sums else "")

    def footer(self) -> list[str]:
        return [group.text("") for group in self.groups] + self.notes + super().footer()


class RenewalDone(View):
    """A renewal after a write, and the one that opened where it was won."""

    id: str
    version: int
    account: PersonRef
    stage: str
    forecast_category: str | None = None
    amount: Amount
    closes_on: date
    deadline_on: date | None = None
    closed_on: date | None = None
    next_renewal_id: str | None = None

    def text(self, nonce: str) -> str:
        category = f", {self.forecast_category}" if self.forecast_category else ""
        following = f"; next renewal {self.next_renewal_id}" if self.next_renewal_id else ""
        return (
            f"- {self.id} of {self.account.text(nonce)}: {self.stage}{category}, {self.amount}, "
            f"closes {self.closes_on}, v{self.version}{following}"
        )
