"""Postgres: connection pool, migrations, one repository for each table, and the journal of index rows.

The SQL is in ``queries/*.sql`` and ``migrations/*.sql``.
"""
