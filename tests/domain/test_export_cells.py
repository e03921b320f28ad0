"""Cells of an export: nothing a spreadsheet runs, and read back as they were."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.connectors.manifest import custom_cell, custom_reader, quoted, type_of, unquoted
from cs_mcp.connectors.tables import Columns, csv_rows

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


@given(TEXT)
def test_a_quoted_cell_is_read_back_as_it_was_and_never_runs(text: str) -> None:
    assert unquoted({"name": quoted(text)}) == {"name": text}
    assert not quoted(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(
    st.lists(
        st.one_of(TEXT.filter(bool), st.integers(-(2**53), 2**53), st.booleans(), st.floats(-1e9, 1e9)), min_size=1
    )
)
def test_custom_values_keep_their_types(values: list[Any]) -> None:
    kind = type_of({type(value) for value in values})
    read = custom_reader({"x": kind})

    back = [read("x", unquoted({"custom.x": custom_cell(value, kind)})["custom.x"]) for value in values]

    assert back == values
    assert [type(value) for value in back] == [type(value) for value in values]


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2).filter(any), min_size=1))
def test_rows_survive_the_file(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerows([["a", "b"], *([quoted(cell) for cell in row] for row in rows)])

    read = [unquoted(row.cells) for row in csv_rows(path, Columns(required=frozenset(), known=frozenset("ab")))]

    assert [[cells["a"], cells["b"]] for cells in read] == rows
