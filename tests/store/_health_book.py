"""A random book of accounts with signals of every kind, and what its facts are on a day, worked out in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

from book import unit

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow, name_key
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.signals.signals import CompanyEventRow, FeatureRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.store import Store
from cs_mcp.db.usage.writing import UsageTold, UsageWritten, write_usage
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.people.stakeholders import HEIGHT_OF_LEVEL
from cs_mcp.domain.signals.usage import METRICS

Rows = list[dict[str, Any]]
SENTIMENTS = ["positive", "neutral", "negative", None]
KINDS = ["qbr", "ebr", "value_review", "training", "check_in", "call", "email"]
CADENCE = {"high": 30, "mid": 90, "low": 365}
TABLES: dict[str, Any] = {
    "account": AccountRow,
    "contact": ContactRow,
    "sponsorship": SponsorshipRow,
    "meeting": MeetingRow,
    "health_note": HealthNoteRow,
    "ticket": TicketRow,
    "survey_response": SurveyResponseRow,
    "invoice": InvoiceRow,
    "arr_movement": ArrMovementRow,
    "subscription": SubscriptionRow,
    "company_event": CompanyEventRow,
}


def at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour, 30), UTC)


@dataclass
class HealthBook:
    """Rows by table, and usage as (account, day, metric or feature, department) → figure."""

    rows: dict[str, Rows] = field(default_factory=dict)
    usage: dict[tuple[str, date, str, str], int] = field(default_factory=dict)
    core: list[str] = field(default_factory=list)

    @property
    def accounts(self) -> list[str]:
        return [account["id"] for account in self.rows["account"]]

    async def write(self, store: Store, team: Team) -> None:
        operator = await team.services.identity.operator(team.workspace)
        async with unit(store, operator) as work:
            features = [(f, True) for f in self.core] + [(store.ids.new("feature"), None)]
            rows = [{"id": f, "name": f, "is_core": core} for f, core in features]
            await bulk_create(work, FeatureRow, rows)
            for table, row in TABLES.items():
                await bulk_create(work, row, self.rows[table])
            told = UsageTold()
            for (account, day, what, department), value in self.usage.items():
                if what in METRICS:
                    told.tell(account, day.toordinal(), METRICS.index(what), value, name_key(department))
                else:
                    told.tell_feature(account, day.toordinal(), what, value)
            await write_usage(work, told, UsageWritten())


def random_book(store: Store, random: Random, today: date, accounts: int) -> HealthBook:
    """Each account has each feed or has it not; days lie from 500 before `today` to 90 after."""
    book = HealthBook({table: [] for table in TABLES}, core=[store.ids.new("feature") for _ in range(3)])

    def some_day(back: int = 500, ahead: int = 0) -> date:
        return today - timedelta(days=random.randint(-ahead, random.choice([35, 100, 200, back])))

    def maybe(value: Any, odds: float = 0.5) -> Any:
        return value if random.random() < odds else None

    def add(table: str, **values: Any) -> dict[str, Any]:
        row = {"id": store.ids.new(table), "removed_at": maybe(at(today, 1), 0.05)} | values
        book.rows[table].append(row)
        return row

    for n in range(accounts):
        account = add(
            "account",
            name=f"Customer {n}",
            segment=random.choice(["smb", "mid_market", "enterprise"]),
            tier="standard",
            touch=random.choice(list(CADENCE)),
            stage=random.choice(["adoption", "adoption", "renewal", "churned"]),
            onboarding_status="complete",
            currency="USD",
            tags=[],
            custom={},
            created_on=maybe(some_day(300)),
            renewal_on=maybe(some_day(60, 90)),
        )
        mine = {"account_id": account["id"]}
        people = [
            add(
                "contact",
                **mine,
                name=f"Person {k}",
                department=random.choice([None, "Finance", "finance", "Design", "IT"]),
                level=random.choice([None, *(level.value for level in HEIGHT_OF_LEVEL)]),
                roles=[],
                status=random.choice(["active", "active", "active", "on_leave", "departed"]),
                departed_on=maybe(some_day(), 0.25),
                last_confirmed_on=maybe(some_day()),
            )
            for k in range(random.choice([0, 2, 4]))
        ]
        for person in random.sample(people, k=min(len(people), random.randint(0, 3))):
            starts = some_day()
            role = random.choice(["executive_sponsor", "executive_sponsor", "champion"])
            ends = random.choice([None, None, person["departed_on"], starts + timedelta(days=random.randint(0, 300))])
            seat = {"from_on": starts, "to_on": ends}
            add("sponsorship", **mine, contact_id=person["id"], role=role, **seat)
        for _ in range(random.choice([0, 3, 6])):
            who = [
                {"contact_id": p["id"], "user_id": None, "attended": random.random() < 0.8}
                for p in random.sample(people, k=min(len(people), 2))
            ]
            who.append({"user_id": "usr_1", "contact_id": None, "attended": True})
            add("meeting", **mine, kind=random.choice(KINDS), status=random.choice(["held", "held", "planned"]),
                held_on=some_day(500, 20), attendees=random.choice([who, who, []]), decisions=[], product_requests=[],
                roi_shown=False, sentiment=random.choice(SENTIMENTS))  # fmt: skip
        notes: Rows = []
        for _ in range(random.choice([0, 0, 3])):
            corrects = random.choice(notes)["id"] if notes and random.random() < 0.4 else None
            notes.append(add("health_note", **mine, written_on=some_day(), text="A note.", corrects_id=corrects,
                             sentiment=random.choice(SENTIMENTS)))  # fmt: skip
        for _ in range(random.choice([0, 0, 4])):
            opened = some_day()
            solved = maybe(opened + timedelta(days=random.randint(0, 30)))
            add("ticket", **mine, severity=random.choice([None, 1, 2, 3]), opened_at=at(opened, 3),
                resolved_at=at(solved, 9) if solved else None, status="resolved" if solved else "open",
                escalated=random.random() < 0.3, sla_breached=random.choice([None, True, False]))  # fmt: skip
        for _ in range(random.choice([0, 0, 3])):
            scale = random.choice([10, 5, 7])
            told = at(some_day(), random.randint(0, 23))
            add("survey_response", **mine, kind="nps" if scale == 10 else "csat", scale_max=scale, invited=True,
                score=float(random.randint(0, scale)), answered_at=told, tags=[])  # fmt: skip
        for _ in range(random.choice([0, 0, 3])):
            due = some_day(500, 20)
            paid = maybe(due + timedelta(days=random.randint(-10, 90)))
            status = "paid" if paid else random.choice(["open", "void", "written_off"])
            add("invoice", **mine, amount_minor=100, currency="USD", due_on=due, paid_on=paid, status=status)
        for _ in range(random.choice([0, 2, 4])):
            kind = random.choice(["new", "expansion", "contraction", "churn"])
            amount = random.randint(1, 900) * (-1 if kind in ("contraction", "churn") else 3)
            add("arr_movement", **mine, on=some_day(500, 20), kind=kind, amount_minor=amount,
                currency=random.choice(["USD", "USD", "EUR"]))  # fmt: skip
        for _ in range(random.choice([0, 1, 2])):
            starts = some_day()
            add("subscription", **mine, starts_on=starts, ends_on=maybe(starts + timedelta(days=365)), arr_minor=1,
                canceled_on=maybe(some_day(), 0.2), currency="USD", seats=maybe(random.randint(1, 40)),
                term_months=random.choice([None, 1, 12, 36]), auto_renew=random.choice([None, True, False]),
                trial=random.random() < 0.1)  # fmt: skip
        for _ in range(random.choice([0, 0, 2])):
            add("company_event", **mine, on=some_day(), kind=random.choice(["layoff", "funding", "acquisition"]))
        if random.random() < 0.5:
            _use(book, random, today, account["id"])
    return book


def _use(book: HealthBook, random: Random, today: date, account: str) -> None:
    odds, level = random.choice([0.2, 0.9]), random.randint(1, 20)
    for back in range(random.choice([0, 0, 40]), 95):
        day = today - timedelta(days=back)
        for metric, most in (("active_users", level), ("power_sessions", 9), ("seats_used", 30)):
            if random.random() < odds:
                book.usage[account, day, metric, ""] = random.randint(0, most)
                if metric == "active_users" and random.random() < 0.7:
                    book.usage[account, day, metric, "Finance"] = random.randint(0, level)
        if random.random() < 0.1:
            book.usage[account, day, random.choice(book.core), ""] = random.randint(1, 5)


# -- the facts of one account, from its rows --------------------------------------------------------------------


class Oracle:
    """What `db/facts/facts.py` must find, for accounts that are customers on the day."""

    def __init__(self, book: HealthBook, day: date) -> None:
        self.book, self.day = book, day
        self.contacts = {row["id"]: row for row in book.rows["contact"]}

    def rows(self, table: str, account: str) -> Rows:
        rows = self.book.rows[table]
        return [row for row in rows if row["account_id"] == account and row["removed_at"] is None]

    def age(self, day: date | None) -> int | None:
        return None if day is None else (self.day - day).days

    def of(self, account: dict[str, Any]) -> dict[str, Any] | None:
        movements = [m for m in self.rows("arr_movement", account["id"]) if m["on"] <= self.day]
        movements = [m for m in movements if m["currency"] == account["currency"]]
        arr = sum(m["amount_minor"] for m in movements)
        born = account["created_on"] is None or account["created_on"] <= self.day
        if account["removed_at"] is not None or not born or (account["stage"] == "churned" and arr <= 0):
            return None
        found = {"segment": account["segment"], "tier": account["tier"], "touch": account["touch"]}
        found |= self._support(account) | self._voice(account) | self._people(account) | self._usage(account)
        found |= self._commercial(account)
        if movements:
            lost = [m for m in movements if m["kind"] == "contraction" and self.age(m["on"]) < 365]
            found |= {"arr_minor": arr, "contracted_365_minor": -sum(m["amount_minor"] for m in lost)}
        return found

    def _instants(self, rows: Rows, name: str) -> Iterable[tuple[int, dict[str, Any]]]:
        for row in rows:
            if row[name] is not None and row[name].date() <= self.day:
                yield (self.day - row[name].date()).days, row

    def _support(self, account: dict[str, Any]) -> dict[str, Any]:
        told = list(self._instants(self.rows("ticket", account["id"]), "opened_at"))
        if not told:
            return {}
        still = [t for _, t in told if (t["resolved_at"] is None and t["status"] != "resolved")
                 or (t["resolved_at"] and t["resolved_at"].date() > self.day)]  # fmt: skip
        lately = [t for age, t in told if age < 90]
        solved = [t for age, t in self._instants([t for _, t in told], "resolved_at") if age < 90]
        hours = [(t["resolved_at"] - t["opened_at"]).total_seconds() / 3600 for t in solved]
        return {
            "open_sev1": sum(t["severity"] == 1 for t in still),
            "open_sev2": sum(t["severity"] == 2 for t in still),
            "open_tickets": len(still),
            "tickets_30": sum(age < 30 for age, _ in told),
            "tickets_prev_60": sum(30 <= age < 90 for age, _ in told),
            "resolved_90": len(solved),
            "resolution_hours": sum(hours) / len(hours) if hours else None,
            "sla_told_90": sum(t["sla_breached"] is not None for t in lately),
            "sla_breaches_90": sum(t["sla_breached"] is True for t in lately),
            "escalations_90": sum(t["escalated"] for t in lately),
        }

    def _voice(self, account: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        answers = self.rows("survey_response", account["id"])
        told = [(age, a) for age, a in self._instants(answers, "answered_at") if age < 365]
        if told:
            weights = [4 if age < 30 else 3 if age < 90 else 2 if age < 180 else 1 for age, _ in told]
            scores = [int(a["score"] * 10000 / a["scale_max"] + 0.5) / 100 for _, a in told]
            mean = sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)
            found |= {"survey_answers": len(told), "survey_score": mean, "survey_age_days": min(a for a, _ in told)}
        nps = [a for _, a in self._instants(answers, "answered_at") if a["kind"] == "nps"]
        if nps:
            newest = max(nps, key=lambda a: (a["answered_at"], a["id"]))
            found["nps_latest"] = newest["score"]
        notes = [n for n in self.rows("health_note", account["id"]) if n["written_on"] <= self.day]
        corrected = {n["corrects_id"] for n in notes}
        said = [n["sentiment"] for n in notes if self.age(n["written_on"]) < 90 and n["id"] not in corrected]
        said += [m["sentiment"] for m in self._held(account, 90)]
        said = [sentiment for sentiment in said if sentiment is not None]
        if said:
            total = sum({"positive": 1, "negative": -1}.get(sentiment, 0) for sentiment in said)
            found |= {"sentiments_90": len(said), "sentiment_sum": total}
        return found

    def _held(self, account: dict[str, Any], days: int = 100_000) -> Rows:
        rows = [m for m in self.rows("meeting", account["id"]) if m["status"] == "held" and m["held_on"] <= self.day]
        return [m for m in rows if self.age(m["held_on"]) < days]

    def _is_there(self, contact: dict[str, Any]) -> bool:
        left = contact["departed_on"]
        return left > self.day if left else contact["status"] != "departed"

    def _met(self, meeting: dict[str, Any]) -> set[str]:
        return {who["contact_id"] for who in meeting["attendees"] if who["contact_id"] and who["attended"]}

    def _people(self, account: dict[str, Any]) -> dict[str, Any]:
        held = self._held(account)
        found: dict[str, Any] = {"cadence_days": CADENCE[account["touch"]]}
        if held:
            reviews = [m["held_on"] for m in held if m["kind"] in ("qbr", "ebr", "value_review")]
            lately = {c for m in held if self.age(m["held_on"]) < 90 for c in self._met(m)}
            engaged = [self.contacts[c] for c in lately]
            engaged = [c for c in engaged if self._is_there(c) and c["status"] != "on_leave"]
            heights = {HEIGHT_OF_LEVEL.get(c["level"]) for c in engaged} - {None}
            departments = {c["department"].casefold() for c in engaged if c["department"]}
            attended = [m for m in held if m["kind"] in ("qbr", "ebr", "value_review", "training") and self._met(m)]
            found |= {
                "touch_age_days": min(self.age(m["held_on"]) for m in held),
                "review_age_days": self.age(max(reviews, default=None)),
                "attended_365": sum(self.age(m["held_on"]) < 365 for m in attended),
                "engaged_contacts": len(engaged),
                "engaged_heights": len(heights),
                "engaged_functions": len(departments),
            }
        contacts = self.rows("contact", account["id"])
        if contacts:
            found["contacts"] = sum(self._is_there(c) for c in contacts)
        return found | self._sponsors(account, held, found.get("contacts", 0))

    def _sponsors(self, account: dict[str, Any], held: Rows, contacts: int) -> dict[str, Any]:
        seats = [s for s in self.rows("sponsorship", account["id"]) if s["from_on"] <= self.day]
        in_seat = [s for s in seats if s["to_on"] is None or s["to_on"] > self.day]
        in_seat = [s for s in in_seat if self._is_there(self.contacts[s["contact_id"]])]
        sponsors = [s for s in in_seat if s["role"] == "executive_sponsor"]
        found: dict[str, Any] = {}
        if seats or contacts:
            found["sponsor_present"] = bool(sponsors)
            found["champion_present"] = any(s["role"] == "champion" for s in in_seat)
        if sponsors:
            days = [s["from_on"] for s in sponsors]
            days += [
                d for s in sponsors if (d := self.contacts[s["contact_id"]]["last_confirmed_on"]) and d <= self.day
            ]
            days += [m["held_on"] for m in held for s in sponsors
                     if self.age(m["held_on"]) < 180 and s["contact_id"] in self._met(m)]  # fmt: skip
            found["sponsor_age_days"] = self.age(max(days))
        if seats:
            gone = [
                left
                for s in seats
                if s["role"] == "executive_sponsor"
                and (left := self.contacts[s["contact_id"]]["departed_on"])
                and s["from_on"] <= left <= self.day
                and (s["to_on"] is None or s["to_on"] >= left)
            ]
            since = min([max(gone), *([max(s["from_on"] for s in sponsors)] if sponsors else [])]) if gone else None
            heir = max((s["contact_id"] for s in sponsors), default=None)
            met = any(m["held_on"] >= since and heir in self._met(m) for m in held) if since else True
            found["sponsor_departed"] = bool(gone) and not met
        return found

    def _commercial(self, account: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        invoices = [i for i in self.rows("invoice", account["id"]) if i["due_on"] <= self.day]
        invoices = [i for i in invoices if i["status"] not in ("void", "written_off")]
        if invoices:
            unpaid = [i for i in invoices if i["paid_on"] is None or i["paid_on"] > self.day]
            due = [i["due_on"] for i in unpaid if i["due_on"] < self.day]
            lately = [i for i in invoices if self.age(i["due_on"]) < 365]
            late = [i for i in lately if (i in unpaid and i["due_on"] < self.day)
                    or (i["paid_on"] is not None and i["paid_on"] > i["due_on"])]  # fmt: skip
            overdue = self.age(min(due)) if due else 0
            found |= {"overdue_days": overdue, "invoices_365": len(lately), "late_365": len(late)}
        running = [
            s
            for s in self.rows("subscription", account["id"])
            if s["starts_on"] <= self.day
            and not s["trial"]
            and (s["canceled_on"] is None or s["canceled_on"] > self.day)
            and (s["ends_on"] is None or s["ends_on"] >= self.day)
        ]
        ends = [s["ends_on"] for s in running if s["ends_on"]]
        renews = account["renewal_on"] if account["renewal_on"] and account["renewal_on"] >= self.day else None
        if (end := min(ends, default=renews)) is not None:
            found["days_to_renewal"] = (end - self.day).days
        seats = [s["seats"] for s in running if s["seats"] is not None]
        terms = [s["term_months"] for s in running if s["term_months"] is not None]
        renewing = [s["auto_renew"] for s in running if s["auto_renew"] is not None]
        found |= {"seats_licensed": sum(seats)} if seats else {}
        found |= {"term_months": max(terms)} if terms else {}
        found |= {"auto_renew": all(renewing)} if renewing else {}
        events = [e for e in self.rows("company_event", account["id"]) if e["on"] <= self.day]
        if events:
            lately = [e for e in events if self.age(e["on"]) < 180]
            bad = sum(e["kind"] in ("layoff", "acquisition") for e in lately)
            found |= {"company_events_180": len(lately), "bad_events_180": bad}
        return found

    def _usage(self, account: dict[str, Any]) -> dict[str, Any]:
        told = {(day, what): value for (one, day, what, department), value in self.book.usage.items()
                if one == account["id"] and not department and day <= self.day}  # fmt: skip
        if not told:
            return {}

        def window(metric: str, first: int, last: int) -> list[int]:
            return [v for (day, what), v in told.items() if what == metric and first <= self.age(day) <= last]

        now, before = window("active_users", 0, 29), window("active_users", 30, 59)
        found: dict[str, Any] = {
            "usage_age_days": min(self.age(day) for day, _ in told),
            "active_30": sum(now) if now else None,
            "days_30": len(now),
            "days_prev_30": len(before),
        }
        if len(now) >= 7 and len(before) >= 7 and sum(before):
            found["active_change"] = sum(now) * len(before) / (sum(before) * len(now)) - 1.0
        for week, first in (("power_w1", 0), ("power_w2", 7), ("power_w3", 14)):
            sessions = window("power_sessions", first, first + 6)
            found[week] = sum(sessions) if sessions else None
        used = {what for (day, what) in told if what in self.book.core and self.age(day) < 30}
        if any(what not in METRICS for _, what in told):
            found["core_used_30"] = len(used)
        return found | {"core_total": len(self.book.core)}
