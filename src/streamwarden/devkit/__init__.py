"""What development and tests need around the product: cameras, a media server, a Postgres.

Nothing but ``cli`` and the tests import it. What it starts dies with the program that started it.
"""
