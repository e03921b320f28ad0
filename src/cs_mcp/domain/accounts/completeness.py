"""What must be known of an account: fields that somebody fills, and feeds that its health is computed from."""

from __future__ import annotations

from typing import Final

# In the words of find_accounts' `missing`; what each is called in a sentence.
REQUIRED_FIELDS: Final = {
    "owner": "an owner",
    "renewal_on": "a renewal day",
    "subscription": "a subscription",
    "contacts": "active contacts",
    "executive_sponsor": "an executive sponsor",
    "champion": "a champion",
    "last_touch_on": "a meeting, call or e-mail",
}
REQUIRED_FEEDS: Final = {
    "usage": "usage",
    "tickets": "tickets",
    "surveys": "survey answers",
    "invoices": "invoices",
}
REQUIRED: Final = REQUIRED_FIELDS | REQUIRED_FEEDS
