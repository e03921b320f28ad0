"""Users, contacts and the seats they hold, as an import leaves them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from import_desk import (
    ACCOUNTS,
    CONTACTS,
    MEETINGS,
    TODAY,
    USERS,
    Desk,
    counts,
    of,
    open_desk,
)

from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.identity import Role
from cs_mcp.domain.people.sponsors import Contact
from cs_mcp.services.wiring import Services


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    return await open_desk(services, tmp_path)


async def test_a_user_who_was_added_by_hand_is_taken_over(desk: Desk) -> None:
    added = await desk.services.identity.add_member(
        desk.principal.workspace, name="Ana", email="ana@acme.example", role=Role.cs_leader
    )
    desk.write(users=USERS + "    U3,Ana Again,ana@acme.example,csm\n")

    report = await desk.run(keep_going=True)

    assert counts(of(report, "users")) == (1, 1, 0, 0)
    assert (await desk.by_source("member"))["U1"]["id"] == added.id
    assert of(report, "users").rejects[0].reason == "email: another user has 'ana@acme.example'"
    again = await desk.run(keep_going=True)
    assert counts(of(again, "users")) == (0, 0, 0, 2)


async def test_a_contact_who_leaves_leaves_the_seat(desk: Desk, clock: FixedClock) -> None:
    desk.write(accounts=ACCOUNTS, contacts=CONTACTS)
    await desk.run()
    clock.advance(timedelta(days=10))
    desk.write(contacts=CONTACTS.replace("executive_sponsor,active,", "executive_sponsor,departed,2026-03-20"))

    report = await desk.run()

    assert of(report, "contacts").others["sponsorship"].updated == 1
    seats = {row["source_id"]: (str(row["from_on"]), str(row["to_on"])) for row in await desk.rows("sponsorship")}
    assert seats == {"C1:executive_sponsor": ("2026-03-16", "2026-03-20"), "C2:champion": ("2026-03-16", "None")}
    assert (await desk.by_source("account"))["A1"]["executive_sponsor_id"] is None
    assert (await desk.run()).changed == 0


async def test_seats_given_by_hand_are_left_alone(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, contacts=CONTACTS)
    await desk.run()
    account = (await desk.by_source("account"))["A1"]["id"]
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        [seat] = [s for s in await work.sponsorships.where() if s.role.value == "executive_sponsor"]
        work.sponsorships.save(seat.changed(to_on=TODAY))
        work.contacts.add(Contact(id=work.ids.new("contact"), account_id=account, name="By hand"))

    assert (await desk.run()).changed == 0


async def test_an_account_manager_who_is_no_more_leaves_the_team(desk: Desk) -> None:
    desk.write(users=USERS, accounts=ACCOUNTS)
    await desk.run()
    desk.write(accounts=ACCOUNTS.replace("kim@acme.example", ""))

    report = await desk.run()

    assert of(report, "accounts").others["account_team"].updated == 1
    [seat] = await desk.rows("account_team")
    assert seat["removed_at"] is not None
    assert (await desk.run()).changed == 0


async def test_a_meeting_that_moves_to_another_account_moves_both_last_touches(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, meetings=MEETINGS)
    await desk.run()
    desk.write(meetings=MEETINGS.replace("M1,A1", "M1,A2"))

    await desk.run()

    touched = {key: str(row["last_touch_on"]) for key, row in (await desk.by_source("account")).items()}
    assert touched == {"A1": "None", "A2": "2026-03-02"}
