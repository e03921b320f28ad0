"""The index that search looks in: one row a record, written by triggers alone (migration 0002).

`words` are the record's own and those of its account's name, `seen_by` says whose book shows it. They are text under
an FTS5 index on SQLite; a tsvector and an array under a GIN index on PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal
from unicodedata import category

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from cs_mcp.db.base import Base, Id
from cs_mcp.domain.identity import Principal

Shelf = Literal["search_name", "search_text"]
MOST_WORDS: Final = 12
LONGEST_WORD: Final = 64


class _Indexed(TypeDecorator[str]):
    """Text on SQLite. PostgreSQL's dialect is imported only where it is used: it costs start-up time."""

    impl = Text
    cache_ok = True
    kind: str

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects import postgresql

        kind: Any = postgresql.TSVECTOR() if self.kind == "words" else postgresql.ARRAY(Text())
        return dialect.type_descriptor(kind)


class Words(_Indexed):
    cache_ok = True
    kind = "words"


class People(_Indexed):
    cache_ok = True
    kind = "people"


def _shelf(name: Shelf) -> Table:
    return Table(
        name,
        Base.metadata,
        Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),  # in the order they came
        Column("workspace", Id, nullable=False),
        Column("record", Id, nullable=False),
        Column("account_id", Id, nullable=False),
        Column("words", Words, nullable=False),
        Column("seen_by", People),
        Index(f"uq_{name}_record", "workspace", "record", unique=True),
        Index(f"ix_{name}_account", "workspace", "account_id"),
    )


SHELVES: Final[dict[Shelf, Table]] = {"search_name": _shelf("search_name"), "search_text": _shelf("search_text")}

_WORD_KINDS: Final = frozenset("LMN")


def words_of(asked: str) -> list[str]:
    """The words of a question, as they may go to either store: letters, marks and digits, nothing with a meaning."""
    spaced = "".join(c if category(c)[0] in _WORD_KINDS else " " for c in asked)
    found = [word[:LONGEST_WORD] for word in spaced.split() if any(category(c)[0] in "LN" for c in word)]
    return list(dict.fromkeys(found))[:MOST_WORDS]


def books_of(principal: Principal) -> list[str]:
    """What marks a record as one the caller may see: the workspace, or people and nobody."""
    if principal.sees_all:
        return [principal.workspace]
    return [*principal.people, f"nobody{principal.workspace}"]


def match_of(words: Sequence[str], books: Sequence[str], *, beginnings: bool) -> str:
    """An FTS5 query (sqlite.org/fts5.html#full_text_query_syntax): every word, in a record of one of these books.

    With `beginnings` the last word may go on, as when it is still being typed.
    """
    wanted = " AND ".join(map(_phrase, words)) + ("*" if beginnings else "")
    seen = " OR ".join(_phrase(_bare(book)) for book in books)
    return f"(words : ({wanted})) AND (seen_by : ({seen}))"


def _phrase(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


_PREFIX: Final = re.compile(r"(usr|wsp)_")


def _bare(book: str) -> str:
    """An id as the index has it there: its prefix would be a word of its own to the tokenizer, so it is left off."""
    return _PREFIX.sub("", book)
