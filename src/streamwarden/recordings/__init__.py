"""Recordings on disk: the record root, segments, the ledger of gaps, retention, exports, verification."""
