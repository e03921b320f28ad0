"""Search and fetch, in the shape that ChatGPT's connectors and deep research call.

The answers are exactly `{results: [{id, title, url}]}` and `{id, title, text, url, metadata}`, as text and as JSON
(developers.openai.com, "Building MCP servers for ChatGPT"). The shape has no place for a remark, so what was left out
stands as a last result of its own, and fetching that one says how to narrow the question.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, PrivateAttr

from cs_mcp.db.read_path import Row
from cs_mcp.db.search import words_of
from cs_mcp.db.search_reads import FETCHED, Candidates, SearchReads
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount, JsonAnswer, Question, shown
from cs_mcp.domain.errors import NotFound
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.records import is_id
from cs_mcp.domain.search import standing_of_name, standing_of_text, telling_words
from cs_mcp.domain.text import clean_name, quote
from cs_mcp.services.accounts.accounts import Accounts, GetAccount

MOST_RESULTS: Final = 20
MORE: Final = "more_matches"
SOME: Final = "some_of_the_words"
SHOWN_TITLE: Final = 160
SHOWN_BYTES: Final = 11_000  # of prose in one answer: 4 000 tokens less the rest of it
ACCOUNT_TOKENS: Final = 3_400

_FOLDER: Final = {
    "account": "accounts",
    "contact": "contacts",
    "health_note": "notes",
    "meeting": "meetings",
    "opportunity": "opportunities",
    "task": "tasks",
}
_RANK: Final = {"account": 0, "contact": 1, "meeting": 2, "health_note": 2, "opportunity": 2, "task": 2}
# A link leaves as it is, so only what cannot be more than a link: no user, no space, no bracket.
_PLAIN_LINK: Final = re.compile(r"https://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~%/?#=&+,;:!$-]*)?")
_LONGEST_LINK: Final = 500


class Search(Question):
    query: Annotated[
        str, Field(min_length=1, max_length=400, description="Words, a name, e-mail, domain or id, e.g. Globex SSO")
    ]


class Fetch(Question):
    id: Annotated[str, Field(min_length=1, max_length=64, description="`id` of a result")]


class Result(JsonAnswer):
    id: str
    title: str
    url: str

    def content(self, nonce: str) -> dict[str, Any]:
        return {"id": self.id, "title": self.title, "url": self.url}


class Results(JsonAnswer):
    results: list[Result]

    def content(self, nonce: str) -> dict[str, Any]:
        return {"results": [result.content(nonce) for result in self.results]}


class Document(JsonAnswer):
    """One record. Its text is made when the answer is, for it carries the marks of that answer's fences."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    id: str
    title: str
    body: Annotated[str, Field(alias="text")] = ""
    url: str
    metadata: dict[str, str] = {}
    _render: Callable[[str], str] = PrivateAttr()

    def rendered(self, render: Callable[[str], str]) -> Document:
        self._render = render
        return self

    def content(self, nonce: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "text": self._render(nonce),
            "url": self.url,
            "metadata": self.metadata,
        }


