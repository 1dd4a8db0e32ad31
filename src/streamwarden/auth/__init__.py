"""Tokens and permissions: who calls, what they may, and what MediaMTX is to believe."""
