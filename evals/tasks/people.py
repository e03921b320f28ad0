"""Who is who at a customer: sponsors and champions, gaps, departures, and one person entered twice."""

from __future__ import annotations

from datetime import timedelta

from evals._task import After, Checks, Hands, Stagehand, task


def _sponsor_of_initech(after: After) -> Checks:
    account = after.before.account("Initech")
    [sponsor] = after.before.rows("select * from contact where id = :id", id=account["executive_sponsor_id"])
    met = after.before.values(
        "select max(held_on) from meeting, json_each(attendees) who where account_id = :account and status = 'held' "
        "and who.value ->> 'contact_id' = :person",
        account=account["id"],
        person=sponsor["id"],
    )
    yield "it names the sponsor with her title", after.tells(sponsor["name"], sponsor["title"])
    yield "it says when we last met", after.tells(after.before.day(met[0]))


@task(
    "Who is our executive sponsor at Initech, what is her title, and when did we last meet?", check=_sponsor_of_initech
)
async def who_is_the_sponsor(hands: Hands) -> str:
    return await hands.text("list_contacts", account="Initech", role=["executive_sponsor"])


def _sponsor_before(after: After) -> Checks:
    [seat] = after.before.of_account("sponsorship", "Globex", "role = 'executive_sponsor'")
    name = after.before.value("select name from contact where id = :id", id=seat["contact_id"])
    yield "it names who it was", after.tells(name)
    yield "it says until when", after.tells(after.before.day(seat["to_on"]))


@task("Globex has no executive sponsor. Who was the last one, and until when?", check=_sponsor_before)
async def who_was_the_sponsor(hands: Hands) -> str:
    seats = (await hands.call("list_contacts", account="Globex", history=True))["history"]
    last = next(seat for seat in seats if seat["role"] == "executive_sponsor")
    return f"{last['contact']['name']}, until {last['to_on']}"


def _single_thread(after: After) -> Checks:
    since = (after.before.today - timedelta(days=90)).isoformat()
    engaged = after.before.values(
        "select distinct contact.name from meeting, json_each(attendees) who "
        "join contact on contact.id = who.value ->> 'contact_id' "
        "where meeting.account_id = :account and meeting.status = 'held' and held_on >= :since "
        "and contact.status = 'active' and who.value ->> 'attended'",
        account=after.before.account("Northwind Traders")["id"],
        since=since,
    )
    yield "there is one engaged person, and it names her", len(engaged) == 1 and after.tells(*engaged)
    yield "it says that all hangs on her", after.tells_one_of("single-threaded", "one person", "single thread")


@task(
    "Do we hang on one person at Northwind Traders? Who of them is engaged, that is active and met within 90 days?",
    check=_single_thread,
)
async def do_we_hang_on_one_person(hands: Hands) -> str:
    found = await hands.call("list_contacts", account="Northwind Traders")
    ids = {person for row in found["stakeholders"]["cells"].values() for there in row.values() for person in there}
    engaged = [who["name"] for who in found["contacts"] if who["id"] in ids]
    single = "single-threaded" if found["stakeholders"]["single_threaded"] else "several people"
    return f"{single}: {', '.join(engaged)}"


def _left_with_a_successor(after: After) -> Checks:
    account = "Massive Dynamic"
    oscar = after.now.contact(account, "Oscar Lund")
    new = after.new("contact", account)
    yield (
        "he has left, since yesterday",
        (oscar["status"], oscar["departed_on"])
        == (
            "departed",
            after.now.as_held("yesterday"),
        ),
    )
    yield "who follows is on record", [p["name"] for p in new] == ["Astrid Holm"]
    yield "and noted as his successor", [oscar["successor_id"]] == [p["id"] for p in new]
    seats = after.now.of_account("sponsorship", account, "role = 'champion'")
    yield "the champion's seat is vacant", all(seat["to_on"] for seat in seats)
    yield "the account shows no champion", after.now.account(account)["champion_id"] is None


@task(
    "Oscar Lund at Massive Dynamic had his last day yesterday. Astrid Holm takes over from him.",
    person="ben",
    touches=("Massive Dynamic",),
    check=_left_with_a_successor,
)
async def record_a_departure_and_a_successor(hands: Hands) -> None:
    await hands.call(
        "record_departure",
        account="Massive Dynamic",
        contact="Oscar Lund",
        on=hands.yesterday,
        successor="Astrid Holm",
    )


