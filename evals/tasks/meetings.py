"""Logging what was said: calls, e-mails, reviews, and putting right what was logged."""

from __future__ import annotations

import json

from evals._task import After, Checks, Hands, task
from evals._world import Row


def _contacts_at(meeting: Row) -> set[str]:
    return {who["contact_id"] for who in json.loads(meeting["attendees"]) if who.get("contact_id")}


def _logged(after: After) -> Checks:
    globex = "Globex"
    cole, nair = after.now.contact(globex, "Martin Cole"), after.now.contact(globex, "Priya Nair")
    new = after.now.of_account("meeting", globex, "held_on = :day", day=after.now.today.isoformat())
    yield "one meeting of today is on record", len(new) == 1
    there = {who for meeting in new for who in _contacts_at(meeting)}
    yield "the CFO and the champion were there", {cole["id"], nair["id"]} <= there
    yield "it holds the request", [json.loads(meeting["product_requests"]) for meeting in new] == [["SSO"]]
    yield "the champion's leaving is on her record", nair["leaves_on"] is not None and nair["status"] == "active"
    yield "one follow-up is open", [row["status"] for row in after.new("task", globex)] == ["open"]
    yield "it is one write", after.is_one_write


@task(
    """Log my call with Globex today: Martin Cole, the CFO, joined Priya. Priya, our champion, leaves us: her last day
    is {last_day_of_month_after_next}. They want SSO. Remind me to send Martin the SSO one-pager on {friday}.""",
    touches=("Globex",),
    check=_logged,
)
async def log_a_call_with_news(hands: Hands) -> None:
    await hands.call(
        "log_meeting",
        account="Globex",
        kind="call",
        held_on=hands.today,
        attendees=[{"contact": "Martin Cole"}, {"contact": "Priya Nair"}],
        summary="Martin Cole, the CFO, joined. Priya leaves. They want SSO.",
        news=[{"contact": "Priya Nair", "news": "leaving", "on": hands.last_day_of_month_after_next}],
        product_requests=["SSO"],
        follow_ups=[{"title": "Send Martin Cole the SSO one-pager", "due_on": hands.friday}],
    )


def _email_kept(after: After) -> Checks:
    new = after.new("meeting", "Umbrella Health")
    remy = after.now.contact("Umbrella Health", "Rémy Garnier")
    yield (
        "one e-mail of yesterday is on record",
        [(m["kind"], m["held_on"]) for m in new] == [("email", after.now.as_held("yesterday"))],
    )
    yield "it is from Rémy Garnier", [_contacts_at(m) for m in new] == [{remy["id"]}]
    yield "it says what he wants", all("invoice" in m["summary"].lower() for m in new)
    touched = after.now.account("Umbrella Health")["last_touch_on"]
    yield "the account's last touch is that day", touched == after.now.as_held("yesterday")


@task(
    """Rémy Garnier at Umbrella Health wrote me an e-mail yesterday: he would like the invoices split by clinic.
    Please put it on record.""",
    person="ben",
    touches=("Umbrella Health",),
    check=_email_kept,
)
async def log_an_email(hands: Hands) -> None:
    await hands.call(
        "log_meeting",
        account="Umbrella Health",
        kind="email",
        held_on=hands.yesterday,
        attendees=[{"contact": "Rémy Garnier"}],
        summary="Rémy would like the invoices split by clinic.",
    )


def _new_sponsor(after: After) -> Checks:
    hooli = "Hooli"
    gavin = after.now.contact(hooli, "Gavin Rhodes")
    laura = after.now.of_account("contact", hooli, "name = 'Laura Bishop'")
    [review] = after.new("meeting", hooli) or [{}]
    yield (
        "Laura is entered once, as told",
        [(p["email"], p["level"]) for p in laura] == [("laura.bishop@hooli.example", "vp")],
    )
    seats = after.now.of_account("sponsorship", hooli, "role = 'executive_sponsor'")
    yield (
        "she alone is executive sponsor",
        [s["contact_id"] for s in seats if not s["to_on"]] == [p["id"] for p in laura],
    )
    yield "Gavin's time as sponsor is kept", any(s["contact_id"] == gavin["id"] and s["to_on"] for s in seats)
    yield "the account shows her", [after.now.account(hooli)["executive_sponsor_id"]] == [p["id"] for p in laura]
    yield (
        "a QBR of yesterday is on record",
        (review.get("kind"), review.get("held_on"))
        == (
            "qbr",
            after.now.as_held("yesterday"),
        ),
    )
    yield "with what was decided", bool(review) and "asia" in (review["decisions"] + review["summary"]).lower()
    yield "it is one write", after.is_one_write


