"""What a store holds, read straight from its file: a check must not trust the code that it checks."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """One state of one store."""

    file: Path
    today: date

    def rows(self, sql: str, **given: Any) -> list[Row]:
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as store:
            store.row_factory = sqlite3.Row
            return [dict(row) for row in store.execute(sql, given)]

    def one(self, sql: str, **given: Any) -> Row:
        """The only row; ValueError where there is none or more."""
        [row] = self.rows(sql, **given)
        return row

    def values(self, sql: str, **given: Any) -> list[Any]:
        """The first column."""
        return [next(iter(row.values())) for row in self.rows(sql, **given)]

    def value(self, sql: str, **given: Any) -> Any:
        [value] = self.values(sql, **given)
        return value

    @staticmethod
    def day(held: str | None) -> date:
        """A day as columns hold it."""
        assert held is not None, "the demo book has a day here"
        return date.fromisoformat(held)

    def as_held(self, name: str) -> str:
        """A day that people speak of, as columns hold it."""
        return days(self.today)[name].isoformat()

    def spoken(self, name: str) -> date:
        """A day that people speak of."""
        return days(self.today)[name]

    # -- what most tasks ask ----------------------------------------------------------------------------------
    def account(self, name: str) -> Row:
        return self.one("select * from account where name = :name and removed_at is null", name=name)

    def score(self, account: str) -> float | None:
        [score] = self.values("select score from account_score where account_id = :id", id=self.account(account)["id"])
        return score

    def contact(self, account: str, name: str) -> Row:
        sql = "select * from contact where account_id = :account and name = :name and removed_at is null"
        return self.one(sql, account=self.account(account)["id"], name=name)

    def owned_by(self, name: str, where: str = "1", **given: Any) -> list[Row]:
        """Accounts of one of us, by name."""
        owner = self.member(name)["id"]
        sql = f"select * from account where owner_id = :owner and removed_at is null and {where} order by name"
        return self.rows(sql, owner=owner, **given)

    def member(self, name: str) -> Row:
        return self.one("select * from member where name = :name and removed_at is null", name=name)

    def of_account(self, table: str, name: str, where: str = "1", **given: Any) -> list[Row]:
        """Rows of a table that hang on an account, oldest first."""
        sql = f"select * from {table} where account_id = :account and removed_at is null and {where} order by id"
        return self.rows(sql, account=self.account(name)["id"], **given)

    def arr_on(self, day: date, owner: str) -> dict[str, int]:
        """ARR by currency of the accounts one of us owns, in minor units, from the movements until that day."""
        sql = (
            "select movement.currency, sum(amount_minor) as arr from arr_movement movement "
            "join account on account.workspace = movement.workspace and account.id = movement.account_id "
            'where owner_id = :owner and movement."on" <= :day and movement.removed_at is null '
            "and account.removed_at is null group by 1 having arr <> 0"
        )
        found = self.rows(sql, owner=self.member(owner)["id"], day=day.isoformat())
        return {row["currency"]: row["arr"] for row in found}

    def head(self) -> int:
        return self.value("select max(seq) from change")

    def entries_after(self, seq: int) -> list[Row]:
        """Entries of the history past a place, with what they changed."""
        sql = (
            'select change.*, member.name as actor, payload."before", payload."after" from change '
            "join change_payload payload using (workspace, seq) "
            "left join member on member.workspace = change.workspace and member.id = change.actor_id "
            "where seq > :seq order by seq"
        )
        return [
            {**row, **{name: json.loads(row[name]) if row[name] else None for name in ("before", "after", "fields")}}
            for row in self.rows(sql, seq=seq)
        ]


def days(today: date) -> dict[str, date]:
    """The days that people speak of, whatever today is."""
    friday = today + timedelta(days=(4 - today.weekday() - 1) % 7 + 1)
    month = today.month + 2
    return {
        "today": today,
        "yesterday": today - timedelta(days=1),
        "tomorrow": today + timedelta(days=1),
        "friday": friday,  # the next one, never today
        "in_ten_days": today + timedelta(days=10),
        "in_two_weeks": today + timedelta(days=14),
        "in_a_month": today + timedelta(days=30),
        "in_two_months": today + timedelta(days=60),
        "last_week": today - timedelta(days=7),
        "half_a_year_ago": today - timedelta(days=182),
        "a_hundred_days_ago": today - timedelta(days=100),
        "a_year_ago": today - timedelta(days=365),
        "last_day_of_month_after_next": date(today.year + month // 12, month % 12 + 1, 1) - timedelta(days=1),
    }
