"""``python -m streamwarden``: the same as the command ``streamwarden``."""

from __future__ import annotations

import sys

from streamwarden.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
