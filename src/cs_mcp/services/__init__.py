"""Use cases: one method, one transaction. They see the store and the domain, never SQLAlchemy or the protocol."""
