from __future__ import annotations

import tomllib
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cs_mcp.connectors import hubspot
from cs_mcp.connectors.reading import LeftOutRow, Reading, RejectedRow, SourceRow, UnreadableFile, open_source
from cs_mcp.connectors.records import (
    AccountRecord,
    ContactRecord,
    MeetingRecord,
    NoteRecord,
    SourceRecord,
    SubscriptionRecord,
    TaskRecord,
    TicketRecord,
    UserRecord,
)
from cs_mcp.services.imports.report import Looks

ROOT = Path(__file__).parents[2]
EXTRACT = ROOT / "tests" / "data" / "hubspot"


def opened(folder: Path = EXTRACT, mapping: str | None = None, tmp_path: Path | None = None) -> Reading:
    if mapping is None:
        return open_source(folder, "hubspot")
    assert tmp_path is not None
    file = tmp_path / "mapping.toml"
    file.write_text(mapping, encoding="utf-8")
    return open_source(folder, "hubspot", file)


def by_file(reading: Reading) -> dict[str, list[SourceRecord]]:
    """The records of each file; a rejected row fails the test with its reason."""
    found: dict[str, list[SourceRecord]] = {}
    for file in reading.files:
        rows = list(file.rows())
        assert not [row for row in rows if isinstance(row, RejectedRow)]
        found[file.path.stem] = [row.record for row in rows if isinstance(row, SourceRow)]
    return found


def left_out(reading: Reading) -> dict[str, dict[str, int]]:
    return {
        file.path.stem: dict(Counter(str(row.why) for row in file.rows() if isinstance(row, LeftOutRow)))
        for file in reading.files
    }


def warned(reading: Reading) -> dict[Looks, list[str]]:
    return {warning.kind: warning.examples for warning in reading.warnings.listed()}


def copied(tmp_path: Path, **changes: tuple[str, str]) -> Path:
    """The extract with text replaced in some of its files."""
    folder = tmp_path / "export"
    folder.mkdir()
    for file in EXTRACT.glob("*.csv"):
        text = file.read_text(encoding="utf-8")
        if file.stem in changes:
            old, new = changes[file.stem]
            assert old in text
            text = text.replace(old, new)
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder


# What stands for what


