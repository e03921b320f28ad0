"""Which fields of an account a person sets, on one account or on many alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final

from pydantic import Field

from cs_mcp.domain.accounts.accounts import Account, OnboardingStatus, Segment, Tier, Touch
from cs_mcp.domain.contract import Input, Name, ShortText, UserRef
from cs_mcp.domain.errors import Invalid
from cs_mcp.services.accounts.filters import CustomValue

_SET_AS_GIVEN: Final = (
    "industry", "segment", "tier", "touch", "onboarding_status", "renewal_on", "risk_reason",
)  # fmt: skip
_COLUMN: Final = {"owner": "owner_id", "parent": "parent_id"}


class SharedFields(Input):
    """Fields that several accounts may have alike."""

    industry: Name | None = None
    segment: Segment | None = None
    tier: Tier | None = None
    touch: Touch | None = None
    onboarding_status: OnboardingStatus | None = None
    owner: UserRef | None = None
    renewal_on: date | None = None
    risk_reason: ShortText | None = None


class AccountEdits(SharedFields):
    """The same for accounts that exist: their tags and custom fields are added to."""

    add_tags: Annotated[list[Name], Field(max_length=50)] | None = None
    remove_tags: Annotated[list[Name], Field(max_length=50)] | None = None
    custom: (
        Annotated[dict[Name, CustomValue | None], Field(max_length=100, description="Set these; null removes one")]
        | None
    ) = None

    def edits(self, account: Account) -> dict[str, Any]:
        """The columns it sets on this account; `owner` is the caller's to resolve."""
        fields: dict[str, Any] = {name: value for name in _SET_AS_GIVEN if (value := getattr(self, name)) is not None}
        if self.add_tags or self.remove_tags:
            fields["tags"] = sorted((set(account.tags) | set(self.add_tags or ())) - set(self.remove_tags or ()))
        if self.custom:
            custom = dict(account.custom) | self.custom
            fields["custom"] = {name: value for name, value in custom.items() if value is not None}
        return fields


def cleared(fields: dict[str, Any], clear: Sequence[str]) -> dict[str, Any]:
    """`fields` with the columns of `clear` emptied; one cannot be set and emptied at once."""
    for name in clear:
        if _COLUMN.get(name, name) in fields:
            raise Invalid(f"{name} is both set and cleared.", remedy="Give it in one of the two only.")
    return fields | {_COLUMN.get(name, name): None for name in clear}
