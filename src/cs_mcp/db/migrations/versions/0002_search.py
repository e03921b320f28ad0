"""Full-text search, kept by triggers in the transaction of the row; a meeting's agenda; sums over renewals by index.

Every record that search finds has one row in `search_name` (accounts, contacts) or `search_text` (notes, meetings,
tasks; since 0005 opportunities): its words, the name of its account, and whose book shows it.
docs/decisions/0008-search-index.md says why.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from cs_mcp.db.migrations.walls import raise_wall

revision = "0002"
down_revision = "0001"

ID = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")

NAMES, TEXTS = "search_name", "search_text"
SHELVES = (NAMES, TEXTS)


class Source(NamedTuple):
    """A table whose rows are found: where they are listed and which columns hold their words."""

    table: str
    shelf: str
    columns: tuple[str, ...]
    lists: tuple[str, ...] = ()  # columns of JSON: lists of short texts


SOURCES = (
    Source("account", NAMES, ("name", "domain")),
    Source("contact", NAMES, ("name", "email", "title")),
    Source("health_note", TEXTS, ("text",)),
    Source("meeting", TEXTS, ("kind", "agenda", "summary"), ("decisions", "product_requests")),
    Source("task", TEXTS, ("title", "outcome")),
)


def upgrade() -> None:
    op.add_column("meeting", sa.Column("agenda", sa.Text(), nullable=True))
    _walk_of_renewals("closes_on", "id", *_TOLD_OF_RENEWALS)
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _upgrade_sqlite(connection)
    else:
        _upgrade_postgres(connection)


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        triggers = "select name from sqlite_master where type = 'trigger' and name like 'search\\_%' escape '\\'"
        for (name,) in connection.exec_driver_sql(triggers).all():
            connection.exec_driver_sql(f"drop trigger {name}")
        for shelf in SHELVES:
            connection.exec_driver_sql(f"drop table {shelf}_index")
    else:
        functions = (
            "select oid::regprocedure::text from pg_proc "
            "where pronamespace = current_schema()::regnamespace and proname like 'search\\_%'"
        )
        for (name,) in connection.exec_driver_sql(functions).all():
            connection.exec_driver_sql(f"drop function {name} cascade")
    for shelf in SHELVES:
        op.drop_table(shelf)
    _walk_of_renewals("closes_on", "id")
    op.drop_column("meeting", "agenda")


# Sums over renewals by close date read the index alone.
_TOLD_OF_RENEWALS = (
    *("stage", "account_id", "subscription_id", "currency", "amount_minor"),
    *("account_band", "account_segment", "removed_at"),
)


def _walk_of_renewals(*columns: str) -> None:
    live = sa.text("removed_at IS NULL")
    op.drop_index("ix_renewal_closes", table_name="renewal")
    op.create_index("ix_renewal_closes", "renewal", ["workspace", *columns], sqlite_where=live, postgresql_where=live)


# -- SQLite: an FTS5 index beside each table, which holds no copy of the text ---------------------------------

_DIVIDER = "char(31)"  # a control character stands between the account's name and the record's own words


def _upgrade_sqlite(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    for shelf in SHELVES:
        op.create_table(
            shelf,
            sa.Column("number", sa.Integer(), nullable=False),
            sa.Column("workspace", ID, nullable=False),
            sa.Column("record", ID, nullable=False),
            sa.Column("account_id", ID, nullable=False),
            sa.Column("words", sa.Text(), nullable=False),
            sa.Column("seen_by", sa.Text(), nullable=True),
            sa.PrimaryKeyConstraint("number", name=op.f(f"pk_{shelf}")),
        )
        _indexes(shelf)
        run(
            f"create virtual table {shelf}_index using fts5(words, seen_by, content='{shelf}', "
            "content_rowid='number', tokenize='unicode61 remove_diacritics 2')"
        )
        enter = f"insert into {shelf}_index(rowid, words, seen_by) values (new.number, new.words, new.seen_by);"
        # FTS5 takes a row out of its index by the values it went in with.
        leave = (
            f"insert into {shelf}_index({shelf}_index, rowid, words, seen_by) "
            "values ('delete', old.number, old.words, old.seen_by);"
        )
        differs = "old.words is not new.words or old.seen_by is not new.seen_by"
        run(f"create trigger {shelf}_enter after insert on {shelf} begin {enter} end")
        run(f"create trigger {shelf}_leave after delete on {shelf} begin {leave} end")
        run(
            f"create trigger {shelf}_move after update of words, seen_by on {shelf} when {differs} "
            f"begin {leave} {enter} end"
        )
    for source in SOURCES:
        _list_on_sqlite(connection, source)
    _see_on_sqlite(connection)


def _list_on_sqlite(connection: sa.Connection, source: Source) -> None:
    def values(row: str) -> str:
        account = _account_of(source, row)
        seen_by = _seen_by_on_sqlite(f"{row}.workspace", account)
        return f"{row}.workspace, {row}.id, {account}, {_words_on_sqlite(source, row)}, {seen_by}"

    columns = "workspace, record, account_id, words, seen_by"
    insert = f"insert into {source.shelf} ({columns})"
    connection.exec_driver_sql(f"{insert} select {values(source.table)} from {source.table}")
    # Of an account that comes after its records, the records are shown now.
    catch_up = _show_again_on_sqlite("new", name="new.name") if source.table == "account" else ""
    connection.exec_driver_sql(
        f"create trigger search_{source.table}_added after insert on {source.table} "
        f"begin {insert} values ({values('new')}); {catch_up} end"
    )
    moved = ", ".join((*source.columns, *source.lists, "removed_at", *_key(source)))
    connection.exec_driver_sql(
        f"create trigger search_{source.table}_changed after update of {moved} on {source.table} "
        f"begin update {source.shelf} set ({columns}) = ({values('new')}) "
        "where workspace = old.workspace and record = old.id; end"
    )
    connection.exec_driver_sql(
        f"create trigger search_{source.table}_deleted after delete on {source.table} "
        f"begin delete from {source.shelf} where workspace = old.workspace and record = old.id; end"
    )


def _words_on_sqlite(source: Source, row: str) -> str:
    texts = [f"coalesce({row}.{column}, '')" for column in source.columns]
    texts += [
        f"coalesce((select group_concat(value, ' ') from json_each({row}.{column})), '')" for column in source.lists
    ]
    said = " || ' ' || ".join(texts)
    if source.shelf == TEXTS:
        name = f"(select a.name from account a where a.workspace = {row}.workspace and a.id = {row}.account_id)"
        said = f"coalesce({name}, '') || {_DIVIDER} || {said}"
    return f"case when {row}.removed_at is null then {said} else '' end"


def _seen_by_on_sqlite(workspace: str, account: str) -> str:
    """Ids without their prefix, so that each is one word; none where the account is gone or still to come."""
    seats = (
        "select ' ' || group_concat(substr(t.user_id, 5), ' ') from account_team t "
        "where t.workspace = a.workspace and t.account_id = a.id and t.removed_at is null"
    )
    return (
        "(select substr(a.workspace, 5) || ' ' || coalesce(substr(a.owner_id, 5), 'nobody' || substr(a.workspace, 5)) "
        f"|| coalesce(({seats}), '') from account a "
        f"where a.workspace = {workspace} and a.id = {account} and a.removed_at is null)"
    )


def _show_again_on_sqlite(row: str, column: str = "id", *, name: str | None = None) -> str:
    """Statements that bring what hangs on an account up to who sees it, and to its name."""
    account, said = f"{row}.{column}", ""
    seen_by = f"seen_by = {_seen_by_on_sqlite(f'{row}.workspace', account)}"
    for shelf in SHELVES:
        renamed = f", words = case words when '' then '' else {name} || substr(words, instr(words, {_DIVIDER})) end"
        values = seen_by + (renamed if name and shelf == TEXTS else "")
        said += f"update {shelf} set {values} where workspace = {row}.workspace and account_id = {account}; "
    return said


def _see_on_sqlite(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    run(
        "create trigger search_account_moved after update of name, owner_id, removed_at on account "
        f"begin {_show_again_on_sqlite('new', name='new.name')} end"
    )
    seen = _show_again_on_sqlite("new", "account_id")
    run(f"create trigger search_account_team_added after insert on account_team begin {seen} end")
    before = _show_again_on_sqlite("old", "account_id")
    run(
        "create trigger search_account_team_changed after update of account_id, user_id, removed_at on account_team "
        f"begin {before} {seen} end"
    )
    run(f"create trigger search_account_team_deleted after delete on account_team begin {before} end")


# -- PostgreSQL: tsvector and GIN -----------------------------------------------------------------------------

# A session keeps the plan it made when the tables were empty, which reads them whole; an import then never ends.
_BY_INDEX = "set enable_seqscan = off"
_SEEN_BY = (  # of the account a
    "array[a.workspace, coalesce(a.owner_id, 'nobody' || a.workspace)]::text[] || array(select t.user_id::text "
    "from account_team t where t.workspace = a.workspace and t.account_id = a.id and t.removed_at is null)"
)
_ACCENTS = "[\\u0300-\\u036f]"
_MARKS = "[!-/:-@\\[-`{-~\\u00a0-\\u00a9\\u00ab-\\u00b1\\u00b4\\u00b6-\\u00b8\\u00bb\\u00bf\\u00d7\\u00f7\\u2000-\\u206f\\u3000-\\u303f]"


def _upgrade_postgres(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    _functions(connection)
    for shelf in SHELVES:
        op.create_table(
            shelf,
            sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
            sa.Column("workspace", ID, nullable=False),
            sa.Column("record", ID, nullable=False),
            sa.Column("account_id", ID, nullable=False),
            sa.Column("words", postgresql.TSVECTOR(), nullable=False),
            sa.Column("seen_by", postgresql.ARRAY(sa.Text()), nullable=True),
            # Backwards, it is the walk from the newest on.
            sa.PrimaryKeyConstraint("workspace", "number", name=op.f(f"pk_{shelf}")),
        )
        _indexes(shelf)
        # Every look-up reads the list of what is still to go into the index, so it is kept short (kilobytes).
        run(f"create index gin_{shelf} on {shelf} using gin (words, seen_by) with (gin_pending_list_limit = 1024)")
        raise_wall(connection, shelf)
        # A condition that could leak what it sees (@@ may) is never tried before the wall's, so under row-level
        # security no GIN index is used. This lets the one function below, which asks for the workspace itself, do so.
        run(f"create policy looked_up on {shelf} for select to current_user using (true)")
        run(_LOOK_UP.format(shelf=shelf))
        run(f"revoke execute on function {shelf}_look_up(text[], boolean, text[], integer, integer) from public")
    for source in SOURCES:
        _list_on_postgres(connection, source)
    _see_on_postgres(connection)
    workspaces = [row[0] for row in connection.exec_driver_sql("select id from workspace order by id").all()]
    for workspace in workspaces:
        connection.execute(sa.select(sa.func.set_config("app.workspace", workspace, True)))
        for source in SOURCES:
            run(_fill(source, source.table))
    connection.execute(sa.select(sa.func.set_config("app.workspace", "", True)))


def _functions(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    # Letters as SQLite's tokenizer sees them: no case, no accents. Most text is ASCII and takes the short way.
    # PostgreSQL's parser joins words at these marks into hosts, paths, tags and numbers; at all others it divides.
    bare = "lower(said)"
    for mark in "<&@./-_:+~":  # `translate` takes ten times as long as these together
        bare = f"replace({bare}, '{mark}', ' ')"
    run(
        "create function search_fold(said text) returns text language sql immutable parallel safe as $$ "
        "select case when octet_length(said) = length(said) "
        f"then {bare} "
        f"else lower(normalize(regexp_replace(regexp_replace(normalize(said, NFD), '{_ACCENTS}', '', 'g'), "
        f"'{_MARKS}', ' ', 'g'), NFC)) end $$"
    )
    run(
        "create function search_words(said text) returns tsvector language sql immutable parallel safe as "
        # A tsvector takes a megabyte at most, and refuses the row beyond it.
        "$$ select to_tsvector('simple', search_fold(left(said, 200000))) $$"
    )
    run(
        "create function search_query(asked text[], beginnings boolean) returns tsquery "
        "language sql immutable parallel safe as $$ "
        "select case when numnode(q) = 0 then null else q end from (select to_tsquery('simple', "
        "string_agg(search_fold(w), ' & ') || case when beginnings then ':*' else '' end) as q "
        "from unnest(asked) w) made $$"
    )
    run(
        "create function search_seen_by(of_workspace varchar, account varchar) returns text[] language sql stable as $$"
        f" select {_SEEN_BY} from account a where a.workspace = of_workspace and a.id = account and a.removed_at is null $$"
    )
    run(
        "create function search_about(of_workspace varchar, account varchar) returns tsvector language sql stable as $$"
        " select search_words(a.name) from account a where a.workspace = of_workspace and a.id = account $$"
    )
    run(
        f"create function search_show_again(of_workspace varchar, account varchar) returns void language plpgsql {_BY_INDEX} as $$ "
        "declare seen text[] := search_seen_by(of_workspace, account); "
        "name tsvector := search_about(of_workspace, account); begin "
        f"update {NAMES} set seen_by = seen where workspace = of_workspace and account_id = account "
        "and seen_by is distinct from seen; "
        # The words of the account's name are those without a weight.
        f"update {TEXTS} set seen_by = seen, words = ts_filter(words, '{{a}}') || coalesce(name, '') "
        "where workspace = of_workspace and account_id = account and words <> ''; "
        f"update {TEXTS} set seen_by = seen where workspace = of_workspace and account_id = account and words = ''; "
        "end $$"
    )


# The newest rows first, where a common word fills the answer at once; the index for the rest. The conditions are
# hidden from the planner where it would pick another way: it does not know how often a word occurs in a book.
_LOOK_UP = """
create function {shelf}_look_up(asked text[], beginnings boolean, people text[], walk integer, most integer)
returns table (record varchar, account_id varchar, number bigint)
language plpgsql stable security definer
set search_path = public, pg_temp set enable_seqscan = off set jit = off as $$
declare
  mine constant varchar := nullif(current_setting('app.workspace', true), '');
  wanted constant tsquery := search_query(asked, beginnings);
  got integer;
