"""What the reader of HubSpot is made of: times, HTML, types of custom fields, merges."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.connectors.custom_fields import find_custom_fields, typed
from cs_mcp.connectors.hubspot_links import Merges
from cs_mcp.connectors.hubspot_times import Clock
from cs_mcp.connectors.mapping import FieldType, Times
from cs_mcp.connectors.markup import plain_text

UTC_CLOCK = Clock(Times(written_in="UTC", days_in="UTC"))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2020-12-30 3:15:52", "2020-12-30T03:15:52+00:00"),
        ("2022-03-01 19:37:03.699000", "2022-03-01T19:37:03.699000+00:00"),
        ("2023-06-08T23:22:50Z", "2023-06-08T23:22:50+00:00"),
        ("2023-06-08 23:22:50.5 UTC", "2023-06-08T23:22:50.500000+00:00"),
        ("2023-06-08 23:22 +0200", "2023-06-08T23:22:00+02:00"),
        ("2023-06-08", "2023-06-08T00:00:00+00:00"),
        ("1562358926000", "2019-07-05T20:35:26+00:00"),
        ("", ""),
    ],
)
def test_times_are_read_in_the_forms_that_exports_have(text: str, instant: str) -> None:
    assert UTC_CLOCK.instant(text) == instant


@pytest.mark.parametrize("text", ["26.9.2019", "2019-13-01 10:00:00", "2019-02-30", "25:00", "9" * 14 + "9"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        UTC_CLOCK.instant(text)


@given(st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_a_day_is_that_of_the_portals_zone(at: datetime) -> None:
    berlin = Clock(Times(written_in="UTC", days_in="Europe/Berlin"))

    assert berlin.day(f"{at:%Y-%m-%d %H:%M:%S}") == str(
        at.replace(microsecond=0).astimezone(ZoneInfo("Europe/Berlin")).date()
    )
    assert berlin.day(f"{at:%Y-%m-%d}") == str(at.date())


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("a < b and c > d", "a < b and c > d"),
        ("AT&amp;T\nsecond line", "AT&T\nsecond line"),
        ("<p>One</p>\n<p>Two<br/>Three</p>", "One\n\nTwo\nThree"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a\tb"),
        ("<style>p {color: red}</style><p>Seen</p><script>x()</script>", "Seen"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ("<div>never <b>closed", "never closed"),
        ("<p></p>", ""),
    ],
)
def test_html_becomes_the_text_that_a_reader_sees(body: str, text: str) -> None:
    assert plain_text(body) == text


@given(st.text())
def test_no_text_breaks_the_reader_of_html(body: str) -> None:
    assert isinstance(plain_text(f"<p>{body}"), str)


VALUES: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.number: st.one_of(
        st.integers(-(10**9), 10**9).map(str), st.decimals(-999, 999, places=2).map("{:f}".format)
    ),
    FieldType.boolean: st.sampled_from(["true", "false", "Yes", "no"]),
    FieldType.date: st.dates(date(1990, 1, 1), date(2090, 1, 1)).map(str),
}


@given(st.sampled_from(list(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), st.lists(VALUES[kind], min_size=1))))
def test_a_column_has_the_type_that_all_its_values_share(drawn: tuple[FieldType, list[str]]) -> None:
    kind, values = drawn

    [field] = find_custom_fields([{"x": value} for value in ["", *values]], ["x"], {}, UTC_CLOCK.day)
    assert field.type is kind
    python = {FieldType.number: (int, float), FieldType.boolean: bool, FieldType.date: str}[kind]
    assert all(isinstance(typed(kind, value, UTC_CLOCK.day), python) for value in values)

    [mixed] = find_custom_fields([{"x": value} for value in [*values, "n/a"]], ["x"], {}, UTC_CLOCK.day)
    assert mixed.type in (FieldType.text, FieldType.choice)


@given(st.dictionaries(st.integers(0, 8).map(str), st.integers(0, 8).map(str)))
def test_merges_end_at_a_record_that_was_not_merged_and_a_circle_keeps_one(into: dict[str, str]) -> None:
    merges = Merges()
    for old, survivor in into.items():
        merges.add(old, survivor)

    for key in map(str, range(9)):
        survivor = merges.survivor(key)
        reached = [key]
        for _ in range(20):
            reached.append(into.get(reached[-1], reached[-1]))
        assert survivor in reached
        assert merges.survivor(survivor) == survivor
        assert reached[-1] == survivor or reached[-1] in reached[:-2]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("x", ["01234", "99999"]),
        ("x", ["+4930123", "4930123"]),
        ("x", ["1234567890123456", "1"]),
        ("property_phone", ["4930123", "12"]),
        ("property_zip", ["20099", "10115"]),
        ("x", ["1562358926000x"]),
    ],
)
def test_what_only_looks_like_a_quantity_stays_text(column: str, values: list[str]) -> None:
    [field] = find_custom_fields([{column: value} for value in values], [column], {}, UTC_CLOCK.day)

    assert field.type is FieldType.text
    assert [typed(field.type, value, UTC_CLOCK.day) for value in values] == values
