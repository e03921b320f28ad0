from __future__ import annotations

import json
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cs_mcp.connectors.reading import RejectedRow, SourceFile, SourceRow, UnreadableFile, open_source
from cs_mcp.connectors.records import (
    AccountRecord,
    SourceRecord,
    SubscriptionRecord,
)
from cs_mcp.domain.errors import CustomerSuccessError

HEADER = "account_id,name\n"


def only_file(folder: Path, name: str, content: str | bytes) -> SourceFile:
    """The one file of a folder that holds `content` under `name`."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    (file,) = open_source(folder).files
    return file


def records(file: SourceFile) -> list[SourceRecord]:
    """Every row's record; a rejected row fails the test with its reason."""
    found: list[SourceRecord] = []
    for row in file.rows():
        assert isinstance(row, SourceRow), row
        found.append(row.record)
    return found


def rejected(file: SourceFile) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in file.rows() if isinstance(row, RejectedRow)]


def lines_read(file: SourceFile) -> list[int]:
    return [row.line for row in file.rows() if isinstance(row, SourceRow)]


def stopped(file: SourceFile) -> str:
    """What an UnreadableFile tells, after reading as far as it goes."""
    with pytest.raises(UnreadableFile) as caught:
        list(file.rows())
    assert caught.value.remedy
    return str(caught.value)


# The folder


def test_files_come_in_the_order_they_depend_on_each_other_and_the_rest_is_named(tmp_path: Path) -> None:
    for name in (
        "usage.csv",
        "Accounts.CSV",
        "subscriptions.jsonl",
        "users.csv",
        "account.csv",
        "notes.txt",
        ".hidden",
    ):
        (tmp_path / name).write_text("", encoding="utf-8")

    reading = open_source(tmp_path)

    assert [file.kind for file in reading.files] == ["users", "accounts", "subscriptions", "usage"]
    assert reading.unread == ["account.csv", "notes.txt"]
    assert reading.source == "folder"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "no file of the import format"),
        (["ravenstack_accounts.csv"], "no file of the import format"),
        (["accounts.csv", "accounts.jsonl"], "both accounts.csv and accounts.jsonl"),
    ],
)
def test_a_folder_that_cannot_be_meant_says_so(tmp_path: Path, names: list[str], told: str) -> None:
    for name in names:
        (tmp_path / name).write_text(HEADER, encoding="utf-8")

    with pytest.raises(UnreadableFile, match=told):
        open_source(tmp_path)


def test_a_path_that_is_no_folder_says_so(tmp_path: Path) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text(HEADER, encoding="utf-8")

    with pytest.raises(UnreadableFile, match="is a file"):
        open_source(file)
    with pytest.raises(UnreadableFile, match="cannot be read: No such file"):
        open_source(tmp_path / "nowhere")


def test_an_unknown_source_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CustomerSuccessError, match="folder, ravenstack"):
        open_source(tmp_path, source="salesforce")


def test_a_file_that_is_gone_when_it_is_read_says_so(tmp_path: Path) -> None:
    file = only_file(tmp_path, "accounts.csv", HEADER)
    file.path.unlink()

    assert "cannot be opened" in stopped(file)


# What stops a file


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no header: it is empty"),
        (b"account_id\nA1\n", "lacks the column 'name'"),
        (b"account_id;name\nA1;Acme\n", "separated by semicolons"),
        (b"account_id,name,Name\nA1,Acme,Acme\n", "has the column 'name' more than once"),
        (HEADER.encode("utf-16"), "is UTF-16"),
        (HEADER.encode() + b"A1,Caf\xe9\n", "the byte 0xe9 at offset 22, line 2"),
        (b"\xef\xbb\xbf" + HEADER.encode() + b"A1,Caf\xe9\n", "the byte 0xe9 at offset 25, line 2"),
        (HEADER.encode() + b'A1,Acme\nA2,"Globex\nA3,Initech\n', "a quote opened in the row that starts at line 3"),
        (
            HEADER.encode() + b"A1,Acme\nA2," + b"x" * 2 * 1024 * 1024 + b"\n",
            "starts at line 3 is longer than 1,024 KiB",
        ),
        (HEADER.encode() + b'A1,"' + b"x\n" * 1024 * 1024, "starts at line 2 is longer than 1,024 KiB"),
    ],
    ids=["empty", "column", "separator", "twice", "utf16", "latin1", "bom", "open quote", "2 MiB", "2 MiB in quotes"],
)
def test_what_stops_a_file_is_told_with_a_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in stopped(only_file(tmp_path, "accounts.csv", content))