def _will_leave(after: After) -> Checks:
    yara = after.now.contact("Acme Robotics", "Yara Haddad")
    yield "her last day is on record", yara["leaves_on"] == after.now.as_held("in_a_month")
    yield "until then she is there", (yara["status"], yara["departed_on"]) == ("active", None)


@task(
    "Yara Haddad will leave Acme Robotics; her last day is {in_a_month}.", touches=("Acme Robotics",), check=_will_leave
)
async def record_a_departure_to_come(hands: Hands) -> None:
    await hands.call("record_departure", account="Acme Robotics", contact="Yara Haddad", on=hands.in_a_month)


def _cole_sponsors(after: After) -> Checks:
    cole = after.now.contact("Globex", "Martin Cole")
    open_seats = after.now.of_account("sponsorship", "Globex", "role = 'executive_sponsor' and to_on is null")
    yield (
        "he holds the seat from today",
        [(s["contact_id"], s["from_on"]) for s in open_seats] == [(cole["id"], after.now.today.isoformat())],
    )
    yield "the account shows him", after.now.account("Globex")["executive_sponsor_id"] == cole["id"]
    before = after.before.of_account("sponsorship", "Globex", "role = 'executive_sponsor'")
    yield "who sat there before is kept", all(after.fields_of(seat["id"]) == set() for seat in before)


@task(
    "Martin Cole, the CFO, agreed to be our executive sponsor at Globex as of today.",
    touches=("Globex",),
    check=_cole_sponsors,
)
async def seat_a_sponsor(hands: Hands) -> None:
    await hands.call("assign_sponsor", account="Globex", role="executive_sponsor", contact="Martin Cole")


def _never_was(after: After) -> Checks:
    account = "Wayfarer Travel"
    [care] = after.before.of_account("contact", account, "title = 'Head of Customer Care'")
    seats = after.now.of_account("sponsorship", account, "role = 'executive_sponsor'")
    yield (
        "Maria Silva of Customer Care is sponsor, and nobody ever was before her",
        [s["contact_id"] for s in seats] == [care["id"]],
    )
    yield "the account shows her", after.now.account(account)["executive_sponsor_id"] == care["id"]
    roles = after.now.contact(account, "João Prado")["roles"]
    yield "João Prado has no such role", "executive_sponsor" not in roles and "decision_maker" in roles


@task(
    """João Prado never was the executive sponsor of Wayfarer Travel, that was a mistake of mine. It is Maria Silva, the
    Head of Customer Care. Correct it as a mistake, not as a change of sponsor.""",
    touches=("Wayfarer Travel",),
    check=_never_was,
)
async def correct_who_sponsors(hands: Hands) -> None:
    people = (await hands.call("list_contacts", account="Wayfarer Travel"))["contacts"]
    [care] = [who for who in people if who.get("title") == "Head of Customer Care"]
    await hands.call(
        "assign_sponsor",
        account="Wayfarer Travel",
        role="executive_sponsor",
        contact=care["id"],
        correction=True,
    )


def _lea_sponsors(after: After) -> Checks:
    team = after.now.of_account("account_team", "Initech", "role = 'executive_sponsor'")
    yield "Lea alone is our executive sponsor", [s["user_id"] for s in team] == [after.now.member("Lea Brandt")["id"]]
    [theirs] = after.now.of_account("sponsorship", "Initech", "role = 'executive_sponsor'")
    yield "theirs is as it was", theirs in after.before.of_account("sponsorship", "Initech")


@task(
    "Lea Brandt is the executive sponsor on our side for Initech from now on.",
    touches=("Initech",),
    check=_lea_sponsors,
)
async def seat_our_sponsor(hands: Hands) -> None:
    await hands.call("assign_sponsor", account="Initech", role="our_executive_sponsor", contact="Lea Brandt")


def _new_title(after: After) -> Checks:
    dora = after.now.contact("Initech", "Dora Quist")
    yield (
        "title and e-mail are the new ones",
        (dora["title"], dora["email"])
        == (
            "Group CIO",
            "dora.quist@initech-group.example",
        ),
    )
    yield "nothing else of her changed", after.fields_of(dora["id"]) == {"title", "email"}


