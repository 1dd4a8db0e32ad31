"""Verifiable footage: signed statements about recordings, their chain, keys, and the offline check.

The formats are in ``docs/design/0012-verifiable-footage.md``.
"""
