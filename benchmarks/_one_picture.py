"""The devkit's relay, with one difference: a path that nobody publishes shows the first that is.

So one publisher feeds any number of cameras, each with a path, tokens and sessions of its own. What
the recorders and the hook see is what a media server with as many publishers would show them.
"""

from __future__ import annotations

import sys
from typing import Any

from streamwarden.devkit.relay import __main__ as program
from streamwarden.devkit.relay import hub
from streamwarden.devkit.relay.stream import Stream


class OneForAll(dict[str, Stream]):
    """The published paths."""

    def get(self, path: str, default: Any = None) -> Any:  # noqa: ANN401 - as dict's
        """Return the path's own stream, or else the one there is."""
        return super().get(path) or next(iter(self.values()), default)


class OnePictureHub(hub.Hub):
    """The relay's register."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**settings)
        self.streams = OneForAll()


if __name__ == "__main__":
    from streamwarden.devkit.relay import relay

    setattr(relay, "Hub", OnePictureHub)  # noqa: B010 - the relay offers no other way
    sys.exit(program.main())
