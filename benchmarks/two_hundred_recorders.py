"""``fifty_recorders.py`` with two hundred cameras of 1 Mbit/s, and the bounds of that size."""

from __future__ import annotations

import sys

from fifty_recorders import main

if __name__ == "__main__":
    main(["--cameras", "200", *sys.argv[1:]])
