"""The stages of a renewal: which follows which, and what each needs before it is entered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.renewals.renewals import OfferTier, Renewal, RenewalStage

ORDER: Final = (
    RenewalStage.not_started,
    RenewalStage.discovery,
    RenewalStage.value_review,
    RenewalStage.proposal,
    RenewalStage.negotiation,
    RenewalStage.closed_won,
)


class Known(NamedTuple):
    """What a move is judged by. `owned`: someone is responsible; `reviewed`: a value review was held this cycle."""

    renewal: Renewal
    owned: bool
    reviewed: bool


@dataclass(frozen=True, slots=True)
class Requirement:
    what: str
    call: str
    is_met: Callable[[Known], bool]


def offered(renewal: Renewal) -> frozenset[OfferTier]:
    return frozenset(offer.tier for offer in renewal.options)


_UPDATE: Final = "update_renewal"
REQUIRED: Final[dict[RenewalStage, tuple[Requirement, ...]]] = {
    RenewalStage.discovery: (Requirement("owner", "update_renewal or update_account with `owner`", lambda k: k.owned),),
    RenewalStage.value_review: (
        Requirement(
            "stakeholders_confirmed_on", _UPDATE, lambda known: known.renewal.stakeholders_confirmed_on is not None
        ),
        Requirement("decision_criteria", _UPDATE, lambda known: bool(known.renewal.decision_criteria)),
    ),
    RenewalStage.proposal: (
        Requirement("a held value review", "log_meeting with kind value_review", lambda known: known.reviewed),
        Requirement("procurement_steps", _UPDATE, lambda known: bool(known.renewal.procurement_steps)),
    ),
    RenewalStage.negotiation: (
        Requirement(
            "options good, better, best", _UPDATE, lambda known: offered(known.renewal) == frozenset(OfferTier)
        ),
        Requirement("forecast_category", _UPDATE, lambda known: known.renewal.forecast_category is not None),
    ),
    RenewalStage.closed_won: (
        Requirement("amount", "move_renewal with `amount`", lambda known: known.renewal.amount_minor > 0),
    ),
    RenewalStage.closed_lost: (
        Requirement("loss_reason", "move_renewal with `loss_reason`", lambda k: k.renewal.loss_reason is not None),
    ),
}


def missing(known: Known, stage: RenewalStage) -> list[Requirement]:
    return [needed for needed in REQUIRED.get(stage, ()) if not needed.is_met(known)]


def skipped(stage: RenewalStage, to: RenewalStage) -> Sequence[RenewalStage]:
    """The stages a move passes over. Losing passes over none: it can happen at any stage."""
    if to is RenewalStage.closed_lost:
        return ()
    return ORDER[ORDER.index(stage) + 1 : ORDER.index(to)]


def next_stage(stage: RenewalStage) -> RenewalStage | None:
    return None if stage.is_closed else ORDER[ORDER.index(stage) + 1]


def refuse_closed(renewal: Renewal) -> None:
    if renewal.stage.is_closed:
        raise Conflict(
            f"{renewal.id} is {renewal.stage.value} since {renewal.closed_on}. Nothing was done.",
            remedy=f"Find the write that closed it with list_changes (record {renewal.id}) and undo it: undo_changes.",
        )


def check_move(known: Known, to: RenewalStage, *, reason: str | None) -> None:
    """Raises with everything that keeps this renewal from entering `to`. The fields of the move are set already."""
    renewal = known.renewal
    refuse_closed(renewal)
    lacking = missing(known, to)
    if lacking:
        listed = "; ".join(f"{needed.what} ({needed.call})" for needed in lacking)
        raise Invalid(
            f"{renewal.id} cannot move from {renewal.stage.value} to {to.value}. Missing: {listed}. Nothing was done.",
            remedy="Set what is missing with the calls named, then move it again.",
        )
    if reason is not None:
        return
    if over := skipped(renewal.stage, to):
        raise Invalid(
            f"From {renewal.stage.value} to {to.value} skips {', '.join(stage.value for stage in over)}. "
            "Nothing was done.",
            remedy=f"Move to {over[0].value} first, or say in `reason` why the stages are skipped.",
        )
    if to in ORDER and ORDER.index(to) < ORDER.index(renewal.stage):
        raise Invalid(
            f"{to.value} is before {renewal.stage.value}. Nothing was done.",
            remedy="Say in `reason` why it moves back.",
        )