def test_every_table_reads_as_our_records() -> None:
    found = by_file(opened())

    assert found["owner_data"] == [
        UserRecord(user_id="44023296", name="Jean-Luc Picard", email="user01@email.com"),
        UserRecord(user_id="35252170", name="Ana Ruiz", email="ana@acme.example"),
    ]
    globex, initech, hooli = found["company_data"]
    assert globex == AccountRecord(
        account_id="2182162682",
        name="Globex",
        domain="Globex.example",
        industry="COMPUTER_SOFTWARE",
        employees=1200,
        lifecycle_stage=None,
        owner_email="ana@acme.example",
        created_on=date(2019, 7, 5),
        parent_account_id=None,
        custom={
            "country": "United States",
            "zip": "01234",
            "annualrevenue": 10000000,
            "is_public": True,
            "fiscal_start": "2019-02-01",
            "hs_all-funky-a9384-syntax": 23,
        },
    )
    assert isinstance(initech, AccountRecord)
    assert (initech.parent_account_id, initech.owner_email) == ("2182162682", None)
    assert initech.lifecycle_stage == "advocacy"
    assert initech.custom["annualrevenue"] == 2500.5
    assert initech.custom["zip"] is None
    assert isinstance(hooli, AccountRecord)
    assert (hooli.name, hooli.owner_email, hooli.lifecycle_stage) == ("=Hooli", "user01@email.com", None)
    assert found["contact_data"] == [
        ContactRecord(
            contact_id="78971951", account_id="2182162682", name="Hank Scorpio", email="hank@globex.example",
            title="CEO", roles=("executive_sponsor",),  # pyright: ignore
        ),
        ContactRecord(
            contact_id="36842001", account_id="2319384765", name="Peter Gibbons", email="peter@initech.example",
            title="Engineer", roles=("champion",),  # pyright: ignore
        ),
        ContactRecord(contact_id="55703851", account_id="2319384765", name="Lumbergh", email=None, title=None),
    ]  # fmt: skip
    assert found["deal_data"] == [
        SubscriptionRecord(
            subscription_id="1244495215", account_id="2182162682", product="Globex platform", arr=Decimal("12000.50"),
            currency="USD", starts_on=date(2025, 1, 1),
        ),
        SubscriptionRecord(
            subscription_id="1075671446", account_id="2319384765", product="Initech platform", arr=Decimal(2000),
            currency="USD", starts_on=date(2025, 6, 30),
        ),
    ]  # fmt: skip
    assert found["engagement_meeting_data"] == [
        MeetingRecord(
            meeting_id="3416212491",
            account_id="2182162682",
            held_at=datetime(2019, 9, 26, 13, tzinfo=UTC),
            status="held",  # pyright: ignore
            attendees=("hank@globex.example", "ana@acme.example"),
            summary="Quarterly review\nAll fine so far\n\n- Renew in May\n- Ask Hank (https://globex.example/x)",
        ),
        MeetingRecord(
            meeting_id="3621491516",
            account_id="2319384765",
            held_at=datetime(2019, 10, 23, 16, tzinfo=UTC),
            status="canceled",  # pyright: ignore
            attendees=("peter@initech.example",),
            summary="Call with Peter",
        ),
    ]
    assert found["engagement_note_data"] == [
        NoteRecord(
            note_id="19732728857",
            account_id="2182162682",
            written_at=datetime(2026, 2, 27, 23, 50, 44, 778000, tzinfo=UTC),
            author_email="ana@acme.example",
            text="They like it.\nAT&T asked too.",
        )
    ]
    assert found["engagement_task_data"] == [
        TaskRecord(
            task_id="32034933897", account_id="2182162682", title="=Send the deck", due_on=date(2026, 3, 20),
            status="open", assignee_email=None, priority="high",  # pyright: ignore
        )
    ]  # fmt: skip
    [ticket] = found["ticket_data"]
    assert isinstance(ticket, TicketRecord)
    assert (ticket.severity, ticket.category, ticket.text) == (2, "BUG", "Since today")


def test_what_is_left_out_is_counted_with_its_reason() -> None:
    assert left_out(opened()) == {
        "owner_data": {
            "no e-mail address, neither the owner's nor its user's": 1,
            "another owner has the same e-mail address": 1,
        },
        "company_data": {"merged into another record": 1, "deleted in HubSpot": 1},
        "contact_data": {
            "merged into another record": 2,
            "no company is named": 1,
            "deleted in HubSpot": 1,
            "the company named was deleted": 1,
        },
        "deal_data": {
            "open or lost, and this version keeps no opportunities": 1,
            "won, without recurring revenue in the columns that the mapping names for arr": 1,
            "deleted in HubSpot": 1,
        },
        "engagement_meeting_data": {"no company is named": 1},
        "engagement_note_data": {"deleted in HubSpot": 1},
        "engagement_task_data": {"the company named was deleted": 1},
        "ticket_data": {"no company is named": 1},
    }


def test_files_that_nothing_reads_are_named_with_their_rows() -> None:
    assert opened().unread == [
        "README.md",
        "deal_stage_data.csv (1 rows)",
        "engagement_data.csv: 1 of type CALL, which no table tells",
    ]


def test_what_looks_wrong_is_told_once_however_often_a_file_is_read() -> None:
    reading = opened()
    by_file(reading)
    by_file(reading)

    assert warned(reading) == {
        Looks.unknown_user: [
            "owner 40706000 of company 2319384765 is not in the export",
            "owner 42087343 of meeting 3621491516 has no e-mail address",
            "owner 32779820 of task 32034933897 is not in the export",
        ],
        Looks.unmapped: [
            "property_lifecyclestage '48210033' of company 2050238876",
            "property_hs_buying_role 'SOMETHING_NEW' of contact 36842001",
        ],
        Looks.no_address: ["contact 55703851: 'fcb67ef339b691956cc85fa12be6490c'"],
        Looks.several_companies: [
            "engagement 32034933897: 2182162682, 2319384765; taken for 2182162682",
        ],
    }
    assert {w.count for w in reading.warnings.listed()} == {3, 2, 1}


