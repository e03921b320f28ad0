"""HTML bodies, as CRM editors write them, as plain text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

_IS_MARKUP: Final = re.compile(r"<(?:[a-z!/])|&(?:[a-z]+|#\d+|#x[0-9a-f]+);", re.IGNORECASE)
_HAS_TAGS: Final = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>", re.IGNORECASE)
_LINES: Final = frozenset({"address", "article", "blockquote", "br", "div", "dt", "dd", "li", "pre", "section", "tr"})
_PARAGRAPHS: Final = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "hr"})
_UNSEEN: Final = frozenset({"script", "style", "head", "title", "template"})


class _Reader(HTMLParser):
    def __init__(self, keeps_lines: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._keeps_lines = keeps_lines
        self._parts: list[str] = []
        self._unseen: list[str] = []
        self._link: str | None = None
        self._link_from = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag in _PARAGRAPHS:
            self._parts.append("\n\n" if tag != "ul" and tag != "ol" else "\n")
        elif tag in _LINES:
            self._parts.append("\n- " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self._parts.append("\t")
        elif tag == "a":
            self._link, self._link_from = dict(attrs).get("href"), len(self._parts)
        elif tag == "img" and (shown := dict(attrs).get("alt")):
            self._parts.append(shown)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            while self._unseen.pop() != tag:
                pass
        elif tag in _PARAGRAPHS:
            self._parts.append("\n\n" if tag not in ("ul", "ol") else "\n")
        elif tag in ("div", "blockquote", "pre"):
            self._parts.append("\n")
        elif tag == "a" and self._link:
            if self._link.removeprefix("mailto:") not in "".join(self._parts[self._link_from :]):
                self._parts.append(f" ({self._link})")
            self._link = None

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._parts.append(data if self._keeps_lines else re.sub(r"[ \t\r\n\f]+", " ", data))

    def text(self) -> str:
        lines = [line.strip() for line in "".join(self._parts).replace("\xa0", " ").splitlines()]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def plain_text(body: str) -> str:
    """What a reader of the HTML would see: paragraphs, list items and line breaks kept, links with their targets.

    Text without tags keeps its own lines; only its entities are resolved.
    """
    if _IS_MARKUP.search(body) is None:
        return body
    reader = _Reader(keeps_lines=_HAS_TAGS.search(body) is None)
    reader.feed(body)
    reader.close()
    return reader.text()
