from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from cs_mcp.connectors.records import RECORDS, ContactRecord, SurveyRecord, reason_of

SUBSCRIPTION = {"subscription_id": "S1", "account_id": "A1", "starts_on": "2024-01-01", "arr": "1"}
TICKET = {"ticket_id": "T1", "account_id": "A1", "opened_at": "2024-01-01T00:00:00Z"}
SURVEY = {"response_id": "R1", "account_id": "A1", "kind": "nps", "score": "9", "answered_at": "2024-01-01T00:00:00Z"}
ACCOUNT = {"account_id": "A1", "name": "Acme"}
CONTACT = {"contact_id": "C1", "account_id": "A1", "name": "Kim"}


@pytest.mark.parametrize(
    ("kind", "cells", "told"),
    [
        ("accounts", {"name": "Acme"}, "account_id: is missing, and every row needs it"),
        ("accounts", ACCOUNT | {"account_id": " A1"}, "account_id: ' A1' has spaces around it"),
        ("accounts", ACCOUNT | {"account_id": "A\u200b1"}, "holds a character that cannot be seen"),
        ("accounts", ACCOUNT | {"name": "Ac\x00me"}, r"name: 'Ac\x00me' holds a NUL character"),
        ("accounts", ACCOUNT | {"name": "\ud800"}, "half of a character"),
        ("accounts", ACCOUNT | {"name": "x" * 501}, "is 501 characters long; 500 is the limit"),
        ("accounts", ACCOUNT | {"custom": {"Region": "\x00"}}, r"custom: Region: '\x00' holds a NUL character"),
        ("accounts", ACCOUNT | {"tier": "silver"}, "tier: 'silver' is not one of platinum, gold, standard"),
        ("accounts", ACCOUNT | {"employees": "1,200"}, "employees: '1,200' is not a whole number"),
        ("accounts", ACCOUNT | {"currency": "$"}, "currency: '$' is not a currency of ISO 4217"),
        ("accounts", ACCOUNT | {"owner_email": "Ana"}, "owner_email: 'Ana' is not an e-mail address"),
        ("contacts", CONTACT | {"roles": "champion;king"}, "roles: 'king' is not one of primary, "),
        ("subscriptions", SUBSCRIPTION | {"starts_on": "20240101"}, "'20240101' is not a date (YYYY-MM-DD)"),
        ("subscriptions", SUBSCRIPTION | {"starts_on": "2024-W01-1"}, "'2024-W01-1' is not a date"),
        ("subscriptions", SUBSCRIPTION | {"ends_on": "9999-12-31"}, "ends_on: '9999-12-31' is outside the years"),
        ("subscriptions", SUBSCRIPTION | {"arr": "1,200.50"}, "arr: '1,200.50' is not a number"),
        ("subscriptions", SUBSCRIPTION | {"arr": "NaN"}, "arr: 'NaN' is not a number"),
        ("subscriptions", SUBSCRIPTION | {"arr": "1e9"}, "arr: '1e9' is not a number"),
        ("subscriptions", SUBSCRIPTION | {"trial": "maybe"}, "trial: 'maybe' is neither true nor false"),
        ("tickets", TICKET | {"opened_at": "2024-01-01T09:00:00"}, "names no time zone"),
        ("tickets", TICKET | {"severity": "0"}, "severity: '0' is not a severity"),
        ("surveys", SURVEY | {"score": "11"}, "score: 11 is not on a scale of 0 to 10"),
        ("fx_rates", {"on": "2024-01-01", "currency": "EUR", "rate": "0"}, "rate: '0' is not above zero"),
    ],
)
def test_a_reason_reads_as_a_sentence(kind: str, cells: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RECORDS[kind].model_validate(cells)

    why = reason_of(caught.value, {})
    assert told in why
    assert "Value error" not in why


def test_cells_become_typed_values() -> None:
    cells = {"level": "C Level", "roles": "Champion; decision-maker;", "sentiment": "POSITIVE"}

    record = ContactRecord.model_validate(CONTACT | cells)

    assert (record.level, record.roles, record.sentiment) == ("c_level", ("champion", "decision_maker"), "positive")


def test_instants_are_kept_in_utc_and_a_score_on_its_own_scale() -> None:
    cells = SURVEY | {"score": "87", "scale_max": "100.0", "answered_at": "2024-01-01T01:30:00+02:00"}

    record = SurveyRecord.model_validate(cells)

    assert record.answered_at == datetime(2023, 12, 31, 23, 30, tzinfo=UTC)
    assert (record.score, record.scale_max) == (Decimal(87), 100)


def test_every_record_is_told_from_others_by_its_own_fields() -> None:
    assert len(RECORDS) == 23
    for model in RECORDS.values():
        assert set(model.identity) <= set(model.model_fields)
