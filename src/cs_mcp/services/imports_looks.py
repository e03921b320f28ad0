"""Records that this version keeps no table for: read for what they say about the ledger, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.import_reads import ImportReads
from cs_mcp.services.imports_report import ImportedRow, Looks, Warnings


async def look_at_usage(reads: ImportReads, rows: Sequence[ImportedRow], warnings: Warnings) -> None:
    """Usage before an account's first day under contract."""
    accounts = await reads.by_source(AccountRow, sorted({row.told["account_id"] for row in rows}))
    first = await reads.first_days([account["id"] for account in accounts.values()])
    for row in rows:
        key = row.told["account_id"]
        account = accounts.get(key)
        if account is None:
            warnings.add(Looks.unknown_account, key)
        elif (day := first.get(account["id"])) is not None and row.told["on"] < day:
            warnings.add(Looks.usage_first, f"account {key} on {row.told['on']}, its contract starts on {day}")


async def look_at_churn(reads: ImportReads, rows: Sequence[ImportedRow], warnings: Warnings) -> None:
    """Accounts said to have churned whose ledger still has ARR at the end of that day."""
    accounts = await reads.by_source(AccountRow, sorted({row.told["account_id"] for row in rows}))
    movements = await reads.live_movements([account["id"] for account in accounts.values()])
    ledger: dict[str, list[tuple[date, int]]] = {}
    for movement in movements:
        ledger.setdefault(movement["account_id"], []).append((movement["on"], movement["amount_minor"]))
    for row in rows:
        key, day = row.told["account_id"], row.told["churned_on"]
        account = accounts.get(key)
        if account is None:
            warnings.add(Looks.unknown_account, key)
        elif sum(amount for on, amount in ledger.get(account["id"], ()) if on <= day) > 0:
            warnings.add(Looks.churned_yet_paying, f"account {key} churned on {day}, and has ARR after it")


LOOKS = {"usage": look_at_usage, "churn": look_at_churn}
