"""Choices on which serious sources differ when they count revenue. A company sets them; figures are shown with them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[Decimal, Field(ge=0, le=1, max_digits=4, decimal_places=3)]


class Conventions(BaseModel):
    """How movements within a window are counted.

    - `netting`: an account's movements net to one over the window, or each is shown.
    - `reactivation`: who churned and came back within the window is as if never gone, or is lost and then won apart.
    - `price_change`: rises in price count for NRR, or stand apart from it. A net price cut is a contraction.
    - `new_and_churned`: who came and went within the window is left out, or shown as new and as churn. Without
      netting it is always shown.
    - `fx`: all at the rate of the window's last day, or each rise at the rate of its own day and each fall at what
      the ARR that falls had been counted at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    netting: Literal["window", "none"] = "window"
    reactivation: Literal["nets_out", "separate"] = "nets_out"
    price_change: Literal["in_nrr", "apart"] = "in_nrr"
    new_and_churned: Literal["netted", "shown"] = "netted"
    fx: Literal["constant", "transaction"] = "constant"


class RenewalOdds(BaseModel):
    """The share of renewals that are won, by health band, until a workspace closed enough of its own to tell.

    No source gives such rates: these are assumed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    green: Share = Decimal("0.95")
    yellow: Share = Decimal("0.85")
    red: Share = Decimal("0.6")
    unknown: Share = Decimal("0.85")


class RevenueConventions(BaseModel):
    """`reactivation_gap_days`: without ARR for no longer than this, an account renewed late and did not churn."""

    model_config = ConfigDict(frozen=True)

    retention: Conventions = Conventions()
    gross_margin: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.8")
    discount_rate: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.1")  # a year
    reactivation_gap_days: Annotated[int, Field(ge=0, le=366)] = 0
    renewal_odds: RenewalOdds = RenewalOdds()