class Searches:
    def __init__(self, store: Store, accounts: Accounts, link_base: str | None) -> None:
        self._reads = SearchReads(store)
        self._accounts = accounts
        self._base = link_base.rstrip("/") if link_base else None

    def _link(self, kind: str, record: str, source: str | None = None) -> str:
        if source is not None and len(source) <= _LONGEST_LINK and _PLAIN_LINK.fullmatch(source):
            return source
        return f"{self._base or 'cs:/'}/{_FOLDER[kind]}/{record}"

    async def search(self, principal: Principal, question: Search) -> Results:
        asked = clean_name(question.query, 400)
        words = words_of(asked)
        found, rows = await self._having_all(principal, asked, words)
        if not rows and (telling := telling_words(words)) != words:
            words = telling
            found, rows = await self._having_all(principal, asked, words)
        if not rows and len(words) > 1:
            return await self._having_some(principal, asked, words)
        ranked = sorted(rows, key=lambda item: _standing(asked, words, *item), reverse=True)
        results = self._results(ranked[:MOST_RESULTS])
        if found.more or len(ranked) > MOST_RESULTS:
            title = f"More records match than these {len(results)}: add a word or a name"
            results.append(Result(id=MORE, title=title, url="cs://guide"))
        return Results(results=results)

    async def _having_all(
        self, principal: Principal, asked: str, words: list[str]
    ) -> tuple[Candidates, list[tuple[str, Row]]]:
        found = await self._reads.candidates(principal, asked, words)
        ids = _by_kind([*found.exact, *found.names, *found.texts, asked])
        return found, await self._reads.records(principal, ids)

    async def _having_some(self, principal: Principal, asked: str, words: list[str]) -> Results:
        """What has the rarest of the words, said to be no more than that."""
        weights = await self._reads.having_some(principal, words)
        enough = max(weights.values(), default=0.0) / 2
        heavy = (record for record, weight in weights.items() if weight >= enough)
        # Ids tell the order in time behind their kind.
        best = sorted(heavy, key=lambda record: (weights[record], record.partition("_")[2]), reverse=True)
        rows = await self._reads.records(principal, _by_kind(best[:MOST_RESULTS]))
        rows.sort(key=lambda item: (weights[item[1]["id"]], _standing(asked, words, *item)), reverse=True)
        results = self._results(rows)
        if results:
            results.append(Result(id=SOME, title="No record has all of these words; these have some", url="cs://guide"))
        return Results(results=results)

    def _results(self, rows: list[tuple[str, Row]]) -> list[Result]:
        return [
            Result(id=row["id"], title=_title(kind, row), url=self._link(kind, row["id"], row.get("source_url")))
            for kind, row in rows
        ]

    async def fetch(self, principal: Principal, question: Fetch) -> Document:
        if question.id in (MORE, SOME):
            return _how_to_narrow(question.id)
        kind = next((kind for kind in FETCHED if is_id(question.id, kind)), None)
        if kind == "account":
            return await self._account(principal, question.id)
        row = await self._reads.one(principal, kind, question.id) if kind is not None else None
        if kind is None or row is None:
            raise _no_such(question.id)
        names = await self._reads.names(
            principal, [person for who in row.get("attendees") or () if (person := _id(who))]
        )
        day = _day(kind, row)
        metadata = {
            "kind": kind,
            "account": shown(row["account_name"]),
            "account_id": row["account_id"],
            "version": str(row["version"]),
        } | ({"on": day.isoformat()} if day else {})
        document = Document(id=row["id"], title=_title(kind, row), url=self._link(kind, row["id"]), metadata=metadata)
        return document.rendered(lambda nonce: "\n".join(_lines(kind, row, names, nonce)))

    async def _account(self, principal: Principal, account: str) -> Document:
        [*found] = await self._reads.records(principal, {"account": [account]})
        if not found:
            raise _no_such(account)
        row = found[0][1]
        view = await self._accounts.get(principal, GetAccount(account=account, budget_tokens=ACCOUNT_TOKENS))
        metadata = {"kind": "account", "version": str(view.version)}
        document = Document(
            id=account,
            title=_title("account", row),
            url=self._link("account", account, row["source_url"]),
            metadata=metadata,
        )
        return document.rendered(view.text)


