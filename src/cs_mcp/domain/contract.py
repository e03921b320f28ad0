"""Shapes that repeat in the tool contract: strict inputs, pages, citations, the answer of a write.

Every tool takes one model and answers one model, both plain pydantic; the text a model reads is made from the
same answer, so that hosts which show only text lose nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from cs_mcp.domain.changes import canonical, digest, in_order
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.money import Money
from cs_mcp.domain.text import Quoted, clean_name, clean_text, inert, is_storable

BYTES_PER_TOKEN: Final = 3.3  # tools.md, rule 5


def _one_line(text: str) -> str:
    cleaned = clean_name(text)
    if not cleaned:
        raise ValueError("holds no visible character")
    return cleaned


def _prose(text: str) -> str:
    cleaned = clean_text(text)
    if not cleaned.strip():
        raise ValueError("holds no visible character")
    return cleaned


Ref = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Text = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_prose)]
ShortText = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_prose)]
AccountRef = Annotated[Ref, Field(description="Account: id, domain or name")]
UserRef = Annotated[Ref, Field(description="One of us: id, e-mail, name or `me`")]
Limit = Annotated[int, Field(ge=1, le=200)]
Cursor = Annotated[str, Field(max_length=400, description="`next_cursor` of the page before")]
Budget = Annotated[int, Field(ge=300, le=20_000)]
Detail = Literal["brief", "full"]
Version = Annotated[int, Field(ge=1, description="`version` you last read")]


class Input(BaseModel):
    """What a caller sends: unknown fields are refused, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Question(Input):
    """A read."""


class Command(Input):
    """A write. The three fields below mean the same on every write (server instructions)."""

    tool: ClassVar[str]
    always_planned: ClassVar[bool] = False  # whoever calls, the first answer is a plan
    skips_moved: ClassVar[bool] = False  # its plan leaves out records that moved since, instead of being refused

    idempotency_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    preview: bool = False
    reason: Annotated[ShortText, Field(description="Why; kept in the audit trail")] | None = None

    @property
    def undoes(self) -> str | None:
        """The write this one takes back, where it is an undo."""
        return None

    @property
    def why(self) -> str | None:
        """What the audit trail keeps as the reason."""
        return self.reason

    def arguments(self) -> dict[str, Any]:
        """What this write means, apart from how it is called: what a key and a plan are bound to."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"idempotency_key", "preview"})

    def arguments_hash(self) -> str:
        return digest(canonical(self.arguments()))


class Amount(BaseModel):
    """Money as callers read and write it: a decimal text and an ISO 4217 code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount: Annotated[str, Field(pattern=r"^-?\d{1,15}(\.\d{1,6})?$", description='e.g. "12500.00"')]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]

    @classmethod
    def of(cls, minor: int, currency: str) -> Amount:
        money = Money(minor=minor, currency=currency)
        return cls(amount=money.amount, currency=currency)

    def __str__(self) -> str:
        return _in_words(self.amount, self.currency)


@lru_cache(maxsize=4_096)
def _in_words(amount: str, currency: str) -> str:
    return str(Money.of(amount, currency))


def grouped(amount: str) -> str:
    """A decimal text as people read it: "12,500.00"."""
    return f"{Decimal(amount):,}"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class LeftOut(BaseModel):
    """Something that did not fit, and the call that gets it."""

    what: str
    call: str