@task(
    """I had the QBR with Hooli yesterday. Denise Wu was there, and somebody new: Laura Bishop, VP Platform,
    laura.bishop@hooli.example. Laura is our executive sponsor now instead of Gavin. We decided to start the rollout in
    Asia next month.""",
    person="ben",
    touches=("Hooli",),
    check=_new_sponsor,
)
async def log_a_review_with_a_new_sponsor(hands: Hands) -> None:
    laura = {"name": "Laura Bishop", "title": "VP Platform", "level": "vp", "email": "laura.bishop@hooli.example"}
    await hands.call(
        "log_meeting",
        account="Hooli",
        kind="qbr",
        held_on=hands.yesterday,
        attendees=[{"contact": "Denise Wu"}, laura],
        summary="Laura Bishop takes over from Gavin Rhodes as our sponsor.",
        decisions=["Start the rollout in Asia next month"],
        news=[{"contact": "Laura Bishop", "news": "executive_sponsor"}],
    )


def _completed(after: After) -> Checks:
    [planned] = after.before.of_account("meeting", "Pied Piper", "status = 'planned'")
    held = after.now.one("select * from meeting where id = :id", id=planned["id"])
    yield (
        "the planned check-in was held today",
        (held["status"], held["held_on"])
        == (
            "held",
            after.now.today.isoformat(),
        ),
    )
    yield "it says what came of it", "integration" in (held["summary"] or "").lower()
    yield "there is no second meeting of it", after.new("meeting", "Pied Piper") == []
    yield "nothing is planned any more", after.now.account("Pied Piper")["next_meeting_on"] is None


@task(
    """The check-in with Pied Piper that we had planned was moved up: I met Monica Hall today. She has seen both
    integrations and will buy. Log it.""",
    touches=("Pied Piper",),
    check=_completed,
)
async def complete_a_planned_meeting(hands: Hands) -> None:
    meetings = (await hands.call("get_account", account="Pied Piper", sections=["meetings"]))["meetings"]
    [planned] = [meeting for meeting in meetings if meeting["status"] == "planned"]
    await hands.call(
        "log_meeting",
        account="Pied Piper",
        meeting=planned["id"],
        expected_version=planned["version"],
        held_on=hands.today,
        attendees=[{"contact": "Monica Hall"}],
        summary="Monica has seen both integrations and will buy.",
        renewal_intent="renew",
    )


def _corrected(after: After) -> Checks:
    [call] = after.before.of_account("meeting", "Initech", "kind = 'call'")
    corrected = after.now.one("select * from meeting where id = :id", id=call["id"])
    yield "the intent is what it was", corrected["renewal_intent"] == "leave"
    yield "nothing else of the call changed", after.fields_of(call["id"]) == {"renewal_intent"}
    yield "it was not logged anew", after.new("meeting", "Initech") == []
    old = {entry["entity_id"]: (entry["before"] or {}).get("renewal_intent") for entry in after.entries}
    yield "the history keeps what it said before", old.get(call["id"]) == call["renewal_intent"]


@task(
    """I got something wrong when I logged my last call with Initech: their intent was not unsure, they said they would
    leave. Put that right, and leave the rest of it as it is.""",
    touches=("Initech",),
    check=_corrected,
)
async def correct_a_logged_call(hands: Hands) -> None:
    meetings = (await hands.call("get_account", account="Initech", sections=["meetings"]))["meetings"]
    call = next(meeting for meeting in meetings if meeting["kind"] == "call")
    await hands.call(
        "log_meeting",
        account="Initech",
        meeting=call["id"],
        expected_version=call["version"],
        renewal_intent="leave",
    )