def test_check_stops_on_the_header_and_not_on_a_later_row(tmp_path: Path) -> None:
    only_file(tmp_path, "accounts.csv", HEADER.encode() + b"A1,Acme\nA2,Caf\xe9\n").check()

    with pytest.raises(UnreadableFile):
        only_file(tmp_path, "accounts.csv", "name\nAcme\n").check()


# What a row may look like


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_line_endings_and_a_byte_order_mark_make_no_difference(tmp_path: Path, ending: str, start: bytes) -> None:
    text = ending.join(["account_id,name", "A1,Acme", "", ",", "A2,Ünïcode", ""])

    file = only_file(tmp_path, "accounts.csv", start + text.encode())

    assert [record.key for record in records(file)] == [("A1",), ("A2",)]
    assert lines_read(file) == [2, 5]


def test_a_bad_row_in_the_middle_leaves_the_others(tmp_path: Path) -> None:
    file = only_file(
        tmp_path,
        "subscriptions.csv",
        "subscription_id,account_id,starts_on,arr\n"
        "S1,A1,2024-01-01,1200\n"
        "S2,A1,2024-13-01,-5\n"
        "S3,A1,2024-01-01\n"
        'S4,"A1"x,2024-01-01,1\n'
        "S5,A1,2024-01-01,1200.50\n",
    )

    assert lines_read(file) == [2, 6]
    assert rejected(file) == [
        (3, "starts_on: '2024-13-01' is not a date (YYYY-MM-DD); arr: '-5' is below zero"),
        (4, "has 3 cells where the header has 4 columns"),
        (5, "its quotes or line ends cannot be read (',' expected after '\"')"),
    ]
    (first, *_) = [row for row in file.rows() if isinstance(row, RejectedRow)]
    assert first.raw == {"subscription_id": "S2", "account_id": "A1", "starts_on": "2024-13-01", "arr": "-5"}


def test_a_blank_name_is_refused(tmp_path: Path) -> None:
    file = only_file(tmp_path, "accounts.csv", HEADER + "A1,\nA2,   \nA3,Acme\n")

    assert rejected(file) == [
        (2, "name: is empty, and every row needs it"),
        (3, "name: is empty, and every row needs it"),
    ]


def test_quoted_newlines_stay_and_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    file = only_file(
        tmp_path,
        "notes.csv",
        'note_id,account_id,written_at,text\nN1,A1,2024-05-01T09:00:00Z,"one\ntwo, ""three"""\nN2,A1,yesterday,four\n',
    )

    (row, _) = file.rows()
    assert isinstance(row, SourceRow)
    assert row.record.model_dump()["text"] == 'one\ntwo, "three"'
    assert rejected(file) == [(4, "written_at: 'yesterday' is not a time (2024-01-31T09:30:00Z)")]


def test_columns_that_nothing_reads_are_warned_of_and_custom_ones_are_kept(tmp_path: Path) -> None:
    file = only_file(
        tmp_path,
        "accounts.csv",
        " Account_ID ,NAME,custom.Region,custom.size,colour\nA1,Acme,EMEA,,red\n",
    )

    assert records(file) == [AccountRecord(account_id="A1", name="Acme", custom={"Region": "EMEA"})]
    assert file.warnings == ["accounts.csv: nothing reads the column 'colour'."]


