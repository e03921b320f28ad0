"""Text that people outside wrote is data: cleaned on its way in, defanged and fenced on its way out."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from unicodedata import normalize

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.errors import Invalid

NAME_LIMIT = 200
TEXT_LIMIT = 20_000


class Trust(StrEnum):
    """Who may have written what a text column holds."""

    system = "system"  # our own code
    member = "member"  # our users and agents
    customer = "customer"  # anyone: a customer, or a source system on their behalf


class Unstorable(Invalid):
    def __init__(self, what: str, position: int) -> None:
        super().__init__(
            f"The text holds {what} at position {position}, which no store can keep.",
            remedy="Remove that character and send the text again.",
        )


_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether both stores can keep the text: no NUL, no lone surrogate."""
    return _UNSTORABLE.search(text) is None


def refuse_unstorable(text: str) -> str:
    """The text itself, so that it can stand in a validator."""
    if found := _UNSTORABLE.search(text):
        raise Unstorable("a NUL character" if found[0] == "\0" else "half of a surrogate pair", found.start())
    return text


# What has no look of its own, and so can hide instructions from people while a model reads them: Unicode's
# Default_Ignorable_Code_Point (zero-width, bidi, fillers, variation selectors, tags), interlinear annotations, controls
# and surrogates. U+FE0F and U+200D are treated apart, for emoji are built with them.
_INVISIBLE = (
    r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    r"\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Wide enough for every emoji of Unicode 17 that takes U+FE0F or U+200D.
_EMOJI = (
    r"[\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u231a-\u2328\u2388-\u23ff\u24c2\u25aa-\u25fe\u2600-\u27bf"
    r"\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_HIDDEN = re.compile(
    rf"[{_INVISIBLE}]"
    rf"|(?<!{_EMOJI})(?<![0-9#*](?=\ufe0f\u20e3))\ufe0f"
    rf"|(?<!{_EMOJI})(?<!{_EMOJI}\ufe0f)\u200d"
    rf"|\u200d(?!{_EMOJI})"
)
_PLAIN = re.compile(r"[\x20-\x7e\t\n]*")  # most text: nothing hides in it
_LINE_BREAK = re.compile(r"\r\n|[\r\v\f\x85\u2028\u2029]")


def clean_name(text: str, limit: int = NAME_LIMIT) -> str:
    """One visible line for names, titles and tags, at most `limit` characters, "…" where it was cut."""
    return _capped(" ".join(_visible(" ".join(text.split())).split()), limit)


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """Visible text that keeps its lines (as LF) and tabs, at most `limit` characters, "…" where it was cut."""
    return _capped(_visible(_LINE_BREAK.sub("\n", text)), limit)


def _visible(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    # Normalised on both sides: before, because emoji are recognised in NFC; after, because what a hidden character
    # kept apart may now compose.
    return normalize("NFC", _HIDDEN.sub("", normalize("NFC", text)))


def _capped(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return _HIDDEN.sub("", text[: limit - 1].rstrip() + "…")


_INLINE_LINK = re.compile(r"!?\[([^\[\]]*)\]\(([^()]*)\)")
_AUTOLINK = re.compile(r"<([a-z][a-z0-9+.-]{1,31}:[^<>\s]*)>", re.IGNORECASE)
_TAG_OPENING = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
_WEB_SCHEME = re.compile(r"http(s?)://", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"(?<=[a-z0-9+.-])(?<!hxxp)(?<!hxxps)://", re.IGNORECASE)
_SCRIPT_SCHEME = re.compile(r"\b(javascript|vbscript|data(?=:[a-z0-9.+-]*[/;,])):", re.IGNORECASE)
_WWW = re.compile(r"\bwww\.", re.IGNORECASE)
_LINK_SEAM = re.compile(r"\](?=[(:])")


def defang(text: str) -> str:
    """The text with every link, image and HTML tag made inert, its targets still readable. Idempotent.

    "![a](https://x.io)" becomes "a (hxxps://x.io)", "<b>" becomes "&lt;b>".
    """
    for _ in range(3):  # an image inside a link, and one more
        text = _INLINE_LINK.sub(r"\1 (\2)", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG_OPENING.sub("&lt;", text)
    text = _WEB_SCHEME.sub(lambda found: f"hxxp{found[1].lower()}://", text)
    text = _OTHER_SCHEME.sub("[:]//", text)
    text = _SCRIPT_SCHEME.sub(r"\1[:]", text)
    text = _WWW.sub("www[.]", text)
    # Markdown has no link without "](" or a definition's "]:": with these apart, nothing above needs to be complete.
    return _LINK_SEAM.sub("] ", text)


_NO_FENCE = str.maketrans("⟦⟧", "{}")


_MAY_BE_LIVE = re.compile(r"[<\]:]|www\.", re.IGNORECASE)


def inert(text: str) -> str:
    """Any text as it may leave: nothing hidden in it, no live link, no fence of ours. Idempotent, cuts nothing."""
    if _PLAIN.fullmatch(text) and not _MAY_BE_LIVE.search(text):
        return text
    return defang(_visible(_LINE_BREAK.sub("\n", text))).translate(_NO_FENCE)


class Quoted(BaseModel):
    """Words of somebody outside, as they leave the system. Built by `quote`."""

    model_config = ConfigDict(frozen=True)

    text: str
    author: str | None = None
    origin: str
    written_on: date | None = None

    def fenced(self, nonce: str) -> str:
        """Lines between "⟦quote nonce · origin by author · day⟧" and "⟦end nonce⟧", which the text cannot imitate."""
        source = f"{self.origin} by {self.author}" if self.author else self.origin
        parts = [f"quote {nonce}", source] + ([self.written_on.isoformat()] if self.written_on else [])
        return f"⟦{' · '.join(parts).translate(_NO_FENCE)}⟧\n{self.text.translate(_NO_FENCE)}\n⟦end {nonce}⟧"


def quote(
    text: str,
    *,
    origin: str,
    author: str | None = None,
    written_on: date | None = None,
    limit: int = TEXT_LIMIT,
) -> Quoted:
    """Clean and defang what came from outside; `limit` caps the text in characters."""
    return Quoted(
        # Cleaned again, because taking a link apart may leave letters to compose or push the text over the limit.
        text=clean_text(defang(clean_text(text, limit)), limit),
        author=(_inert_name(author) or None) if author else None,
        origin=_inert_name(origin),
        written_on=written_on,
    )


def nonce_of(random_bytes: bytes) -> str:
    """The mark of one answer's fences, as hex; at least two bytes, fresh for every answer."""
    if len(random_bytes) < 2:
        raise ValueError("A nonce takes at least two random bytes.")
    return random_bytes.hex()


def _inert_name(name: str) -> str:
    return clean_name(defang(clean_name(name)))
