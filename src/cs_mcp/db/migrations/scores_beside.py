"""Every account has a row beside it for its score, added by a trigger in the statement that adds the account.

docs/decisions/0021-scores-beside-their-accounts.md says why.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

_SQLITE: Final = """
create trigger account_score_added after insert on account begin
  insert or ignore into account_score (workspace, account_id) values (new.workspace, new.id);
end
"""
_FUNCTION: Final = """
create function account_score_added() returns trigger language plpgsql as $$ begin
  insert into account_score (workspace, account_id) select workspace, id from added on conflict do nothing;
  return null;
end $$
"""
_TRIGGER: Final = """
create trigger account_score_added after insert on account referencing new table as added
for each statement execute function account_score_added()
"""


def keep_scores_beside(connection: Connection) -> None:
    run = connection.exec_driver_sql
    if connection.dialect.name == "sqlite":
        run(_SQLITE)
        return
    run(_FUNCTION)
    run(_TRIGGER)


def drop_scores_beside(connection: Connection) -> None:
    run = connection.exec_driver_sql
    if connection.dialect.name == "sqlite":
        run("drop trigger account_score_added")
        return
    run("drop function account_score_added() cascade")