def _by_kind(ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in dict.fromkeys(ids):
        kind = next((kind for kind in FETCHED if is_id(record, kind)), None)
        if kind is not None:
            found.setdefault(kind, []).append(record)
    return found


# -- ranking --------------------------------------------------------------------------------------------------


def _standing(asked: str, words: list[str], kind: str, row: Row) -> tuple[Any, ...]:
    """The larger, the further up: what fits better, accounts before people before prose, the newest first."""
    if row["id"] == asked:
        return (9,)
    if kind in ("account", "contact"):
        others = (row["domain"],) if kind == "account" else (row["email"],)
        fit = standing_of_name(asked, words, row["name"], *others)
        return (fit + 3, -_RANK[kind], date.min, row["id"])
    called = row["name"] if kind == "opportunity" else row.get("title")
    said = " ".join(filter(None, (called, row["said"], row.get("agenda"), row.get("kind"), *_listed(row))))
    return (standing_of_text(words, said) * 2, -_RANK[kind], _day(kind, row) or date.min, row["id"])


def _listed(row: Row) -> list[str]:
    return [*(row.get("decisions") or ()), *(row.get("product_requests") or ())]


def _day(kind: str, row: Row) -> date | None:
    if kind == "task":
        return row["done_on"] or row["due_on"]
    of = {"health_note": "written_on", "meeting": "held_on", "opportunity": "opened_on"}.get(kind)
    return row[of] if of is not None else None


# -- how a record reads ---------------------------------------------------------------------------------------


def _title(kind: str, row: Row) -> str:
    if kind == "account":
        said = row["name"]
    elif kind == "contact":
        said = ", ".join(filter(None, (row["name"], row["title"], row["account_name"])))
        said += " (departed)" if row["status"] == "departed" else ""
    elif kind == "health_note":
        said = f"Health note on {row['account_name']}, {row['written_on']}"
    elif kind == "meeting":
        status = "" if row["status"] == "held" else f" ({row['status']})"
        said = f"{_spoken(row['kind'])} with {row['account_name']}, {row['held_on']}{status}"
    elif kind == "opportunity":
        said = f"Opportunity at {row['account_name']}: {row['name']} ({row['stage']})"
    else:
        said = f"Task for {row['account_name']}: {row['title']}"
    return shown(said, SHOWN_TITLE)


def _spoken(kind: str) -> str:
    return kind.upper() if kind in ("qbr", "ebr") else kind.replace("_", " ").capitalize()


def _lines(kind: str, row: Row, names: dict[str, str], nonce: str) -> list[str]:
    lines = [f"{_title(kind, row)} ({row['id']}, version {row['version']})"]
    lines.append(f"Account: {shown(row['account_name'])} ({row['account_id']})")
    if kind == "contact":
        facts = {
            "Title": row["title"], "Department": row["department"], "E-mail": row["email"], "Level": row["level"],
            "Roles": ", ".join(row["roles"]), "Sentiment": row["sentiment"], "Status": row["status"],
            "Last confirmed": row["last_confirmed_on"], "Departed": row["departed_on"],
        }  # fmt: skip
    elif kind == "health_note":
        facts = {"Sentiment": row["sentiment"], "Risk": row["risk"], "Meeting": row["meeting_id"]}
        facts["Corrects"] = row["corrects_id"]
    elif kind == "meeting":
        facts = {"Attendees": _attendees(row, names), "Sentiment": row["sentiment"]}
        facts |= {"Renewal intent heard": row["renewal_intent"]}
        facts |= {"Decisions": "; ".join(row["decisions"]), "Asked for": "; ".join(row["product_requests"])}
    elif kind == "opportunity":
        facts = _opportunity_facts(row)
    else:
        facts = {"Status": row["status"], "Due": row["due_on"], "Done": row["done_on"], "Priority": row["priority"]}
        facts |= {"Assignee": row["person_name"], "Outcome": row["outcome"]}
    lines += [f"{name}: {shown(value, 2_000)}" for name, value in facts.items() if value]
    return lines + _prose(kind, row, nonce)


def _opportunity_facts(row: Row) -> dict[str, Any]:
    amount = None if row["amount_minor"] is None else str(Amount.of(row["amount_minor"], row["currency"]))
    facts = {
        "Kind": row["kind"], "Trigger": row["trigger"], "Stage": row["stage"], "Amount": amount,
        "Product": row["product"], "Department": row["department"], "Seats": row["seats"],
        "Opened": row["opened_on"], "Expected": row["expected_on"], "Closed": row["closed_on"],
        "Pilot from": row["pilot_from"], "Pilot to": row["pilot_to"], "Early answer": row["early_answer"],
        "Owner": row["person_name"], "Posted": row["movement_id"],
    }  # fmt: skip
    evidence = (f"{one['what']} ({one['on'] or 'no day'})" for one in row["evidence"])
    return facts | {"Evidence": "; ".join(evidence)}


def _attendees(row: Row, names: dict[str, str]) -> str:
    return ", ".join(
        names.get(_id(who), who.get("name") or "?") + (f" ({_id(who)})" if _id(who) else "") for who in row["attendees"]
    )


def _id(attendee: dict[str, Any]) -> str:
    return attendee.get("contact_id") or attendee.get("user_id") or ""


_PROSE: Final = {
    "health_note": ("text",),
    "meeting": ("agenda", "summary"),
    "opportunity": ("hypothesis", "success_criteria", "lost_reason"),
}
_REST: Final = {"health_note": "list_health_notes", "opportunity": "list_opportunities"}


def _prose(kind: str, row: Row, nonce: str) -> list[str]:
    """The texts of people, each in its fence; what does not fit is named with the call that gets it."""
    author = row.get("person_name") or row.get("author_name") if kind == "health_note" else None
    fields = _PROSE.get(kind, ())
    lines: list[str] = []
    left = SHOWN_BYTES
    for name in fields:
        said = row[name]
        if not said:
            continue
        fits = len(said.encode()[:left].decode(errors="ignore"))
        origin = f"{'note' if kind == 'health_note' else name + ' of'} {row['id']}"
        if fits:
            quoted = quote(said, origin=origin, author=author, written_on=_day(kind, row), limit=fits)
            lines.append(quoted.fenced(nonce))
        left -= len(said.encode()[:left])
        if fits < len(said):
            call = f"{_REST.get(kind, 'get_timeline')} with account {row['account_id']} and detail full"
            lines.append(f"Left out: {len(said) - fits} of {len(said)} characters of its {name}. Call {call}.")
    return lines


_REMARKS: Final = {
    MORE: (
        "More records match",
        (
            "The index holds more matching records than were listed: the newest 100 of names and of texts are ranked, "
            f"the best {MOST_RESULTS} shown. Search again with another word, or with an account's name among the words."
        ),
    ),
    SOME: (
        "No record has all of the words",
        (
            "Every word must be in a record or in its account's name; no record has them all, so those are listed that "
            "have the rarest of them. Search again with fewer words, or with the name of an account and one word."
        ),
    ),
}


def _how_to_narrow(remark: str) -> Document:
    title, said = _REMARKS[remark]
    said += (
        " find_accounts filters accounts, list_contacts people, list_health_notes notes, list_tasks tasks; "
        "get_timeline shows all that happened to one account."
    )
    return Document(id=remark, title=title, url="cs://guide").rendered(lambda _nonce: said)


def _no_such(record: str) -> NotFound:
    return NotFound(
        f"No account, contact, note, meeting, task or opportunity has the id {shown(record, 64)!r}.",
        remedy="Call search, and fetch one of the ids it answers.",
    )