begin
  if wanted is null or mine is null then return; end if;
  return query
    select n.record, n.account_id, n.number from (
      select s.* from {shelf} s where s.workspace = mine order by s.number desc limit walk
    ) n where n.words @@ wanted and n.seen_by && people limit most;
  get diagnostics got = row_count;
  if got < most then
    return query
      with hits as materialized (
        select s.record, s.account_id, s.number from {shelf} s
        where s.words @@ wanted and s.seen_by && people and s.workspace || '' = mine
      ) select h.record, h.account_id, h.number from hits h order by h.number desc limit most;
  end if;
end $$
"""


def _fill(source: Source, rows: str) -> str:
    account = _account_of(source, "n")
    # What an account lends to its records is made once for it, not once for each: an import sends many of one.
    lent = (
        "with lent as materialized (select a.workspace, a.id, search_words(a.name) as about, "
        f"case when a.removed_at is null then {_SEEN_BY} end as seen_by from "
        f"(select distinct n.workspace, {account} as id from {rows} n) d "
        "join account a on a.workspace = d.workspace and a.id = d.id) "
    )
    return (
        f"{lent} insert into {source.shelf} (workspace, record, account_id, words, seen_by) "
        f"select n.workspace, n.id, {account}, {_words_on_postgres(source, 'n', 'l.about')}, l.seen_by "
        f"from {rows} n left join lent l on l.workspace = n.workspace and l.id = {account}"
    )


def _list_on_postgres(connection: sa.Connection, source: Source) -> None:
    run = connection.exec_driver_sql
    catch_up = (
        "perform search_show_again(n.workspace, n.id) from added n where exists "
        f"(select from {NAMES} s where s.workspace = n.workspace and s.account_id = n.id and s.record <> n.id) or "
        f"exists (select from {TEXTS} s where s.workspace = n.workspace and s.account_id = n.id);"
        if source.table == "account"
        else ""
    )
    run(
        f"create function search_{source.table}_added() returns trigger language plpgsql {_BY_INDEX} as "
        f"$$ begin {_fill(source, 'added')}; {catch_up} return null; end $$"
    )
    # Once a statement: an import sends thousands of rows in one.
    run(
        f"create trigger search_added after insert on {source.table} referencing new table as added "
        f"for each statement execute function search_{source.table}_added()"
    )
    again = "perform search_show_again(new.workspace, new.id);" if source.table == "account" else ""
    account = _account_of(source, "new")
    run(
        f"create function search_{source.table}_changed() returns trigger language plpgsql {_BY_INDEX} as $$ begin "
        f"update {source.shelf} set record = new.id, account_id = {account}, "
        f"words = {_words_on_postgres(source, 'new')}, seen_by = search_seen_by(new.workspace, {account}) "
        f"where workspace = old.workspace and record = old.id; {again} return null; end $$"
    )
    columns = (*source.columns, *source.lists, "removed_at", *_key(source))
    columns += ("owner_id",) if source.table == "account" else ()
    differs = " or ".join(f"old.{column} is distinct from new.{column}" for column in columns)
    run(
        f"create trigger search_changed after update of {', '.join(columns)} on {source.table} "
        f"for each row when ({differs}) execute function search_{source.table}_changed()"
    )


def _words_on_postgres(source: Source, row: str, about: str | None = None) -> str:
    texts = [f"{row}.{column}" for column in source.columns]
    texts += [
        f"(select string_agg(item, ' ') from jsonb_array_elements_text({row}.{column}) item)" for column in source.lists
    ]
    words = f"search_words(concat_ws(' ', {', '.join(texts)}))"
    if source.shelf == TEXTS:
        about = about or f"search_about({row}.workspace, {row}.account_id)"
        words = f"setweight({words}, 'A') || coalesce({about}, '')"
    return f"case when {row}.removed_at is null then {words} else '' end"


def _see_on_postgres(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    run(
        f"create function search_account_team_added() returns trigger language plpgsql {_BY_INDEX} as $$ begin "
        "perform search_show_again(n.workspace, n.account_id) from "
        "(select distinct workspace, account_id from added) n; return null; end $$"
    )
    run(
        "create trigger search_added after insert on account_team referencing new table as added "
        "for each statement execute function search_account_team_added()"
    )
    run(
        f"create function search_account_team_changed() returns trigger language plpgsql {_BY_INDEX} as $$ begin "
        "perform search_show_again(old.workspace, old.account_id); "
        "perform search_show_again(new.workspace, new.account_id); return null; end $$"
    )
    run(
        "create trigger search_changed after update of account_id, user_id, removed_at on account_team "
        "for each row execute function search_account_team_changed()"
    )


# -- both -----------------------------------------------------------------------------------------------------


def list_records(connection: sa.Connection, source: Source) -> None:
    """Lists the records of one more table, which holds none yet on PostgreSQL, and keeps them listed."""
    if connection.dialect.name == "sqlite":
        _list_on_sqlite(connection, source)
    else:
        _list_on_postgres(connection, source)


def unlist_records(connection: sa.Connection, source: Source) -> None:
    """Takes the records of a table out again, those of the workspace in force on PostgreSQL. Its triggers go with it."""
    connection.exec_driver_sql(
        f"delete from {source.shelf} where record in (select id from {source.table} "  # noqa: S608
        f"where {source.table}.workspace = {source.shelf}.workspace)"
    )


def drop_functions(connection: sa.Connection, source: Source) -> None:
    """Those of the triggers of a table that is gone."""
    if connection.dialect.name == "postgresql":
        for name in ("added", "changed"):
            connection.exec_driver_sql(f"drop function search_{source.table}_{name}()")


def _indexes(shelf: str) -> None:
    op.create_index(f"uq_{shelf}_record", shelf, ["workspace", "record"], unique=True)
    op.create_index(f"ix_{shelf}_account", shelf, ["workspace", "account_id"], unique=False)


def _account_of(source: Source, row: str) -> str:
    return f"{row}.id" if source.table == "account" else f"{row}.account_id"


def _key(source: Source) -> tuple[str, ...]:
    return () if source.table == "account" else ("account_id",)
