"""What a company sets of how its revenue is counted: each setting by one name, as text, with the values it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.revenue.conventions import RenewalOdds, RevenueConventions


class Setting(NamedTuple):
    """`RevenueConventions` has it as `field`, in its part `group` where that is told. `values` says what it takes."""

    name: str
    group: str | None
    field: str
    says: str
    values: str

    def of(self, conventions: RevenueConventions) -> str:
        return str(getattr(getattr(conventions, self.group) if self.group else conventions, self.field))


def _settings() -> Iterator[Setting]:
    yield Setting("netting", _RETENTION, "netting", "an account's movements net to one over a window", "window, none")
    said = "who churned and came back within the window"
    yield Setting("reactivation", _RETENTION, "reactivation", said, "nets_out, separate")
    yield Setting("price_change", _RETENTION, "price_change", "whether rises in price count for NRR", "in_nrr, apart")
    said = "who came and went within the window"
    yield Setting("new_and_churned", _RETENTION, "new_and_churned", said, "netted, shown")
    yield Setting("fx", _RETENTION, "fx", "the rate that other currencies are told at", "constant, transaction")
    yield Setting("gross_margin", None, "gross_margin", "for lifetime value", "a share above 0, at most 1")
    yield Setting("discount_rate", None, "discount_rate", "a year, for lifetime value", "a share from 0, below 1")
    said = "without a contract for no longer is a late renewal, where an import derives the ledger"
    yield Setting("reactivation_gap_days", None, "reactivation_gap_days", said, "days, 0 to 366")
    for band in RenewalOdds.model_fields:
        said = f"share of {band} renewals won, until enough of them closed here"
        yield Setting(f"odds_{band}", "renewal_odds", band, said, "a share from 0 to 1, to a thousandth")


_RETENTION: Final = "retention"
SETTINGS: Final = {setting.name: setting for setting in _settings()}


def setting_named(name: str) -> Setting:
    found = SETTINGS.get(name.strip())
    if found is None:
        near = get_close_matches(name, SETTINGS, 1)
        raise Invalid(
            f"No setting of revenue is called {name[:60]!r}." + (f" Did you mean {near[0]}?" if near else ""),
            remedy=f"Settings are {', '.join(SETTINGS)}.",
        )
    return found


def with_settings(stored: Mapping[str, Any] | None, given: Mapping[str, str | None]) -> dict[str, Any]:
    """What is stored with the given settings in it; an empty one goes back to the default. Raises Invalid."""
    kept: dict[str, Any] = deepcopy(dict(stored or {}))
    for name, text in given.items():
        setting = setting_named(name)
        part: dict[str, Any] = kept.setdefault(setting.group, {}) if setting.group else kept
        if text is None or not text.strip():
            part.pop(setting.field, None)
        else:
            part[setting.field] = _checked(setting, text.strip())
    return {key: value for key, value in kept.items() if value != {}}


def _checked(setting: Setting, text: str) -> str:
    """The text, once it is known to be a value of the setting; numbers are kept as they were written."""
    told: dict[str, Any] = {setting.field: text}
    try:
        RevenueConventions.model_validate({setting.group: told} if setting.group else told)
    except ValidationError as wrong:
        raise Invalid(
            f"{setting.name} cannot be {text[:60]!r}.", remedy=f"It takes {setting.values}; empty is the default."
        ) from wrong
    return text
