"""What can be shown to others: signed statements about footage, their chain, and the keys.

Formats and rules alone (``docs/design/0012-verifiable-footage.md``); no file of a recording, no database.
"""
