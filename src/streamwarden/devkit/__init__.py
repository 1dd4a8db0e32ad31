"""Cameras, a media server and a Postgres for development, tests and the demo.

Imported only by ``cli`` and the tests. All child processes die with the program that started them.
"""
