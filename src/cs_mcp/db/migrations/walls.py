"""Wall two: PostgreSQL keeps each workspace's rows from every other's, under a role that owns nothing."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

OUTSIDE: Final = frozenset({"workspace", "alembic_version"})
APPEND_ONLY: Final = frozenset({"change", "change_payload", "workspace"})
PASSING: Final = frozenset({"idempotency", "account_doubt"})  # what is in them goes once it is of no use

# After a transaction the setting is '' rather than NULL, hence nullif.
_OWN: Final = "workspace = nullif(current_setting('app.workspace', true), '')"


def raise_wall(connection: Connection, table: str) -> None:
    """Force row-level security on a table, its owner included."""
    connection.exec_driver_sql(f'alter table "{table}" enable row level security')
    connection.exec_driver_sql(f'alter table "{table}" force row level security')
    connection.exec_driver_sql(f'create policy own on "{table}" using ({_OWN}) with check ({_OWN})')


def tables_of(connection: Connection) -> list[str]:
    found = connection.execute(
        text("select tablename from pg_tables where schemaname = current_schema() order by tablename")
    )
    return [name for (name,) in found]


def grant(connection: Connection, role: str) -> None:
    """What the application role may do: never delete what is remembered, never touch the record of changes."""
    connection.exec_driver_sql(f"grant usage on schema public to {role}")
    for table in tables_of(connection):
        rights = "select, insert, update"
        if table == "alembic_version":
            rights = "select"
        elif table in APPEND_ONLY:
            rights = "select, insert"
        elif table in PASSING:
            rights += ", delete"
        connection.exec_driver_sql(f'revoke all on "{table}" from {role}')
        connection.exec_driver_sql(f'grant {rights} on "{table}" to {role}')
    look_ups = text(
        "select oid::regprocedure::text from pg_proc "
        "where pronamespace = current_schema()::regnamespace and prosecdef and proname like 'search%' order by 1"
    )
    for (function,) in connection.execute(look_ups).all():
        connection.exec_driver_sql(f"grant execute on function {function} to {role}")