def test_a_companys_other_columns_are_custom_fields_of_the_type_found() -> None:
    assert [(field.name, field.type, field.values) for field in opened().custom_fields] == [
        ("country", "choice", ["United Kingdom", "United States"]),
        ("zip", "text", []),
        ("annualrevenue", "number", []),
        ("is_public", "boolean", []),
        ("fiscal_start", "date", []),
        ("hs_all-funky-a9384-syntax", "number", []),
    ]


def test_tables_may_have_other_cases_and_other_names(tmp_path: Path) -> None:
    (tmp_path / "COMPANY.csv").write_bytes(
        b"\xef\xbb\xbfID,PROPERTY_NAME,IS_DELETED\r\n1,Globex,FALSE\r\n2,Old,TRUE\r\n"
    )

    assert by_file(opened(tmp_path)) == {"COMPANY": [AccountRecord(account_id="1", name="Globex")]}


def test_an_export_that_does_not_bring_companies_still_reads_what_names_them(tmp_path: Path) -> None:
    (tmp_path / "engagement_note_data.csv").write_bytes((EXTRACT / "engagement_note_data.csv").read_bytes())
    (tmp_path / "engagement_company_data.csv").write_bytes((EXTRACT / "engagement_company_data.csv").read_bytes())

    [note] = by_file(opened(tmp_path))["engagement_note_data"]

    assert isinstance(note, NoteRecord)
    assert note.account_id == "2182162682"


def test_an_engagement_with_contacts_of_two_companies_is_left_out(tmp_path: Path) -> None:
    folder = copied(
        tmp_path,
        engagement_contact_data=("36842001,3621491516", "36842001,3621491516,MEETING,200,,\n78971951,3621491516"),
    )

    assert left_out(opened(folder))["engagement_meeting_data"] == {
        "no company is named": 1,
        "no company is named, and its contacts are of several": 1,
    }


# The mapping


