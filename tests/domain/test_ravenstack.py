from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cs_mcp.connectors.reading import Reading, RejectedRow, SourceFile, SourceRow, UnreadableFile, open_source
from cs_mcp.connectors.records import (
    AccountRecord,
    ChurnRecord,
    SourceRecord,
    SubscriptionRecord,
    TicketRecord,
    UsageRecord,
)
from cs_mcp.domain.revenue.ledger import Movement, SubscriptionSpan, arr_on, derive_movements, first_day_without

ROOT = Path(__file__).parents[2]
EXTRACT = ROOT / "tests" / "data" / "ravenstack"
WHOLE = Path(os.environ.get("CS_MCP_RAVENSTACK") or ROOT.parent / "shared" / "data" / "ravenstack")
with_whole_ravenstack = pytest.mark.skipif(
    not (WHOLE / "ravenstack_accounts.csv").is_file(),
    reason="the whole RavenStack is not here: set CS_MCP_RAVENSTACK to its folder",
)


def records(file: SourceFile) -> list[SourceRecord]:
    """Every row's record; a rejected row fails the test with its reason."""
    found: list[SourceRecord] = []
    for row in file.rows():
        assert isinstance(row, SourceRow), row
        found.append(row.record)
    return found


def rejected(file: SourceFile) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in file.rows() if isinstance(row, RejectedRow)]


def by_kind(reading: Reading) -> dict[str, list[SourceRecord]]:
    return {file.kind: records(file) for file in reading.files}


def ledger_of(subscriptions: list[SourceRecord]) -> list[Movement]:
    spans = [
        SubscriptionSpan(
            account=record.account_id,
            subscription=record.subscription_id,
            starts_on=record.starts_on,
            first_day_without=first_day_without(ends_on=record.ends_on, canceled_on=record.canceled_on),
            arr_minor=int(record.arr * 100),
            trial=bool(record.trial),
        )
        for record in subscriptions
        if isinstance(record, SubscriptionRecord)
    ]
    return derive_movements(spans)


def test_ravenstack_reads_as_our_records() -> None:
    reading = open_source(EXTRACT, "ravenstack")

    assert reading.unread == ["README.md"]
    found = by_kind(reading)
    assert {kind: len(rows) for kind, rows in found.items()} == {
        "accounts": 20,
        "subscriptions": 19,
        "usage": 20,
        "tickets": 20,
        "churn": 20,
    }
    assert found["accounts"][0] == AccountRecord(
        account_id="A-2e4581",
        name="Company_0",
        industry="EdTech",
        currency="USD",
        created_on=date(2024, 10, 16),
        custom={
            "country": "US",
            "referral_source": "partner",
            "plan_tier": "Basic",
            "seats": "9",
            "is_trial": "FALSE",
            "churn_flag": "FALSE",
        },
    )
    canceled = next(record for record in found["subscriptions"] if record.key == ("S-b4212b",))
    assert canceled == SubscriptionRecord(
        subscription_id="S-b4212b",
        account_id="A-10b8da",
        product="Enterprise",
        starts_on=date(2023, 5, 12),
        canceled_on=date(2024, 1, 21),
        arr=Decimal(40596),
        currency="USD",
        seats=17,
        auto_renew=True,
        term_months=1,
        trial=False,
    )
    assert found["tickets"][0] == TicketRecord(
        ticket_id="T-30b537",
        account_id="A-2e4581",
        severity=1,
        opened_at=datetime(2023, 9, 9, tzinfo=UTC),
        first_response_at=datetime(2023, 9, 9, 1, 4, tzinfo=UTC),
        resolved_at=datetime(2023, 9, 10, 3, 0, tzinfo=UTC),
        escalated=False,
        csat=3,
    )
    assert found["churn"][0] == ChurnRecord(
        account_id="A-956988", churned_on=date(2024, 12, 30), note="too expensive; recorded reason: unknown"
    )


def test_ravenstacks_columns_that_nothing_reads_are_named() -> None:
    accounts, subscriptions, *_ = open_source(EXTRACT, "ravenstack").files
    accounts.check()
    subscriptions.check()

    assert accounts.warnings == []
    assert "'mrr_amount', 'upgrade_flag', 'downgrade_flag', 'churn_flag'" in subscriptions.warnings[0]


