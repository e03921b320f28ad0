"""Settings of an import: how the company that the files are of counts its revenue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cs_mcp.db.workspaces import WorkspaceRow
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.revenue.settings import with_settings
from cs_mcp.services.imports.columns import Concept
from cs_mcp.services.imports.report import ImportedRow
from cs_mcp.services.imports.sheets import Sheet


class SettingSheet(Sheet):
    """Each row sets one field of the workspace's profile; what no row names stays as it is."""

    concept = Concept(WorkspaceRow, lambda _told, _known: {}, lambda _columns, _known: {})

    async def put(
        self, rows: Sequence[ImportedRow], refuse: Callable[[ImportedRow, str], None], is_stopping: Callable[[], bool]
    ) -> None:
        [profile] = await self.work.workspaces.where()
        kept = profile.conventions or {}
        for row in rows:
            try:
                after = with_settings(kept, {row.told["name"]: row.told.get("value")})
            except Invalid as wrong:
                refuse(row, f"{wrong.message} {wrong.remedy}")
                continue
            self.report.records.updated += after != kept
            self.report.records.unchanged += after == kept
            kept = after
        if not is_stopping() and kept != (profile.conventions or {}):
            self.work.workspaces.save(profile.changed(conventions=kept or None))