@task(
    "Dora Quist at Initech is Group CIO now, and her e-mail is dora.quist@initech-group.example.",
    touches=("Initech",),
    check=_new_title,
)
async def update_a_contact(hands: Hands) -> None:
    people = (await hands.call("list_contacts", account="Initech"))["contacts"]
    [dora] = [who for who in people if who["name"] == "Dora Quist"]
    await hands.call(
        "save_contact",
        account="Initech",
        contact=dora["id"],
        expected_version=dora["version"],
        title="Group CIO",
        email="dora.quist@initech-group.example",
    )


async def _entered_twice(hands: Stagehand) -> None:
    await hands.call(
        "save_contact",
        account="Globex",
        name="Martin Cole",
        email="m.cole@globex.example",
        title="CFO",
        department="Board",
        allow_duplicate=True,
        reason="Came with a forwarded invitation",
    )


def _is_one_person(after: After) -> Checks:
    people = after.before.of_account("contact", "Globex", "name = 'Martin Cole'")
    [kept] = [p for p in people if p["title"] == "Chief Financial Officer"]
    [gone] = [p for p in people if p["title"] == "CFO"]
    yield (
        "there is one Martin Cole, the one to keep",
        [p["id"] for p in after.now.of_account("contact", "Globex", "name = 'Martin Cole'")] == [kept["id"]],
    )
    merged = after.now.one("select * from contact where id = :id", id=gone["id"])
    yield "the other leads to him", merged["merged_into_id"] == kept["id"]
    yield "what he had stays", after.now.contact("Globex", "Martin Cole")["title"] == kept["title"]
    yield "it came by a plan", all(entry["plan_id"] for entry in after.entries)


@task(
    """Martin Cole is in Globex twice. Make one of the two: the Chief Financial Officer stays, the one entered as CFO
    goes into him.""",
    touches=("Globex",),
    given=_entered_twice,
    check=_is_one_person,
)
async def merge_one_person_entered_twice(hands: Hands) -> None:
    people = (await hands.call("list_contacts", account="Globex"))["contacts"]
    by_title = {who.get("title"): who["id"] for who in people if who["name"] == "Martin Cole"}
    plan = await hands.call(
        "merge_records",
        kind="contact",
        keep=by_title["Chief Financial Officer"],
        merge=by_title["CFO"],
        reason="One person entered twice",
    )
    await hands.call("commit_plan", plan=plan["plan_id"])


def _are_two_people(after: After) -> Checks:
    people = after.before.of_account("contact", "Wayfarer Travel", "name = 'Maria Silva'")
    yield "it says why they are two people", after.tells(*(p["title"] for p in people))
    yield "no plan to merge them waits", after.now.rows("select * from plan where tool = 'merge_records'") == []


@task(
    """Maria Silva is in Wayfarer Travel twice. If the two are one person, merge them; if they are not, leave them alone
    and tell me how they differ.""",
    check=_are_two_people,
)
async def leave_two_people_apart(hands: Hands) -> str:
    people = (await hands.call("list_contacts", account="Wayfarer Travel"))["contacts"]
    marias = [who for who in people if who["name"] == "Maria Silva"]
    assert len({who["email"] for who in marias}) == len(marias), "one e-mail would make them one person"
    return "They are two people: " + "; ".join(f"{who['title']}, {who['email']}" for who in marias)


def _back(after: After) -> Checks:
    jan = after.now.contact("Northwind Traders", "Jan Bakker")
    yield "he is there again", jan["status"] == "active"
    yield "with nothing else changed", after.fields_of(jan["id"]) <= {"status", "last_confirmed_on"}


@task("Jan Bakker at Northwind Traders is back from leave.", touches=("Northwind Traders",), check=_back)
async def note_who_is_back(hands: Hands) -> None:
    people = (await hands.call("list_contacts", account="Northwind Traders"))["contacts"]
    [jan] = [who for who in people if who["name"] == "Jan Bakker"]
    await hands.call(
        "save_contact",
        account="Northwind Traders",
        contact=jan["id"],
        expected_version=jan["version"],
        on_leave=False,
    )