class View(BaseModel):
    """Something a tool answers."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    def text(self, nonce: str) -> str:
        """The same as Markdown. `nonce` closes the fences around quoted text."""
        raise NotImplementedError

    def pictures(self) -> list[bytes]:
        """PNG pictures that go beside the text; no part of the structured answer."""
        return []


class JsonAnswer(View):
    """An answer whose text is its JSON, for clients that read either: each part of it is made inert by itself."""

    def content(self, nonce: str) -> dict[str, Any]:
        raise NotImplementedError

    def text(self, nonce: str) -> str:
        return json.dumps(self.content(nonce), ensure_ascii=False)


class Named(View):
    """A record by name: what a reference was taken to mean."""

    id: str
    name: str

    def text(self, nonce: str) -> str:
        return f"{shown(self.name)} ({self.id})"


def shown(text: object, limit: int = 200) -> str:
    """A short stored text inside our own sentences: one line, links and fences inert."""
    return _shown(str(text), limit)


@lru_cache(maxsize=16_384)  # names of people, accounts and fields come up again and again
def _shown(text: str, limit: int) -> str:
    return inert(clean_name(text, limit))


def quoted(quote: Quoted | None, nonce: str) -> str:
    return "" if quote is None else quote.fenced(nonce)


ItemT = TypeVar("ItemT", bound=View)


class Page(View, Generic[ItemT]):
    """A list: `total` is exact to 1 000, then "1000+"."""

    items: list[ItemT]
    total: int | str
    next_cursor: str | None = None
    left_out: list[LeftOut] = []
    heading: ClassVar[str] = ""

    def text(self, nonce: str) -> str:
        lines = [f"{self.title()} — {len(self.items)} of {self.total}"]
        lines += [item.text(nonce) for item in self.items]
        return "\n".join(lines + self.footer())

    def title(self) -> str:
        return self.heading

    def footer(self) -> list[str]:
        lines = [f"Left out: {left.what}. Call {left.call}." for left in self.left_out]
        if self.next_cursor is not None:
            lines.append(f"next_cursor: {self.next_cursor}")
        return lines


def fitted(
    items: Sequence[ItemT], *, budget_tokens: int, overhead_bytes: int = 600, nonce: str = "0000"
) -> list[ItemT]:
    """The leading items whose text and whose JSON both fit the budget; never fewer than one."""
    allowed = budget_tokens * BYTES_PER_TOKEN - overhead_bytes
    as_text = as_json = 0
    kept: list[ItemT] = []
    for item in items:
        as_text += len(item.text(nonce).encode()) + 1
        as_json += len(item.model_dump_json(exclude_none=True).encode()) + 1
        if kept and max(as_text, as_json) > allowed:
            break
        kept.append(item)
    return kept


def total_of(counted: int | None) -> int | str:
    return "1000+" if counted is None else counted


class CursorMark(BaseModel):
    """Where a page ended, bound to the question it belongs to. It names a place and grants nothing."""

    of: str
    value: Any
    id: str

    def token(self) -> str:
        packed = json.dumps([self.of, self.value, self.id], separators=(",", ":"), default=str)
        return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, token: str, of: str, kind: Any) -> CursorMark:
        """`kind` is the type of what the list is sorted by: a made-up value is refused before it meets a driver."""
        try:
            padded = token + "=" * (-len(token) % 4)
            named, value, record = json.loads(base64.urlsafe_b64decode(padded))
            place = _reader_of(kind).validate_json(json.dumps(value), strict=True)
        except (ValueError, TypeError, binascii.Error) as broken:
            raise bad_cursor() from broken
        texts = [text for text in (record, place) if isinstance(text, str)]
        if named != of or not isinstance(record, str) or not all(map(is_storable, texts)):
            raise bad_cursor()
        return cls(of=named, value=place, id=record)


Place = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # a number that both stores can compare with


@lru_cache
def _reader_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def bad_cursor() -> Invalid:
    return Invalid(
        "The cursor does not belong to this question.",
        remedy="Repeat the call without `cursor` to start from the first page; keep the filters the same while paging.",
    )


def question_hash(question: Question) -> str:
    """What a cursor is bound to: the filters and the order, not the paging."""
    return digest(canonical(question.model_dump(mode="json", exclude={"cursor", "limit", "budget_tokens", "detail"})))[
        :12
    ]


# -- the answer of a write ----------------------------------------------------------------------------------


# PostgreSQL keeps no order of the names in an object; said in order, an answer is the same from either store.
InOrder = AfterValidator(in_order)


class FieldChange(BaseModel):
    field: str
    before: Annotated[Any, InOrder] = None
    after: Annotated[Any, InOrder] = None


class RecordChange(BaseModel):
    """What a write did, or would do, to one record; `account` names the account it hangs on, where told."""

    id: str
    record: str
    did: str
    account_id: Annotated[str | None, Field(exclude=True)] = None  # for the name's sake; callers read the name
    account: str | None = None
    fields: list[FieldChange] = []

    def line(self) -> str:
        said = ", ".join(f"{f.field}: {_value(f.before)} → {_value(f.after)}" for f in self.fields)
        of = f" of {shown(self.account)}" if self.account and self.record != "account" else ""
        name = f" {shown(self.account)}" if self.account and self.record == "account" else ""
        return f"- {self.did} {self.record.replace('_', ' ')}{name} {self.id}{of}" + (f" ({said})" if said else "")


def _value(value: Any) -> str:
    if value is None or value == "":
        return "none"
    return shown(value if isinstance(value, str) else canonical(value), 120)


class Item(BaseModel):
    """One item of a batch: what became of it."""

    index: int
    id: str | None = None
    outcome: Literal["done", "refused", "unchanged"]
    why: str | None = None


ViewT = TypeVar("ViewT", bound=View)


class Written(View, Generic[ViewT]):
    """The answer of a write: carried out (`change_id`), or previewed (`plan_id`)."""

    changed: list[RecordChange] = []
    record: ViewT | None = None
    items: list[Item] = []
    triggered: list[str] = []
    already_done: bool = False
    change_id: str | None = None
    plan_id: str | None = None
    proposal: bool = False
    expires_at: datetime | None = None
    differences: list[RecordChange] = []
    would_trigger: list[str] = []
    left_out: list[LeftOut] = []
    next: str | None = None

    def text(self, nonce: str) -> str:
        lines: list[str] = []
        if self.plan_id is not None:
            lines.append(self._planned())
            lines += [change.line() for change in self.differences]
            lines += [f"Would trigger: {inert(line)}" for line in self.would_trigger]
        elif self.already_done:
            lines.append(f"Already done by an earlier call with this key (change {self.change_id}).")
        elif self.change_id is None:
            lines.append("Nothing to change: the record already says so.")
        else:
            lines.append(f"Done (change {self.change_id}; undo_changes takes it back).")
        lines += [change.line() for change in self.changed]
        lines += [
            f"- item {i.index}: {i.outcome}" + (f" {i.id}" if i.id else "") + (f", {inert(i.why)}" if i.why else "")
            for i in self.items
        ]
        lines += [f"Triggered: {inert(line)}" for line in self.triggered]
        if self.record is not None:
            lines.append(self.record.text(nonce))
        lines += [f"Left out: {left.what}. Call {left.call}." for left in self.left_out]
        if self.next:
            lines.append(self.next)
        return "\n".join(lines)

    def _planned(self) -> str:
        until = f"{self.expires_at:%Y-%m-%d %H:%M} UTC" if self.expires_at else "its expiry"
        if self.proposal:
            return f"Nothing written yet. Proposal {self.plan_id} waits for a person until {until}. It would:"
        return f"Nothing written yet. Plan {self.plan_id}, good until {until}; commit_plan carries it out. It would:"


Render = Callable[[str], str]
Day = date
