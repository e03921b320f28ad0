"""Tests that break things on purpose: processes, connections, statements, disks."""
