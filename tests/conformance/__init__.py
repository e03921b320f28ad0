"""What the protocol's own conformance suite says of the server, and how far that goes: docs/conformance.md."""
