"""What is noted of a camera in ``.live``, beside the files in progress: its last run, and its ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.ledger import Ledger
from streamwarden.actors.messages import LastSegment
from streamwarden.app.ledger_file import decode_ledger, encode_ledger
from streamwarden.media.disk import replace_file
from streamwarden.media.names import LIVE
from streamwarden.media.store import CameraStore

log = structlog.get_logger(__name__)

_LEDGER: Final = "ledger.json"
_RUN: Final = "run"


class CameraNotes:
    """One camera's notes. Blocking; raises OSError where the disk refuses.

    ``last`` is the newest segment that was stored, and is kept with the ledger.
    """

    def __init__(self, record_root: Path, camera_id: UUID, store: CameraStore) -> None:
        self._record_root = record_root
        self._camera_id = camera_id
        self._store = store
        self.last: LastSegment | None = None

    def run(self) -> int:
        """Return the camera's last run, by the files' names where the note is gone."""
        try:
            return int((self._store.live / _RUN).read_text())
        except FileNotFoundError:
            return self._store.newest_run()
        except ValueError:
            log.warning("run_number_unreadable", camera=str(self._camera_id))
            return self._store.newest_run()

    def run_of_all_owners(self) -> int:
        """Return the camera's last run under whatever owner.

        A run number belongs to the camera: a new owner's must not meet the rows of the last one's.
        """
        files = self._record_root.glob(f"*/{self._camera_id}/{LIVE}/{_RUN}")
        texts = (path.read_text() for path in files)
        return max(self.run(), *(int(text) for text in texts if text.isdecimal()), 0)

    def write_run(self, run: int) -> None:
        """Note a run's number."""
        replace_file(self._store.live / _RUN, str(run).encode())

    def ledger(self) -> Ledger | None:
        """Return the ledger as it was left, None where it cannot be read or is gone."""
        try:
            ledger, self.last = decode_ledger((self._store.live / _LEDGER).read_bytes())
        except FileNotFoundError:
            if self._store.newest() is None:
                return Ledger()
        except ValueError:
            pass
        else:
            return ledger
        log.warning("ledger_unreadable", camera=str(self._camera_id))
        return None

    def write_ledger(self, ledger: Ledger) -> None:
        """Write the ledger, and the newest segment with it."""
        replace_file(self._store.live / _LEDGER, encode_ledger(ledger, self.last))