def test_a_mapping_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    reading = opened(
        mapping="""
[times]
days_in = "America/New_York"
[companies.values.lifecycle_stage]
customer = "adoption"
48210033 = "renewal"
[companies.only_where]
property_lifecyclestage = ["customer", "48210033"]
[companies.custom]
property_zip = { name = "Post code" }
property_annualrevenue = { type = "text" }
property_is_public = false
[deals]
ends_after_months = 12
[deals.columns]
arr = ["property_hs_arr", "property_amount"]
[deals.defaults]
currency = "EUR"
""",
        tmp_path=tmp_path,
    )

    found = by_file(reading)

    globex, hooli = found["company_data"]
    assert isinstance(globex, AccountRecord)
    assert isinstance(hooli, AccountRecord)
    assert (globex.lifecycle_stage, hooli.lifecycle_stage) == ("adoption", "renewal")
    assert globex.custom["Post code"] == "01234"
    assert globex.custom["annualrevenue"] == "10000000"
    assert "is_public" not in globex.custom
    [platform] = found["deal_data"]
    assert isinstance(platform, SubscriptionRecord)
    # 2:30 on New Year's Day in UTC is the day before in New York.
    assert (platform.starts_on, platform.ends_on, platform.term_months) == (date(2024, 12, 31), date(2025, 12, 30), 12)
    reasons = left_out(reading)
    assert reasons["company_data"]["is none that the mapping asks for (property_lifecyclestage)"] == 1
    assert reasons["contact_data"]["the company named is none that the mapping asks for (property_lifecyclestage)"] == 2


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("[times]\nwritten_in = UTC\n", "mapping.toml, line 2: it is not TOML"),
        (
            '[companies]\nfiles = ["a"]\n\n[company]\n',
            "line 4: company: nothing is called that; did you mean 'companies'",
        ),
        ('[companies.columns]\n# x\nnamme = ["n"]\n', "line 3: companies.columns.namme: nothing is called that"),
        ('[companies.columns]\nname = "n"\n', "line 2: companies.columns.name: Input should be a valid list, got 'n'"),
        (
            '[companies]\n[companies.values]\nlifecycle_stage = { customer = "adopted" }\n',
            "line 3: companies.values.lifecycle_stage.customer: 'adopted' is not one of onboarding, adoption",
        ),
        ('[tasks.defaults]\npriority = "asap"\n', "line 2: tasks.defaults.priority: 'asap' is not one of low"),
        ('[times]\n\ndays_in = "Berlin"\n', "line 3: times.days_in: 'Berlin' is not a time zone"),
        ("[companies.custom]\na = { type = 'money' }\n", "line 2: companies.custom.a"),
        ("[deals]\nends_after_months = -1\n", "line 2: deals.ends_after_months"),
        ("companies = 3\n", "line 1: companies: is a table of its own"),
        ('[links]\nfoo = ["x"]\n', "line 2: links.foo: nothing is called that"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_told_with_its_line(tmp_path: Path, mapping: str, told: str) -> None:
    with pytest.raises(UnreadableFile) as caught:
        opened(mapping=mapping, tmp_path=tmp_path)

    assert told in str(caught.value)
    assert caught.value.remedy


def test_a_mapping_that_is_not_there_or_not_utf8_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read: No such file"):
        open_source(EXTRACT, "hubspot", tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# ok\n# caf\xe9\n")
    with pytest.raises(UnreadableFile, match=r"latin.toml, line 2: it is not UTF-8"):
        open_source(EXTRACT, "hubspot", tmp_path / "latin.toml")


def test_the_written_mapping_reads_as_if_there_were_none(tmp_path: Path) -> None:
    text = hubspot.mapping_text(EXTRACT)

    assert tomllib.loads(text)["companies"]["custom"]["property_zip"] == {"name": "zip", "type": "text"}
    reading = opened(mapping=text, tmp_path=tmp_path)
    assert by_file(reading) == by_file(opened())
    assert reading.custom_fields[1:] == opened().custom_fields[1:]


def test_a_pinned_type_refuses_a_value_of_another(tmp_path: Path) -> None:
    folder = copied(tmp_path, company_data=("10000000", "about ten"))
    reading = opened(folder, '[companies.custom]\nproperty_annualrevenue = { type = "number" }\n', tmp_path)

    rejected = [row for row in reading.files[1].rows() if isinstance(row, RejectedRow)]

    assert [(row.line, row.reason) for row in rejected] == [
        (2, "property_annualrevenue: 'about ten' is not a number, as the mapping says it is")
    ]


def test_a_missing_column_names_the_file_and_the_mapping(tmp_path: Path) -> None:
    folder = copied(tmp_path, company_data=("property_name", "property_title"))

    with pytest.raises(UnreadableFile) as caught:
        opened(folder)

    assert "company_data.csv lacks the column 'property_name', which every row needs." in str(caught.value)
    assert "companies.columns.name" in caught.value.remedy
    renamed = opened(folder, '[companies.columns]\nname = ["Property_Title"]\n', tmp_path)
    assert by_file(renamed)["company_data"] == by_file(opened())["company_data"]


def test_a_reason_names_hubspots_own_column(tmp_path: Path) -> None:
    folder = copied(tmp_path, engagement_meeting_data=("2019-09-26 13:00:00", "26.9.2019"))

    [row] = [row for file in opened(folder).files for row in file.rows() if isinstance(row, RejectedRow)]

    assert (row.line, row.reason) == (
        2,
        "start_time: '26.9.2019' is not a time (2024-01-31 09:30:00, with or without a zone)",
    )
