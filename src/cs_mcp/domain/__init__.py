"""Rules in plain frozen models: no database, no protocol. Imports pydantic and the standard library only."""
