"""Telling usage: features by name, figures by key, and one record that says what a write told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from cs_mcp.db.signals.signal_reads import features_by_key, name_key
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.writing import UsageTold, UsageWritten, write_usage
from cs_mcp.domain.signals.signals import Feature, SignalBatch
from cs_mcp.domain.text import clean_name


class UsageTelling:
    """What one write tells of usage. `write` as often as wanted, `finish` once."""

    def __init__(self, work: UnitOfWork, source: str | None) -> None:
        self._work = work
        self._source = source
        self._features: dict[str, Feature] = {}
        self.told = UsageTold()
        self.written = UsageWritten()
        self.new_features: set[str] = set()
        self.restored_features: set[str] = set()

    async def meet_features(self, names: Iterable[str]) -> None:
        """Know the features of these names, spelled as they come first; new ones are entered, removed ones restored."""
        wanted: dict[str, str] = {}
        for name in names:
            wanted.setdefault(_key(name), name)
        missing = {key: name for key, name in wanted.items() if key not in self._features}
        if not missing:
            return
        known = await features_by_key(self._work, missing)
        for key, name in missing.items():
            feature = known.get(key)
            if feature is None:
                new = Feature(id=self._work.ids.new("feature"), name=clean_name(name), source_system=self._source)
                feature = self._work.features.add(new)
                self.new_features.add(feature.id)
            elif feature.removed_at is not None:
                feature = self._work.features.save(feature.changed(removed_at=None))
                self.restored_features.add(feature.id)
            self._features[key] = feature

    def feature(self, name: str) -> str:
        return self._features[_key(name)].id

    def mark_core(self, name: str, is_core: bool) -> bool:
        """Whether that is news."""
        feature = self._features[_key(name)]
        if feature.is_core is is_core:
            return feature.id in self.new_features | self.restored_features
        self._features[_key(name)] = self._work.features.save(feature.changed(is_core=is_core))
        return True

    async def write(self) -> None:
        """Store what was told since the last call."""
        await self._work.flush()  # features stand before what is told of them
        await write_usage(self._work, self.told, self.written)
        self.told = UsageTold()

    async def finish(self) -> SignalBatch | None:
        """The record of what was told; None where that changed nothing."""
        written = self.written
        if written.first_day is None or written.last_day is None:
            return None
        batch = SignalBatch(
            id=self._work.ids.new("signal_batch"),
            source_system=self._source,
            first_on=date.fromordinal(written.first_day),
            last_on=date.fromordinal(written.last_day),
            rows=written.changed,
            accounts=len(written.accounts),
            digest=written.digest,
        )
        return self._work.signal_batches.add(batch)


def _key(name: str) -> str:
    return name_key(clean_name(name))
