"""Which accounts are meant: the typed filters that lists and bulk writes share."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from cs_mcp.domain.accounts.accounts import Band, Segment, Stage, Tier
from cs_mcp.domain.contract import Input, Name, ShortText, UserRef, total_of
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.money import Money
from cs_mcp.services.naming import Names

Missing = Literal[
    "owner", "renewal_on", "domain", "industry", "executive_sponsor", "champion", "last_touch_on", "health_score",
    "subscription", "contacts", "usage", "tickets", "surveys", "invoices",
]  # fmt: skip
MOST_EXACT: Final = 2**53  # beyond it JSON readers and SQLite round


def _kept_exactly(value: str | float | bool) -> str | float | bool:
    if isinstance(value, int) and abs(value) > MOST_EXACT:
        raise ValueError("is too large to be kept exactly; send it as text")
    return value


CustomValue = Annotated[ShortText | int | float | bool, AfterValidator(_kept_exactly)]


class AmountRange(Input):
    """Major units of `currency`; both ends included."""

    min: Annotated[str, Field(max_length=40, pattern=r"^\d+(\.\d+)?$")] | None = None
    max: Annotated[str, Field(max_length=40, pattern=r"^\d+(\.\d+)?$")] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None


class ScoreRange(Input):
    min: Annotated[float, Field(ge=0, le=100)] | None = None
    max: Annotated[float, Field(ge=0, le=100)] | None = None


def without_band(filters: dict[str, Any]) -> dict[str, Any] | None:
    """The same filters, for what has no band yet; None where no band, or that very one, is asked for."""
    unknown = [Band.unknown.value]
    return filters | {"band": unknown} if unknown[0] not in filters.get("band", unknown) else None


def said_of_no_band(count: int | None, what: str) -> list[str]:
    """That nothing is red is not said where nothing was measured. A `count` of None is more than are counted."""
    if count == 0:
        return []
    return [f"{total_of(count)} {what} fit but for `band`: their health is not known (band unknown)."]


class AccountFilters(Input):
    """Filters combine with AND, values of a list with OR."""

    text: Annotated[str, Field(min_length=1, max_length=200, description="Part of name or domain")] | None = None
    segment: list[Segment] | None = None
    tier: list[Tier] | None = None
    stage: list[Stage] | None = None
    band: Annotated[list[Band], Field(description="Health band")] | None = None
    score: ScoreRange | None = None
    owner: UserRef | None = None
    arr: AmountRange | None = None
    renews_from: date | None = None
    renews_to: date | None = None
    last_touch_before: Annotated[date, Field(description="Last touch before this day, or never")] | None = None
    tag: Name | None = None
    custom: (
        Annotated[dict[Name, CustomValue], Field(description='Custom fields equal, e.g. {"region": "emea"}')] | None
    ) = None
    missing: Annotated[list[Missing], Field(description="Fields or feeds without a value")] | None = None

    async def parameters(self, names: Names, currency: str) -> dict[str, Any]:
        """As the read model takes them. `currency` is the workspace's: what an ARR range without one is in."""
        filters: dict[str, Any] = {}
        for name in ("segment", "tier", "stage", "band"):
            if (values := getattr(self, name)) is not None:
                filters[name] = [value.value for value in values]
        if self.text is not None:
            filters["text"] = self.text
        if self.owner is not None:
            filters["owner"] = (await names.member(self.owner)).id
        if self.arr is not None:
            filters["currency"] = self.arr.currency or currency
            for end in ("min", "max"):
                if (text := getattr(self.arr, end)) is not None:
                    filters[f"arr_{end}"] = Money.of(text, filters["currency"]).minor
        if self.score is not None:
            filters |= {f"score_{end}": v for end in ("min", "max") if (v := getattr(self.score, end)) is not None}
        if self.renews_from is not None and self.renews_to is not None and self.renews_from > self.renews_to:
            raise Invalid(
                f"renews_from {self.renews_from} is after renews_to {self.renews_to}.", remedy="Swap the two days."
            )
        plain = {"renews_from": self.renews_from, "renews_to": self.renews_to, "touch_before": self.last_touch_before}
        filters |= {name: value for name, value in plain.items() if value is not None}
        if self.tag is not None:
            filters["tag"] = self.tag
        if self.custom:
            filters["custom"] = self.custom
        for name in self.missing or ():
            filters["no_owner" if name == "owner" else f"missing_{name}"] = True
        return filters
