"""Settings: names, defaults, parsing and loading."""
