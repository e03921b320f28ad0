"""The shape of every table: workspace first in each key, so that tables can be distributed by workspace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

from cs_mcp.domain.text import Trust


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant. SQLite keeps no zone, so it is stored as naive UTC there and given back aware."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a zone")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None or value.tzinfo is not None else value.replace(tzinfo=UTC)


class Json(TypeDecorator[Any]):
    """JSON; JSONB on PostgreSQL, whose dialect is imported only where it is used: it costs start-up time."""

    # none_as_null: an absent value is SQL NULL, so that `IS NULL` finds it.
    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


# Kept as the text it came as: JSONB rewrites numbers (1e22, -0.0), and a hash of the text would no longer fit.
JsonAsWritten: Final = JSON(none_as_null=True)
Minor: Final = BigInteger  # money in minor units
# Compared byte by byte on both stores: of a key that millions of rows are joined by, a language has nothing to say.
Id: Final = String(32).with_variant(String(32, collation="C"), "postgresql")
# Ordered by bytes on both stores, so that a page is the same page on either.
Ordered: Final = Text().with_variant(Text(collation="C"), "postgresql")


class by_bytes(FunctionElement[str]):  # noqa: N801 - reads as SQL
    """A text to order by as SQLite does, byte by byte: a PostgreSQL database may sort by the rules of a language."""

    inherit_cache = True
    name = "by_bytes"


@compiles(by_bytes, "postgresql")
def _by_bytes_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f'{compiler.process(element.clauses, **kw)} COLLATE "C"'


@compiles(by_bytes, "sqlite")
def _by_bytes_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return compiler.process(element.clauses, **kw)


NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


class Remembered(Base):
    """A row whose every change is kept. No relationships, cascades or mutable types: they change unseen.

    For the same reason triggers write derived columns only.
    """

    __abstract__ = True

    # Columns recomputed from other rows: no change entry, no new version (architecture.md, Derived columns).
    derived: ClassVar[frozenset[str]] = frozenset()
    # Columns that no update may change: what is wrong in them is corrected by another row.
    settled: ClassVar[frozenset[str]] = frozenset()
    # Whose words a free-text column holds; a registry test fails when a new one has no class.
    trust: ClassVar[dict[str, Trust]] = {}

    @classmethod
    def companions(cls, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003 - for tables to override
        """Derived columns that follow from the row's own fields: set whenever `values` are."""
        return {}

    workspace: Mapped[str] = mapped_column(Id, primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    version: Mapped[int] = mapped_column(Integer, nullable=False)
    removed_at: Mapped[datetime | None] = mapped_column(Instant)
    source_system: Mapped[str | None] = mapped_column(String(32))
    source_id: Mapped[str | None] = mapped_column(Ordered)


RowT = TypeVar("RowT", bound=Remembered)

REMEMBERED: Final[dict[str, type[Remembered]]] = {}


def remembered(row: type[RowT]) -> type[RowT]:
    """Enter a table into the record: the ORM counts its versions, and undo and as-of find it by its name."""
    row.__mapper__.version_id_col = row.__table__.c["version"]
    REMEMBERED[row.__tablename__] = row
    return row


def belongs_to(column: str, table: str, *, name: str | None = None) -> ForeignKeyConstraint:
    """A key within the workspace. Deferred: one flush may write a record and what it points to in any order."""
    return ForeignKeyConstraint(
        ["workspace", column],
        [f"{table}.workspace", f"{table}.id"],
        name=name,
        deferrable=True,
        initially="DEFERRED",
    )


# Partial indexes say `sqlite_where` here and `postgresql_where` too in the migrations: saying it here would import
# PostgreSQL's dialect at every start, for nothing but making tables.


def source_key(table: str) -> Index:
    """One record per source id: what lets an import run twice."""
    return Index(
        f"uq_{table}_source",
        "workspace",
        "source_system",
        "source_id",
        unique=True,
        sqlite_where=text("source_id IS NOT NULL"),
    )


def merged_index(table: str) -> Index:
    """What was merged into which record: few rows, asked for where a reference leads to nothing live."""
    return Index(
        f"ix_{table}_merged_into",
        "workspace",
        "merged_into_id",
        sqlite_where=text("merged_into_id IS NOT NULL"),
    )


def live_index(name: str, *columns: str) -> Index:
    """An index over what has not been removed."""
    return Index(
        name,
        "workspace",
        *columns,
        sqlite_where=text("removed_at IS NULL"),
    )
