"""Prometheus metrics: one class per subject, on an injected registry."""
