"""What this program tells Prometheus: one set of instruments a part, on an injected registry."""
