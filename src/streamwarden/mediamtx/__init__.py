"""MediaMTX: its authentication hook, control API and sessions, the paths that it pulls, and DESCRIBE."""
