"""In-memory stand-ins, each held to its original by a contract test."""
