"""Signals by what their source calls them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import select

from cs_mcp.db.accounts.accounts import name_key
from cs_mcp.db.base import Remembered
from cs_mcp.db.portfolio import any_of, texts, visible
from cs_mcp.db.repository import Repository
from cs_mcp.db.signals.signals import FeatureRow
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.records import Record
from cs_mcp.domain.signals.signals import Feature

__all__ = ["by_source", "features_by_key", "name_key", "taken_sources"]

RecordT = TypeVar("RecordT", bound=Record)
RowT = TypeVar("RowT", bound=Remembered)


async def features_by_key(work: UnitOfWork, keys: Iterable[str]) -> dict[str, Feature]:
    """Features by the key of their name; of several that were removed the latest."""
    mine = (FeatureRow.workspace == work.principal.workspace, any_of(FeatureRow.name_key, texts("keys", keys)))
    live_last = (FeatureRow.removed_at.is_(None), FeatureRow.removed_at)
    found = (await work.session.execute(select(FeatureRow).where(*mine).order_by(*live_last))).scalars()
    return {row.name_key: work.features.of_row(row) for row in found}


async def by_source(
    work: UnitOfWork, repository: Repository[RecordT, RowT], source: str, ids: Iterable[str]
) -> dict[str, RecordT]:
    """Records the caller may see by source id, removed ones too."""
    row = repository.row
    named = _named(work, row, source, ids)
    found = await work.session.execute(select(row).where(*named, *visible(row.__table__, work.principal)))
    return {one.source_id: repository.of_row(one) for one in found.scalars()}


async def taken_sources(work: UnitOfWork, row: type[Any], source: str, ids: Iterable[str]) -> set[str]:
    """Which of the source ids name a record, seen by the caller or not."""
    return set((await work.session.execute(select(row.source_id).where(*_named(work, row, source, ids)))).scalars())


def _named(work: UnitOfWork, row: type[Any], source: str, ids: Iterable[str]) -> tuple[Any, ...]:
    mine = row.workspace == work.principal.workspace
    return mine, row.source_system == source, any_of(row.source_id, texts("ids", ids))
