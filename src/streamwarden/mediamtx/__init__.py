"""MediaMTX: its authentication hook, its control API, its sessions and the paths that it pulls."""
