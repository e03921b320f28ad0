"""Use cases of how a company counts its revenue: what is set, and changing it by a change that can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cs_mcp.db.store import Store
from cs_mcp.domain.errors import NotAllowed
from cs_mcp.domain.identity import Principal, Role
from cs_mcp.domain.revenue.conventions import RevenueConventions
from cs_mcp.domain.revenue.settings import SETTINGS, with_settings
from cs_mcp.services.acts import act_of

SET: Final = "set_revenue"
_DEFAULTS: Final = RevenueConventions()


@dataclass(frozen=True, slots=True)
class SettingLine:
    """A setting as it stands, the default, what it says and the values it takes."""

    name: str
    value: str
    default: str
    says: str
    values: str


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """`change_id` is None where all was set so already; `before` has what each differing setting was."""

    change_id: str | None
    before: dict[str, str]
    after: dict[str, str]


class RevenueSettings:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def all(self, principal: Principal) -> list[SettingLine]:
        revenue = (await self._store.workspace(principal.workspace)).revenue
        return [
            SettingLine(one.name, one.of(revenue), one.of(_DEFAULTS), one.says, one.values) for one in SETTINGS.values()
        ]

    async def change(
        self, principal: Principal, given: Mapping[str, str | None], reason: str | None = None
    ) -> SettingsChanged:
        """Set what is given, an empty value back to its default; all of it or nothing."""
        if principal.role is not Role.admin:
            raise NotAllowed(
                f"Your role {principal.role.value} may not change how revenue is counted.",
                remedy="Ask an admin to change it.",
            )
        act = act_of(self._store, principal, SET, reason=reason)
        async with self._store.unit_of_work(principal, act) as work:
            [profile] = await work.workspaces.where()
            kept = with_settings(profile.conventions, given)
            now = profile.changed(conventions=kept or None)
            before, after = ({name: SETTINGS[name].of(one.revenue) for name in SETTINGS} for one in (profile, now))
            differing = [name for name in SETTINGS if before[name] != after[name]]
            if not differing:
                return SettingsChanged(None, {}, {})
            work.workspaces.save(now)
        return SettingsChanged(
            act.change_id, {name: before[name] for name in differing}, {name: after[name] for name in differing}
        )
