"""`python -m evals`: every task by its scripted caller. `open` and `score` put a real assistant in its place."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import date
from pathlib import Path

from cs_mcp.tools import TOOLSETS
from evals._stage import A_DAY, COMPANY, Scene, Score, clock_at, load, play, scene_of, set_up
from evals._task import TASKS
from evals._world import World


async def scripted(names: list[str], day: str, mode: str) -> list[Score]:
    clock = clock_at(day)
    scores: list[Score] = []
    with tempfile.TemporaryDirectory() as folder:
        before = await set_up(Path(folder), clock)
        for name in names:
            scene = await scene_of(TASKS[name], before, Path(folder), clock)
            scores.append(await play(TASKS[name], scene, clock, mode))
            tell(scores[-1])
    return scores


def tell(score: Score) -> None:
    print(f"{'✓' if score.passed else '✗'} {score.task.name} ({len(score.calls)} calls)")
    if score.failure:
        print(f"    {score.failure}")
    for claim, held in score.claims:
        if not held:
            print(f"    does not hold: {claim}")


async def open_one(name: str, folder: Path) -> None:
    """The store before the task, the words, and the server to connect the assistant to."""
    task, clock = TASKS[name], clock_at(None)
    scene = await scene_of(task, await set_up(folder, clock), folder, clock)
    noted = {"before": scene.before.file.name, "today": scene.today.isoformat()}
    (folder / f"{name}.json").write_text(json.dumps(noted))
    for person, words in task.words(scene.today).items():
        print(f"Server:  cs-mcp serve --profile all --db sqlite:///{scene.file.resolve()} --as {person}@{COMPANY}")
        print(f"Say:     {words}")
    print("Then:    put the assistant's last answer in a file, and run")
    print(f"         python -m evals score {name} {folder} --answer FILE")


def score_one(name: str, folder: Path, answer: Path | None) -> Score:
    noted = json.loads((folder / f"{name}.json").read_text())
    before = World(folder / noted["before"], date.fromisoformat(noted["today"]))
    scene = Scene(before, folder / f"{name}.db")
    said = answer.read_text() if answer else ""
    return Score(TASKS[name], TASKS[name].verdict(scene.after(said)), calls=[])


def listed() -> None:
    for task in TASKS.values():
        print(task.name)
        for person, words in {task.person: task.says, **task.then}.items():
            print(f"    {person}: {words}")


def main() -> int:
    load()
    asked = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    asked.add_argument("do", nargs="?", choices=["run", "list", "open", "score"], default="run")
    asked.add_argument("name", nargs="?", choices=sorted(TASKS), metavar="TASK", help="one task; `list` shows them")
    asked.add_argument("folder", nargs="?", type=Path, help="where `open` puts the store")
    asked.add_argument("--answer", type=Path, help="the assistant's last words, for tasks that ask a question")
    asked.add_argument("--day", default=A_DAY, help="what the scripted run takes for today")
    asked.add_argument("--mode", choices=["auto", "legacy"], default="auto", help="protocol era")
    asked.add_argument("--json", type=Path, metavar="FILE", help="write the scores to this file too")
    given = asked.parse_args()
    if given.do == "list":
        listed()
        return 0
    if given.do in ("open", "score") and (given.name is None or given.folder is None):
        asked.error(f"{given.do} needs a TASK and a folder")
    if given.do == "open" and given.folder.exists() and any(given.folder.iterdir()):
        asked.error(f"{given.folder} holds something already; name a new folder")
    if given.do == "open":
        asyncio.run(open_one(given.name, given.folder))
        return 0
    if given.do == "score":
        scores = [score_one(given.name, given.folder, given.answer)]
        tell(scores[0])
    else:
        scores = asyncio.run(scripted([given.name] if given.name else list(TASKS), given.day, given.mode))
        print(f"{sum(score.passed for score in scores)} of {len(scores)} tasks done right")
        if not given.name:
            called = {tool for score in scores for tool in score.calls}
            untried = sorted({tool.name for toolset in TOOLSETS for tool in toolset.tools} - called)
            print(f"Tools that no task calls: {', '.join(untried) or 'none'}")
    if given.json:
        given.json.write_text(json.dumps([score.as_json for score in scores], indent=2) + "\n")
    return 0 if all(score.passed for score in scores) else 1


if __name__ == "__main__":
    sys.exit(main())
