"""Signed statements, entries and keys."""
