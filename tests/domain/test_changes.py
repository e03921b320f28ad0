"""The text and the hashes a history stands on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.changes import CHAINED_FIELDS, OF_AN_ENTRY, Chain, canonical, chained

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def backwards(value: Any) -> Any:
    """The same value with its keys put in the other order."""
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(list(value))}
    return [backwards(held) for held in value] if isinstance(value, list) else value


@given(VALUES)
def test_equal_values_have_one_text_whatever_the_order_of_their_keys(value: Any) -> None:
    assert canonical(backwards(value)) == canonical(value)


@given(VALUES)
def test_the_text_read_back_gives_the_value_and_the_same_text(value: Any) -> None:
    text = canonical(value)

    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@given(
    shared=st.fixed_dictionaries(
        {name: st.none() | WORDS for name in CHAINED_FIELDS if name not in {*OF_AN_ENTRY, "at"}}
        | {"at": st.datetimes(timezones=st.just(UTC))}
    ),
    entries=st.lists(
        st.fixed_dictionaries(
            {name: st.none() | WORDS for name in OF_AN_ENTRY if name not in ("fields", "seq")}
            | {"fields": st.lists(WORDS, max_size=3), "seq": st.integers(1)}
        ),
        max_size=4,
    ),
)
def test_the_chain_of_a_write_is_the_chain_of_its_entries(
    shared: dict[str, Any], entries: list[dict[str, Any]]
) -> None:
    chain, previous = Chain("0" * 64, shared), "0" * 64

    for entry in entries:
        previous = chained(previous, shared | entry)
        own = [",".join(entry["fields"]) if name == "fields" else entry[name] for name in OF_AN_ENTRY]
        assert chain.take(*own) == previous
    assert chain.hash == previous


def test_what_an_entry_says_is_all_in_its_hash() -> None:
    entry: dict[str, Any] = dict.fromkeys(CHAINED_FIELDS, "x") | {
        "at": datetime(2026, 3, 16, tzinfo=UTC),
        "fields": ["a"],
    }
    known = chained("0", entry)

    for name in CHAINED_FIELDS:
        other: Any = {"at": datetime(2026, 3, 17, tzinfo=UTC), "fields": ["b"]}.get(name, "y")
        assert chained("0", entry | {name: other}) != known, name
