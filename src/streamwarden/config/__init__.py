"""What can be set, its defaults, and how it is loaded."""
