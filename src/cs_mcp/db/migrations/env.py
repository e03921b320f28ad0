"""Alembic's entry: runs on the connection that `cs_mcp.db.upgrade` hands over."""

from alembic import context

from cs_mcp.db.base import Base
from cs_mcp.db.unit_of_work import UnitOfWork  # its imports enter every table into the metadata

assert UnitOfWork is not None
connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=False, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
