"""MediaMTX: its control API, its auth hook, its sessions, and the paths of pulled cameras."""
