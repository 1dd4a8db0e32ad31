"""Postgres: the pool, the migrations, and one repository a table.

A leaf: it knows rows and SQL, and neither HTTP nor actors. The SQL is in ``queries`` and
``migrations``.
"""