def test_one_feature_used_through_two_subscriptions_of_an_account_is_summed() -> None:
    usage = by_kind(open_source(EXTRACT, "ravenstack"))["usage"]
    same = Counter(record.key for record in usage)

    (key,) = [key for key, count in same.items() if count > 1]

    assert key == ("A-659280", date(2023, 7, 31), "feature_events", None, "feature_26")
    assert [r.value for r in usage if isinstance(r, UsageRecord) and r.key == key] == [25.0, 25.0]


def test_the_extracts_ledger_ties_out_to_what_is_live() -> None:
    subscriptions = by_kind(open_source(EXTRACT, "ravenstack"))["subscriptions"]

    movements = ledger_of(subscriptions)

    live = [r for r in subscriptions if isinstance(r, SubscriptionRecord) and not r.trial and r.canceled_on is None]
    assert arr_on(movements, date(2024, 12, 31)) == sum(int(record.arr * 100) for record in live)
    assert not {"S-4f0027", "S-51c0d1"} & {movement.subscription for movement in movements}


def test_a_reason_names_ravenstacks_own_column(tmp_path: Path) -> None:
    for file in EXTRACT.glob("*.csv"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "ravenstack_subscriptions.csv").open("a", encoding="utf-8") as file:
        file.write("S-1,A-2e4581,31.12.2024,-,Pro,5,10,120,FALSE,FALSE,FALSE,FALSE,annual,TRUE\n")
        file.write("S-2,A-2e4581,2024-12-31,,Pro,5,10,120,FALSE,FALSE,FALSE,FALSE,weekly,TRUE\n")
    with (tmp_path / "ravenstack_feature_usage.csv").open("a", encoding="utf-8") as file:
        file.write("U-1,S-9,2024-12-31,feature_1,3,60,0,False\n")
    _, subscriptions, usage, *_ = open_source(tmp_path, "ravenstack").files

    assert rejected(subscriptions) == [
        (21, "start_date: '31.12.2024' is not a date (YYYY-MM-DD); end_date: '-' is not a date (YYYY-MM-DD)"),
        (22, "billing_frequency: 'weekly' is not one of annual, monthly"),
    ]
    assert rejected(usage) == [(22, "subscription_id: no subscription is called 'S-9'")]


def test_usage_without_the_subscriptions_it_is_told_by_says_so(tmp_path: Path) -> None:
    (tmp_path / "ravenstack_feature_usage.csv").write_bytes((EXTRACT / "ravenstack_feature_usage.csv").read_bytes())
    (usage,) = open_source(tmp_path, "ravenstack").files

    with pytest.raises(UnreadableFile, match=r"ravenstack_subscriptions.csv cannot be opened"):
        list(usage.rows())


@with_whole_ravenstack
def test_the_whole_ravenstack_reads_without_a_rejected_row() -> None:
    found = by_kind(open_source(WHOLE, "ravenstack"))

    assert {kind: len(rows) for kind, rows in found.items()} == {
        "accounts": 500,
        "subscriptions": 5000,
        "usage": 25000,
        "tickets": 2000,
        "churn": 600,
    }
    usage = {record.key: record.value for record in found["usage"] if isinstance(record, UsageRecord)}
    with (WHOLE / "ravenstack_feature_usage.csv").open(encoding="utf-8", newline="") as file:
        assert sum(usage.values()) == sum(int(row["usage_count"]) for row in csv.DictReader(file))


@with_whole_ravenstack
def test_the_whole_ledger_is_the_live_arr_of_each_account() -> None:
    subscriptions = by_kind(open_source(WHOLE, "ravenstack"))["subscriptions"]
    by_account: defaultdict[str, int] = defaultdict(int)
    for movement in ledger_of(subscriptions):
        by_account[movement.account] += movement.amount_minor

    live: defaultdict[str, int] = defaultdict(int)
    for record in subscriptions:
        assert isinstance(record, SubscriptionRecord)
        if not record.trial and record.canceled_on is None:
            live[record.account_id] += int(record.arr * 100)
    assert by_account == live
