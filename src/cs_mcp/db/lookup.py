"""Finding records by what people call them: an id, an exact domain or e-mail, a name, or something like a name."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import String, Text, bindparam, func, literal_column, or_, select, union_all

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import by_bytes
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.scoped import Conditions, Scoped

ACCOUNT: Final = AccountRow.__table__
CONTACT: Final = ContactRow.__table__
MEMBER: Final = MemberRow.__table__
CANDIDATES: Final = 50
NAMES_RANKED: Final = 20_000  # beyond this many names only the ones that share a word are ranked

_REF: Final = bindparam("ref", type_=Text)
_KEY: Final = bindparam("key", type_=Text)
_LIKE: Final = bindparam("like", type_=Text)
_IN_ACCOUNT: Final = bindparam("account", type_=String)


def _account(*conditions: Any, limit: int, few: bool = False) -> Any:
    # Where few rows match, the sum keeps SQLite from walking the whole book in the order of its ARR index.
    arr = ACCOUNT.c.arr_minor + literal_column("0") if few else ACCOUNT.c.arr_minor

    def build(scope: Conditions) -> Any:
        return (
            select(ACCOUNT.c.id, ACCOUNT.c.name, ACCOUNT.c.domain)
            .where(*scope, *conditions)
            .order_by(arr.desc(), ACCOUNT.c.id)
            .limit(limit)
        )

    return Scoped("account", build)


def _called() -> Any:
    """The id, domain or name is exactly this, each looked up in its own index: SQLite does not divide an OR so."""

    def by(column: str, value: Any) -> Any:
        other = ACCOUNT.alias()
        live = (other.c.workspace == bindparam("workspace"), other.c.removed_at.is_(None))
        return select(other.c.id).where(*live, other.c[column] == value)

    return ACCOUNT.c.id.in_(union_all(by("id", _REF), by("domain", _KEY), by("name_key", _KEY)))


ACCOUNT_EXACT: Final = _account(_called(), limit=CANDIDATES, few=True)
ACCOUNT_LIKE: Final = _account(
    or_(ACCOUNT.c.name_key.like(_LIKE, escape="\\"), ACCOUNT.c.domain.like(_LIKE, escape="\\")), limit=CANDIDATES
)
ACCOUNT_ALL: Final = _account(limit=NAMES_RANKED)


def _gone(table: Any, *conditions: Any) -> Scoped:
    """Removed records, and what they were merged into."""

    def build(scope: Conditions) -> Any:
        columns = (table.c.id, table.c.name, table.c.removed_at, table.c.merged_into_id)
        gone = (*scope, table.c.removed_at.is_not(None), *conditions)
        return select(*columns).where(*gone).order_by(table.c.id).limit(CANDIDATES)

    return Scoped(table.name, build, removed_too=True)


_MERGED: Final = ACCOUNT.c.merged_into_id.is_not(None)
ACCOUNT_GONE: Final = _gone(ACCOUNT, ACCOUNT.c.id == _REF)
ACCOUNT_MERGED: Final = _gone(ACCOUNT, _MERGED, or_(ACCOUNT.c.domain == _KEY, ACCOUNT.c.name_key == _KEY))
CONTACT_GONE: Final = _gone(CONTACT, CONTACT.c.id == _REF)
CONTACT_BY_ID: Final = Scoped(
    "contact",
    lambda scope: select(CONTACT.c.id, CONTACT.c.name, CONTACT.c.account_id).where(*scope, CONTACT.c.id == _REF),
)


def _contact(*conditions: Any, limit: int) -> Any:
    def build(scope: Conditions) -> Any:
        return (
            select(CONTACT.c.id, CONTACT.c.name, CONTACT.c.email, CONTACT.c.title, CONTACT.c.status)
            .where(*scope, CONTACT.c.account_id == _IN_ACCOUNT, *conditions)
            .order_by(by_bytes(CONTACT.c.name), CONTACT.c.id)
            .limit(limit)
        )

    return Scoped("contact", build)


CONTACT_EXACT: Final = _contact(
    or_(CONTACT.c.id == _REF, func.lower(CONTACT.c.email) == _KEY, func.lower(CONTACT.c.name) == _KEY),
    limit=CANDIDATES,
)
CONTACTS_OF_ACCOUNT: Final = _contact(limit=500)


def _member(*conditions: Any, limit: int) -> Any:
    def build(scope: Conditions) -> Any:
        return (
            select(MEMBER.c.id, MEMBER.c.name, MEMBER.c.email, MEMBER.c.role, MEMBER.c.active)
            .where(*scope, *conditions)
            .order_by(by_bytes(MEMBER.c.name), MEMBER.c.id)
            .limit(limit)
        )

    return Scoped("member", build)


MEMBER_EXACT: Final = _member(
    or_(MEMBER.c.id == _REF, func.lower(MEMBER.c.email) == _KEY, func.lower(MEMBER.c.name) == _KEY), limit=CANDIDATES
)
MEMBERS: Final = _member(limit=2_000)
