"""Signals of an import: tickets, invoices, survey responses and company events as records, usage as figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.signals.signals import CompanyEventRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.domain.signals.signals import SCALES, LoopState, SurveyKind, TicketStatus, csat_of, invoice_status
from cs_mcp.domain.signals.usage import department_key, figure, place_of, refuse_future
from cs_mcp.domain.text import clean_name, clean_text
from cs_mcp.services.imports.columns import Columns, Concept, Known, Told, minor_of, taken
from cs_mcp.services.imports.report import ImportedRow, LeftOut, Looks, Refused, Tally
from cs_mcp.services.imports.sheets import Sheet
from cs_mcp.services.signals.usage import UsageTelling

_GRACE: Final = timedelta(days=1)  # for who is ahead of the workspace's clock


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _refusing(check: Callable[..., Any], *given: Any) -> Any:
    try:
        return check(*given)
    except ValueError as reason:
        raise Refused(str(reason)) from None


def _refuse_to_come(told: Told, known: Known, *names: str) -> None:
    for name in names:
        if (at := told.get(name)) is None:
            continue
        now: date | datetime = known.now if isinstance(at, datetime) else known.today
        if at > now + _GRACE:
            raise Refused(f"{name}: {at} is in the future")


def ticket(told: Told, known: Known) -> Columns:
    _refuse_to_come(told, known, "opened_at", "first_response_at", "resolved_at")
    columns: Columns = {"account_id": known.account_of(told)["id"], "opened_at": told["opened_at"]}
    columns |= taken(told, _same("severity", "first_response_at", "resolved_at", "escalated"))
    columns |= taken(told, _same("category", "subject"), clean_name)
    columns |= taken(told, _same("text"), clean_text)
    columns |= taken(told, _same("csat"), lambda score: _refusing(csat_of, score))
    resolved = told.get("resolved_at")
    if "resolved_at" in told:
        columns["status"] = (TicketStatus.open if resolved is None else TicketStatus.resolved).value
    if resolved is not None and resolved < told["opened_at"]:
        known.warnings.add(
            Looks.dates, f"ticket {told['ticket_id']} is resolved on {resolved.date()}, before it was opened"
        )
    return columns


def invoice(told: Told, known: Known) -> Columns:
    _refuse_to_come(told, known, "paid_on")
    at = known.account_of(told)
    currency = told.get("currency") or at["currency"]
    amount: Decimal = told["amount"]
    columns: Columns = {
        "account_id": at["id"],
        "currency": currency,
        "amount_minor": minor_of(amount, currency, "amount"),
        "due_on": told["due_on"],
    }
    columns |= taken(told, _same("paid_on"))
    if "status" in told or "paid_on" in told:
        columns["status"] = _refusing(invoice_status, told.get("status"), told.get("paid_on")).value
    return columns


def survey(told: Told, known: Known) -> Columns:
    _refuse_to_come(told, known, "answered_at")
    kind = SurveyKind(told["kind"])
    columns: Columns = {
        "account_id": known.account_of(told)["id"],
        "kind": kind.value,
        "score": float(told["score"]),
        "scale_max": told.get("scale_max") or SCALES[kind],
        "answered_at": told["answered_at"],
    }
    columns |= taken(told, _same("invited"))
    columns |= taken(told, _same("loop_state"), _loop_state)
    columns |= taken(told, _same("comment"), clean_text)
    columns |= taken(told, _same("tags"), lambda tags: [clean for tag in tags if (clean := clean_name(tag))])
    return columns


def _loop_state(text: str) -> str:
    name = text.strip().casefold()
    if name not in set(LoopState):
        raise Refused(f"loop_state: {clean_name(text)!r} is not one of {', '.join(LoopState)}")
    return name


def company_event(told: Told, known: Known) -> Columns:
    columns: Columns = {"account_id": known.account_of(told)["id"], "on": told["on"], "kind": str(told["kind"])}
    columns |= taken(told, _same("note"), clean_text)
    columns |= taken(told, _same("source_url"), clean_name)
    return columns


_TICKET: Final = Concept(TicketRow, ticket, lambda _c, _k: {"status": TicketStatus.open.value, "escalated": False})
_INVOICE: Final = Concept(InvoiceRow, invoice, lambda _c, _k: {"status": invoice_status(None, None).value})
_SURVEY: Final = Concept(SurveyResponseRow, survey, lambda _c, _k: {"invited": True, "tags": []})
_EVENT: Final = Concept(CompanyEventRow, company_event, lambda _c, _k: {})


class TicketSheet(Sheet):
    concept = _TICKET


class InvoiceSheet(Sheet):
    concept = _INVOICE


class CompanyEventSheet(Sheet):
    concept = _EVENT


class SurveySheet(Sheet):
    """Who answered is named by the contact's source id, the merged one's too."""

    concept = _SURVEY

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        await super().prepare(rows)
        named = sorted({contact for row in rows if (contact := row.told.get("contact_id"))})
        found = await self.reads.by_source(ContactRow, named) if named else {}
        merged = any(contact["merged_into_id"] for contact in found.values())
        kept = await self.reads.kept(ContactRow) if merged else {}
        self._contacts = {
            key: (kept.get(contact["id"], contact["id"]), contact["account_id"])
            for key, contact in found.items()
            if contact["removed_at"] is None or contact["id"] in kept
        }

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        columns = super().columns_of(row, before)
        if "contact_id" in row.told:
            columns["contact_id"] = self._contact_of(row.told["contact_id"], columns["account_id"])
        return columns

    def _contact_of(self, key: str | None, account: str) -> str | None:
        if key is None:
            return None
        contact, at = self._contacts.get(key, (None, None))
        if contact is None or at != account:
            self.known.warnings.add(Looks.unknown_record, f"survey response: no contact of the account is {key!r}")
            return None
        return contact


class UsageSheet(Sheet):
    """Figures, by account, day, metric, department and feature. They belong to the record the source names, merged
    or not, so that a file which goes on naming it goes on correcting its own figures.
    """

    concept = _EVENT  # no record of its own; the sheet puts its rows itself

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._telling = UsageTelling(self.work, self.source)

    async def put(
        self, rows: Sequence[ImportedRow], refuse: Callable[[ImportedRow, str], None], is_stopping: Callable[[], bool]
    ) -> None:
        accounts = await self._accounts(rows)
        good: list[tuple[ImportedRow, Row, int, str]] = []
        for row in rows:
            try:
                good.append((row, *self._checked(row.told, accounts)))
            except ValueError as reason:
                refuse(row, str(reason))
        await self._warn_of_first_days(good)
        await self._telling.meet_features([row.told["feature"] for row, *_ in good if row.told.get("feature")])
        told: dict[tuple[object, ...], int] = {}
        for row, account, metric, department in good:
            day, value = row.told["on"].toordinal(), figure(row.told["metric"], row.told["value"])
            feature = self._telling.feature(row.told["feature"]) if row.told.get("feature") else None
            if told.setdefault((account["id"], day, feature or metric, department), value) != value:
                refuse(row, "a row before it tells the same figure, and says otherwise")
            elif feature is not None:
                self._telling.told.tell_feature(account["id"], day, feature, value, department)
            else:
                self._telling.told.tell(account["id"], day, metric, value, department)
        if is_stopping():
            return
        await self._telling.write()
        written = self._telling.written
        self.report.records = Tally(created=written.created, updated=written.updated, unchanged=written.unchanged)

    async def _accounts(self, rows: Sequence[ImportedRow]) -> Mapping[str, Row]:
        found = await self.reads.by_source(AccountRow, sorted({row.told["account_id"] for row in rows}))
        return {key: row for key, row in found.items() if row["removed_at"] is None or row["merged_into_id"]}

    def _checked(self, told: Told, accounts: Mapping[str, Row]) -> tuple[Row, int, str]:
        """The account, the metric's place and the department's key of a row that can be stored."""
        account = accounts.get(told["account_id"])
        if account is None:
            self.known.warnings.add(Looks.unknown_account, told["account_id"])
            raise Refused(f"account_id: no account is called {told['account_id']!r}")
        metric = place_of(told["metric"])
        if told.get("feature") and (told["metric"] != "feature_events" or not clean_name(told["feature"])):
            raise Refused("feature: it goes with the metric feature_events and a name")
        figure(told["metric"], told["value"])
        refuse_future(told["on"], self.known.today)
        return account, metric, department_key(clean_name(told.get("department") or ""))

    async def _warn_of_first_days(self, good: Sequence[tuple[ImportedRow, Row, int, str]]) -> None:
        first = await self.reads.first_days(sorted({account["id"] for _, account, *_ in good}))
        for row, account, *_ in good:
            day = first.get(account["id"])
            if day is not None and row.told["on"] < day:
                what = f"account {row.told['account_id']} on {row.told['on']}, its contract starts on {day}"
                self.known.warnings.add(Looks.usage_first, what)

    async def take_gone(self, rows: Sequence[LeftOut]) -> None:
        """A source does not delete figures."""

    async def finish(self) -> None:
        await self._telling.finish()
        if self._telling.new_features:
            self.count_other("feature", Tally(created=len(self._telling.new_features)))
