"""Live renewals carry their account's band and segment and who is responsible, kept by triggers.

Whoever moves one of them, it follows in that statement, so that a page or a count of renewals by them reads no account.
docs/decisions/0020-a-renewal-carries-its-accounts-band.md says why.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

_SQLITE: Final = """
create trigger renewal_follows_{event} after {when} on renewal when new.removed_at is null begin
  update renewal set (account_band, account_segment, responsible_id) = (
    select a.health_band, a.segment, coalesce(new.owner_id, a.owner_id)
    from account a where a.workspace = new.workspace and a.id = new.account_id
  ) where workspace = new.workspace and id = new.id;
end
"""
_SQLITE_ACCOUNT: Final = """
create trigger renewals_follow_{event} after {when} on account begin
  update renewal set account_band = new.health_band, account_segment = new.segment,
    responsible_id = coalesce(owner_id, new.owner_id)
  where workspace = new.workspace and account_id = new.id and removed_at is null
  and (account_band is not new.health_band or account_segment is not new.segment
    or responsible_id is not coalesce(owner_id, new.owner_id));
end
"""

_FOLLOWED: Final = """
  update renewal r set account_band = {account}.health_band, account_segment = {account}.segment,
    responsible_id = coalesce(r.owner_id, {account}.owner_id){source}
  where r.workspace = {account}.workspace and r.account_id = {account}.id and r.removed_at is null
  and (r.account_band, r.account_segment, r.responsible_id)
    is distinct from ({account}.health_band, {account}.segment, coalesce(r.owner_id, {account}.owner_id));
"""
# Planned once a session: a night has its own statements planned each time, and these follow them row by row.
_FUNCTION: Final = (
    "create function {name}() returns trigger language plpgsql set enable_seqscan = off "
    "set plan_cache_mode = force_generic_plan as $$ begin {does} end $$"
)
# The account is held until the commit: a band that another transaction moves meanwhile waits, and then finds the
# renewal. Not shared, because two that hold it so and then both write the account would wait for each other.
_TAKEN: Final = """
  select a.health_band, a.segment, coalesce(new.owner_id, a.owner_id)
  into new.account_band, new.account_segment, new.responsible_id
  from account a where a.workspace = new.workspace and a.id = new.account_id for no key update;
  return new;
"""
_FUNCTIONS: Final = {
    "renewal_follows": _TAKEN,
    # A deferred key lets renewals come before their account.
    "renewals_follow_added": _FOLLOWED.format(account="n", source=" from added n") + "return null;",
    "renewals_follow_changed": _FOLLOWED.format(account="new", source="") + "return null;",
}
_TRIGGERS: Final = """
create trigger follows_added before insert on renewal
for each row when (new.removed_at is null) execute function renewal_follows();

create trigger follows_moved before update of account_id, owner_id, removed_at on renewal
for each row when (new.removed_at is null) execute function renewal_follows();

create trigger renewals_follow_added after insert on account referencing new table as added
for each statement execute function renewals_follow_added();

create trigger renewals_follow_changed after update of health_band, segment, owner_id on account for each row
when ((old.health_band, old.segment, old.owner_id) is distinct from (new.health_band, new.segment, new.owner_id))
execute function renewals_follow_changed()
"""


def let_renewals_follow(connection: Connection) -> None:
    run = connection.exec_driver_sql
    if connection.dialect.name == "sqlite":
        for event, when in (("added", "insert"), ("moved", "update of account_id, owner_id, removed_at")):
            run(_SQLITE.format(event=event, when=when))
        for event, when in (("added", "insert"), ("changed", "update of health_band, segment, owner_id")):
            run(_SQLITE_ACCOUNT.format(event=event, when=when))
        return
    for name, does in _FUNCTIONS.items():
        run(_FUNCTION.format(name=name, does=does))
    for trigger in _TRIGGERS.split(";"):
        run(trigger)


def let_renewals_stand(connection: Connection) -> None:
    """Undoes `let_renewals_follow`; the triggers of a table go with it on SQLite, and no function on PostgreSQL."""
    run = connection.exec_driver_sql
    if connection.dialect.name == "sqlite":
        for event in ("added", "changed"):
            run(f"drop trigger renewals_follow_{event}")
        return
    for name in _FUNCTIONS:
        run(f"drop function {name}() cascade")