def test_a_custom_column_where_records_have_none_is_warned_of(tmp_path: Path) -> None:
    file = only_file(tmp_path, "users.csv", "user_id,name,email,custom.floor\nU1,Ana,ana@example.com,3\n")

    assert len(records(file)) == 1
    assert file.warnings == ["users.csv: nothing reads the column 'custom.floor'."]


def test_an_empty_cell_is_told_from_a_column_that_is_not_there(tmp_path: Path) -> None:
    (record,) = records(only_file(tmp_path, "accounts.csv", "account_id,name,industry\nA1,Acme,\n"))

    assert isinstance(record, AccountRecord)
    assert record.industry is None
    assert record.domain is None
    assert record.model_fields_set == {"account_id", "name", "industry"}


def test_text_that_a_spreadsheet_would_run_stays_text(tmp_path: Path) -> None:
    (record,) = records(only_file(tmp_path, "accounts.csv", HEADER + 'A1,"=HYPERLINK(""x"")"\n'))

    assert record == AccountRecord(account_id="A1", name='=HYPERLINK("x")')


# JSON Lines and Parquet


def test_json_lines_hold_the_same_columns(tmp_path: Path) -> None:
    rows: list[object] = [
        {"account_id": "A1", "name": "Acme", "employees": 1200, "tags": ["vip", "eu"], "custom": {"Region": "EMEA"}},
        {"account_id": "A2", "name": "Globex", "tags": None, "custom.Beta": True, "colour": "red"},
        {"account_id": "A3", "name": {"first": "Initech"}},
        {"account_id": "A4", "name": "Hooli", "tags": ["a;b"]},
        ["A5"],
    ]
    content = "\r\n".join([json.dumps(row) for row in rows] + ["", "{oops", ""])

    file = only_file(tmp_path, "accounts.jsonl", content)

    assert [row.record for row in file.rows() if isinstance(row, SourceRow)] == [
        AccountRecord(account_id="A1", name="Acme", employees=1200, tags=("vip", "eu"), custom={"Region": "EMEA"}),
        AccountRecord(account_id="A2", name="Globex", custom={"Beta": "true"}),
    ]
    assert [(line, why.partition(" (")[0]) for line, why in rejected(file)] == [
        (3, "name: a dict cannot be a cell"),
        (4, "tags: an item of its list holds ';', which separates items"),
        (5, "is not a JSON object"),
        (7, "is not JSON"),
    ]
    assert file.warnings == ["accounts.jsonl: nothing reads the column 'colour'."]


def test_json_numbers_are_not_rounded_on_the_way(tmp_path: Path) -> None:
    content = '{"subscription_id": "S1", "account_id": "A1", "starts_on": "2024-01-01", "arr": 1200.10}'

    (record,) = records(only_file(tmp_path, "subscriptions.jsonl", content))

    assert isinstance(record, SubscriptionRecord)
    assert str(record.arr) == "1200.10"


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    assert "cs-mcp[parquet]" in stopped(only_file(tmp_path, "accounts.parquet", b"PAR1"))


def test_parquet_holds_the_same_columns(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns: dict[str, list[object]] = {
        "subscription_id": ["S1", "S2"],
        "account_id": ["A1", "A1"],
        "starts_on": [date(2024, 1, 1), None],
        "canceled_on": [datetime(2024, 6, 1), None],
        "arr": [1200.5, 10.0],
        "seats": [12.0, None],
        "trial": [False, None],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "subscriptions.parquet")
    (file,) = open_source(tmp_path).files

    (first, second) = file.rows()

    assert isinstance(first, SourceRow)
    assert first.record.model_dump(exclude_none=True) == {
        "subscription_id": "S1",
        "account_id": "A1",
        "starts_on": date(2024, 1, 1),
        "canceled_on": date(2024, 6, 1),
        "arr": Decimal("1200.5"),
        "seats": 12,
        "trial": False,
    }
    assert isinstance(second, RejectedRow)
    assert (second.line, second.reason) == (2, "starts_on: is empty, and every row needs it")
    assert "cannot be read as Parquet" in stopped(only_file(tmp_path, "subscriptions.parquet", b"PAR1 and no more"))
