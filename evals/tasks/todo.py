"""Tasks: made, done, put off, given away."""

from __future__ import annotations

from typing import Any

from evals._task import After, Checks, Hands, task
from evals._world import Row

BOARD = "Write up the month-end saving for Gwen's board"
GAVIN = "Ask Lea to write to Gavin Rhodes"


async def _task(hands: Hands, account: str, title: str) -> dict[str, Any]:
    tasks = (await hands.call("list_tasks", account=account))["items"]
    [found] = [item for item in tasks if item["title"] == title]
    return {"task": found["id"], "expected_version": found["version"]}


def _now(after: After, account: str, title: str) -> Row:
    [found] = after.now.of_account("task", account, "title = :title", title=title)
    return found


def _made(after: After) -> Checks:
    new = after.new("task", "Vandelay Imports")
    yield (
        "there is one, due then, and urgent",
        [(t["due_on"], t["priority"], t["status"]) for t in new] == [(after.now.as_held("friday"), "urgent", "open")],
    )
    yield "it is Ben's", [t["assignee_id"] for t in new] == [after.now.member("Ben Okafor")["id"]]


@task(
    "Urgent, for Ben Okafor, by {friday}: call Art at Vandelay Imports about the web form.",
    touches=("Vandelay Imports",),
    check=_made,
)
async def make_a_task_for_a_colleague(hands: Hands) -> None:
    new = {
        "title": "Call Art about the web form",
        "due_on": hands.friday,
        "assignee": "Ben Okafor",
        "priority": "urgent",
    }
    await hands.call("create_tasks", account="Vandelay Imports", tasks=[new])


def _three(after: After) -> Checks:
    new = after.new("task", "Acme Robotics Japan")
    yield "there are three", len(new) == 3
    yield (
        "due a day, a week and a month from now",
        {t["due_on"] for t in new} == {after.now.as_held(day) for day in ("tomorrow", "in_two_weeks", "in_a_month")},
    )
    yield "they are Ana's", {t["assignee_id"] for t in new} == {after.now.member("Ana Ruiz")["id"]}
    yield "it is one write", after.is_one_write


@task(
    """For Acme Robotics Japan I need to ask Osaka for the names by {tomorrow}, order the seats by {in_two_weeks} and
    train the new team by {in_a_month}. Make tasks of that.""",
    touches=("Acme Robotics Japan",),
    check=_three,
)
async def make_several_tasks(hands: Hands) -> None:
    await hands.call(
        "create_tasks",
        account="Acme Robotics Japan",
        tasks=[
            {"title": "Ask Osaka for the names", "due_on": hands.tomorrow},
            {"title": "Order the seats for Osaka", "due_on": hands.in_two_weeks},
            {"title": "Train the new team in Osaka", "due_on": hands.in_a_month},
        ],
    )


def _done(after: After) -> Checks:
    done = _now(after, "Initech", BOARD)
    yield "it is done, today", (done["status"], done["done_on"]) == ("done", after.now.today.isoformat())
    yield "it says what came of it", "two days" in (done["outcome"] or "").lower()
    yield "no other task changed", {entry["entity_id"] for entry in after.entries} == {done["id"]}


@task(
    "I wrote up the month-end saving for Gwen at Initech and she took it to her board: two days sooner. Tick that off.",
    touches=("Initech",),
    check=_done,
)
async def finish_a_task(hands: Hands) -> None:
    named = await _task(hands, "Initech", BOARD)
    await hands.call("update_task", **named, status="done", outcome="Gwen took it to her board: two days sooner")


def _snoozed(after: After) -> Checks:
    before, now = _now_before(after), _now(after, "Hooli", GAVIN)
    yield "it sleeps until then", now["snoozed_until"] == after.now.as_held("in_two_weeks")
    yield "it stays open, and due when it was", (now["status"], now["due_on"]) == ("open", before["due_on"])


def _now_before(after: After) -> Row:
    [found] = after.before.of_account("task", "Hooli", "title = :title", title=GAVIN)
    return found


@task(
    "I do not want to see the task about Gavin Rhodes at Hooli before {in_two_weeks}. Leave its due day.",
    person="ben",
    touches=("Hooli",),
    check=_snoozed,
)
async def snooze_a_task(hands: Hands) -> None:
    await hands.call("update_task", **await _task(hands, "Hooli", GAVIN), snooze_until=hands.in_two_weeks)


def _given_away(after: After) -> Checks:
    now = _now(after, "Hooli", GAVIN)
    yield "it is Lea's", now["assignee_id"] == after.now.member("Lea Brandt")["id"]
    yield "it is urgent and due then", (now["priority"], now["due_on"]) == ("urgent", after.now.as_held("friday"))
    yield "nothing else changed", after.fields_of(now["id"]) == {"assignee_id", "priority", "due_on"}


@task(
    "Take over Ben's task about Gavin Rhodes at Hooli for me: mine, urgent, due {friday}.",
    person="lea",
    touches=("Hooli",),
    check=_given_away,
)
async def take_over_a_task(hands: Hands) -> None:
    named = await _task(hands, "Hooli", GAVIN)
    await hands.call("update_task", **named, assignee="me", priority="urgent", due_on=hands.friday)


def _overdue(after: After) -> Checks:
    late = after.before.values(
        "select title from task where assignee_id = :ana and status = 'open' and due_on < :today and "
        "removed_at is null",
        ana=after.before.member("Ana Ruiz")["id"],
        today=after.before.today.isoformat(),
    )
    every = after.before.values("select title from task where status = 'open' and removed_at is null")
    yield "it names the late ones", bool(late) and after.tells(*late)
    yield "and no others", not any(after.tells(title) for title in {*every} - {*late})


@task("Which of my tasks are overdue?", check=_overdue)
async def list_what_is_overdue(hands: Hands) -> str:
    found = await hands.call("list_tasks", assignee="me", overdue=True, limit=200, budget_tokens=20_000)
    return "; ".join(f"{item['title']} ({item['account']['name']}, {item['due_on']})" for item in found["items"])


def _one_already(after: After) -> Checks:
    [open_one] = after.before.of_account("task", "Globex", "purpose = 'find-sponsor' and status = 'open'")
    yield "it names the one there is", after.tells(open_one["title"])


@task(
    """Make a task with the purpose find-sponsor at Globex: ask Martin Cole. If one of that purpose is open already,
    just tell me which.""",
    check=_one_already,
)
async def keep_one_task_a_purpose(hands: Hands) -> str:
    new = {"title": "Ask Martin Cole whether he sponsors us", "purpose": "find-sponsor"}
    return await hands.refused("create_tasks", account="Globex", tasks=[new])
