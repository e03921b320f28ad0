"""Tests through the real protocol: the SDK's client, in process, over stdio and over HTTP."""
