"""The rubric a workspace is judged by: its own where it adopted one, else the one that comes with the program."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final, NamedTuple

from cs_mcp.db.health.rubrics import RUBRIC_IN_FORCE, RUBRIC_NAMED, RUBRIC_VERSIONS, RubricRepository
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.errors import Conflict
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.rubric_versions import RubricVersion
from cs_mcp.domain.identity import Principal
from cs_mcp.services.acts import act_of
from cs_mcp.services.health.rubric_files import default_text, read_rubric
from cs_mcp.services.health.rubric_words import RubricPage

ADOPT: Final = "adopt_rubric"


class VersionLine(NamedTuple):
    """A version the workspace was judged by; `in_force` says whether it still is."""

    name: str
    adopted_at: datetime
    in_force: bool


class VersionTaken(Conflict):
    def __init__(self, version: str) -> None:
        super().__init__(
            f"The rubric changed and is still called {version!r}; scores name the version they were made with.",
            remedy="Give the changed rubric a version of its own, such as the next number.",
        )


class Rubrics:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def in_force(self, principal: Principal) -> Rubric:
        """The rubric that scores are made with from now on."""
        return read_rubric(await self.text(principal))

    async def text(self, principal: Principal) -> str:
        """The same as it was written."""
        [own] = await self._store.reads.run([RUBRIC_IN_FORCE], {"workspace": principal.workspace})
        return own[0]["text"] if own else default_text()

    async def page(self, principal: Principal) -> RubricPage:
        """The rubric in force, in words."""
        rubric = await self.in_force(principal)
        since = {line.name: line.adopted_at for line in await self.versions(principal)}
        return RubricPage(rubric=rubric, adopted_at=since.get(rubric.version))

    async def version(self, principal: Principal, name: str) -> Rubric | None:
        """The rubric of one version, which a snapshot names; None where the workspace never had it."""
        [found] = await self._store.reads.run([RUBRIC_NAMED], {"workspace": principal.workspace, "name": name})
        if found:
            return read_rubric(found[0]["text"])
        shipped = read_rubric(default_text())
        return shipped if shipped.version == name else None

    async def versions(self, principal: Principal) -> list[VersionLine]:
        """Every version so far, the newest first."""
        [found] = await self._store.reads.run([RUBRIC_VERSIONS], {"workspace": principal.workspace})
        return [VersionLine(**row) for row in found]

    async def adopt(self, principal: Principal, text: str | None) -> Rubric:
        """Make a rubric the workspace's own from now on; None goes back to the one that comes with the program."""
        rubric = read_rubric(default_text() if text is None else text)
        act = act_of(self._store, principal, ADOPT)
        async with self._store.unit_of_work(principal, act) as work:
            kept = await remember_version(work, rubric, default_text() if text is None else text)
            repository = RubricRepository(work)
            for version in await repository.all():
                in_force = text is not None and version.id == kept.id
                if version.in_force != in_force:
                    repository.save(version.changed(in_force=in_force))
        return rubric


async def remember_version(work: UnitOfWork, rubric: Rubric, text: str) -> RubricVersion:
    """Keep the version's text, once; VersionTaken where the workspace knows another rubric by its name."""
    repository = RubricRepository(work)
    known = {version.name: version for version in await repository.all()}.get(rubric.version)
    if known is not None:
        # Comments and line breaks may change; what it says may not.
        if known.text != text and read_rubric(known.text) != rubric:
            raise VersionTaken(rubric.version)
        return known
    digest = hashlib.sha256(text.encode()).hexdigest()
    made = RubricVersion(
        id=work.ids.new("health_rubric"),
        name=rubric.version,
        digest=digest,
        text=text,
        adopted_at=work.now,
        in_force=False,
    )
    repository.add(made)
    await work.flush()
    return repository.now(made.id)