def _asked_which_maria(after: After) -> Checks:
    people = after.before.of_account("contact", "Wayfarer Travel", "name = 'Maria Silva'")
    yield "it says that there are two, and who", len(people) == 2 and after.tells(*(p["title"] for p in people))


@task(
    "Maria Silva of Wayfarer Travel called me yesterday about a test space. Log it. If that is not clear, ask me.",
    check=_asked_which_maria,
)
async def ask_which_of_two_people(hands: Hands) -> str:
    return await hands.refused(
        "log_meeting",
        account="Wayfarer Travel",
        kind="call",
        held_on=hands.yesterday,
        attendees=[{"contact": "Maria Silva"}],
        summary="She asks for a test space.",
    )


def _the_accountant_called(after: After) -> Checks:
    [accountant] = after.before.of_account("contact", "Wayfarer Travel", "title = 'Accountant'")
    new = after.new("meeting", "Wayfarer Travel")
    yield (
        "one call with the accountant, and with nobody of her name",
        [_contacts_at(m) for m in new] == [{accountant["id"]}],
    )
    [other] = after.before.of_account("contact", "Wayfarer Travel", "name = 'Maria Silva' and title <> 'Accountant'")
    yield "the other Maria Silva is as she was", after.fields_of(other["id"]) == set()


@task(
    "Log a call of today with Maria Silva, the accountant at Wayfarer Travel: she wants a copy of the last invoice.",
    touches=("Wayfarer Travel",),
    check=_the_accountant_called,
)
async def log_with_the_right_of_two_people(hands: Hands) -> None:
    people = (await hands.call("list_contacts", account="Wayfarer Travel"))["contacts"]
    [accountant] = [who for who in people if who["name"] == "Maria Silva" and who.get("title") == "Accountant"]
    await hands.call(
        "log_meeting",
        account="Wayfarer Travel",
        kind="call",
        attendees=[{"contact": accountant["id"]}],
        summary="She wants a copy of the last invoice.",
    )


def _asked_which_acme(after: After) -> Checks:
    yield "it says which accounts could be meant", after.tells("Acme Robotics", "Acme Robotics Japan")


@task("Log my call with Acme today: all is well. If it is not clear which one, ask me first.", check=_asked_which_acme)
async def ask_which_of_two_accounts(hands: Hands) -> str:
    return await hands.refused("log_meeting", account="Acme", kind="call", summary="All is well.")


def _there_once(after: After) -> Checks:
    new = after.new("meeting", "Acme Robotics Japan")
    yield "the call is there once", [m["kind"] for m in new] == ["call"]
    yield "it was written once", after.is_one_write


@task(
    """Log my call of today with Kenji Mori at Acme Robotics Japan: Osaka starts with 30 seats in spring. The line here
    is bad: send it twice if you have to, but it must be there once.""",
    touches=("Acme Robotics Japan",),
    check=_there_once,
)
async def log_once_over_a_bad_line(hands: Hands) -> None:
    call = {
        "account": "Acme Robotics Japan",
        "kind": "call",
        "attendees": [{"contact": "kenji.mori@acmerobotics-jp.example"}],
        "summary": "Osaka starts with 30 seats in spring.",
        "idempotency_key": "call-with-kenji-today",
    }
    await hands.call("log_meeting", **call)
    await hands.call("log_meeting", **call)


def _has_left(after: After) -> Checks:
    helena = after.before.contact("Globex", "Helena Ford")
    yield "it says that she left", after.tells("Helena Ford") and after.tells_one_of("departed", "left", "has left")
    yield "it says since when", after.tells(after.before.day(helena["departed_on"]))


@task(
    "Helena Ford was on my call with Globex yesterday, put it on record. Tell me if something about that cannot be.",
    check=_has_left,
)
async def refuse_who_has_left(hands: Hands) -> str:
    return await hands.refused(
        "log_meeting",
        account="Globex",
        kind="call",
        held_on=hands.yesterday,
        attendees=[{"contact": "Helena Ford"}],
        summary="A call.",
    )
