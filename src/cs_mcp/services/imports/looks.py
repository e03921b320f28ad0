"""Records that this version keeps no table for: read for what they say about the ledger, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.transfer.import_reads import ImportReads
from cs_mcp.services.imports.report import ImportedRow, Looks, Warnings


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


LOOKS = {"churn": look_at_churn}
