"""The pairing of a record root with its database: one id in both, and one streaming role that writes.

A root and a database that do not belong together never touch each other: nothing is recorded, entered in
the ledger, deleted or reconciled, until the right disk is mounted or an operator adopts the root. While
Postgres does not answer, a root that a server has recorded into is trusted, and recording goes on.

The role that writes the index holds a lease in Postgres. A second role is refused at its start. A crashed
one does not lock out its own restart: the restart holds the same lock file under the same kernel.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import ConfigError, Unavailable, in_full
from streamwarden.model import Cause
from streamwarden.recordings.record_root import RecordRoot, hidden_by_a_mount
from streamwarden.recordings.root_identity import (
    SAMPLE,
    Indexed,
    RootFacts,
    RootFault,
    RootNotKnown,
    RootVerdict,
    belongs,
    fault_of,
    files_found,
    judge,
    write_id,
)
from streamwarden.recordings.root_watch import SESSION, RootWatch
from streamwarden.storage.record_roots import Lease, PairedRoot, RecordRootRepository

log = structlog.get_logger(__name__)

STEP_EVERY_S: Final = 5.0
LEASE_S: Final = 20.0
"""A role that was not seen for this long has ended, or lost Postgres."""
_FIRST_LOOK_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.5

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

_WHAT_TO_DO: Final = (
    "Mount its disk, and recording begins by itself; if the recordings were moved or are lost, see"
    " `streamwarden recordings adopt-root`"
)


class RootPairing:
    """Decides whether the root belongs to the database, and keeps the lease. One thread at a time.

    ``opened`` is called once the root is this server's, with the time until which the last one was alive:
    it opens what the server keeps open there. ``confirmed`` is called once Postgres agrees.
    """

    def __init__(
        self,
        *,
        root: RecordRoot,
        watch: RootWatch,
        roots: RecordRootRepository,
        node: str,
        clock: Clock,
        opened: Callable[[datetime | None], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root = root
        self._watch = watch
        self._roots = roots
        self._node = node
        self._clock = clock
        self._opened = opened
        self._sleep = sleep
        self._session = uuid4()
        self._confirmed = False
        self._leased = False
        self._other: Lease | None = None
        self._when_confirmed: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Decide at the start of the role, in bounded time.

        Raises:
            ConfigError: another streaming role writes into the database; the root is in use or wrong.
        """
        self._watch.look(_FIRST_LOOK_WITHIN_S)
        if not self._watch.looked:
            log.error("record_root_hangs", path=str(self._root.path))
            return
        try:
            self._refuse_a_second_role()
            self._step()
        except Unavailable as error:
            log.warning("record_root_not_compared", reason=in_full(error))
            self._decide(None)

    def step(self) -> float:
        """Compare once more, and renew the lease; return the pause until the next time.

        Raises:
            Unavailable: Postgres does not answer, or knows another root.
        """
        if self._watch.looked:
            try:
                self._step()
            except ConfigError as error:
                raise Unavailable(str(error)) from error
        return STEP_EVERY_S

    def _step(self) -> None:
        if not self._confirmed or not self._watch.taken:
            known, segments = self._roots.known()
            self._decide(Indexed(root_id=known.id if known else None, segments=segments))
        else:
            self._check_still_ours()
        if self._confirmed:
            self._keep_lease()
        if self._confirmed and self._leased:
            waiting, self._when_confirmed = self._when_confirmed, []
            for call in waiting:
                call()

    def when_confirmed(self, call: Callable[[], None]) -> None:
        """Call ``call`` once, as soon as the root is known to belong to the database."""
        if self._confirmed and self._leased:
            call()
        else:
            self._when_confirmed.append(call)

    def require_index(self) -> None:
        """Raise RootNotKnown unless this role may write the index. Any thread; never blocks."""
        if not self._confirmed:
            raise RootNotKnown(
                self._watch.fault()
                or RootFault(Cause.RECORD_ROOT_MISSING, "the record root is not compared yet")
            )
        if not self._leased:
            raise RootNotKnown(RootFault(Cause.RECORD_ROOT_CHANGED, self._other_in_words()))

    def other_role(self) -> str:
        """Return a sentence about another role that writes the index; empty where there is none."""
        return self._other_in_words() if self._confirmed and not self._leased else ""

    def close(self) -> None:
        """Give the lease up."""
        if not self._leased:
            return
        self._leased = False
        try:
            self._roots.drop_lease(self._session)
        except Unavailable as error:
            log.info("lease_not_given_up", reason=in_full(error))

    # Whose root it is

    def _decide(self, indexed: Indexed | None) -> None:
        facts = self._watch.facts
        if facts.fault is not None:
            self._refuse(facts.fault)
            return
        verdict = judge(facts, indexed)
        if verdict is RootVerdict.COMPARE:
            verdict = self._compared(facts)
        match verdict:
            case RootVerdict.OWN:
                self._possess(facts.id)
                self._confirmed = self._watch.taken
            case RootVerdict.ADOPT:
                self._adopt(facts)
            case RootVerdict.TRUSTED:
                self._possess(facts.id)
            case _:
                self._refuse(mismatch(verdict, self._root.path, facts, indexed))

    def _compared(self, facts: RootFacts) -> RootVerdict:
        found, count = files_found(self._root.path, self._roots.newest_files(limit=SAMPLE))
        log.info("record_root_compared", files_found=found, rows=count)
        if belongs(found, count):
            return RootVerdict.ADOPT
        return RootVerdict.MISSING if facts.id is None else RootVerdict.CHANGED

    def _adopt(self, facts: RootFacts) -> None:
        root_id = facts.id or uuid4()
        if self._watch.taken:
            write_id(self._root.path, root_id)
            self._watch.set_id(root_id)
        else:
            self._possess(root_id)
        if self._watch.taken:
            self._confirmed = self._roots.register(
                PairedRoot(
                    id=root_id,
                    node=self._node,
                    path=str(self._root.path),
                    adopted_at=self._clock.now(),
                )
            )
            log.info("record_root_adopted", root_id=str(root_id), path=str(self._root.path))

    def _possess(self, root_id: UUID | None) -> None:
        """Lock the root and open what the server keeps open in it."""
        if self._watch.taken:
            return
        path = self._root.path
        try:
            self._root.take()
            if root_id is not None and self._watch.facts.id != root_id:
                write_id(path, root_id)
            noted = self._note_session()
            device = path.stat().st_dev
        except ConfigError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in {errno.EROFS, errno.EIO}:
                self._refuse(fault_of(cause, path))
                return
            raise
        except OSError as error:
            self._refuse(fault_of(error, path))
            return
        if orphans := self._root.end_orphans():
            log.warning("orphans_ended", pids=orphans)
        self._opened(self._root.alive_until())
        self._watch.take(root_id, self._session, device, noted=noted)
        log.info(
            "record_root",
            path=str(path),
            root_id=str(root_id) if root_id else None,
            **self._root.file_system(),
        )

    def _note_session(self) -> bool:
        try:
            write_id(self._root.path, self._session, SESSION)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                return False
            raise
        return True

    def _refuse(self, fault: RootFault) -> None:
        self._confirmed = False
        self._watch.refuse(fault)

    def _check_still_ours(self) -> None:
        known = self._roots.get()
        if known is not None and known.id != self._watch.root_id:
            text = f"the database has been given to another record root: {known.id} at {known.path}"
            self._refuse(RootFault(Cause.RECORD_ROOT_CHANGED, text))

    # Who writes the index

    def _refuse_a_second_role(self) -> None:
        """Wait until the lease of another role has ended; one that lives renews it meanwhile."""
        self._roots.known()
        lease = self._roots.lease()
        while lease is not None and not self._outlived(lease):
            self._sleep(_POLL_S)
            now = self._roots.lease()
            if now is not None and (now.session != lease.session or now.age_s < lease.age_s):
                self._other = now
                raise ConfigError(self._other_in_words())
            lease = now

    def _outlived(self, lease: Lease) -> bool:
        # Whoever holds the same lock file under the same kernel keeps this role from taking the root.
        return lease.age_s > LEASE_S or (lease.place != "" and lease.place == self._place())

    def _place(self) -> str:
        """Name this kernel and the root's lock file; empty where there is none yet."""
        try:
            lock = (self._root.state / "lock").stat()
        except OSError:
            return ""
        return f"{_BOOT_ID.read_text().strip()}:{lock.st_dev}:{lock.st_ino}"

    def _keep_lease(self) -> None:
        if self._leased and self._roots.renew_lease(self._session):
            return
        root_id = self._watch.root_id
        if root_id is None:
            return
        lease = self._roots.lease()
        mine = Lease(
            session=self._session,
            root_id=root_id,
            node=self._node,
            path=str(self._root.path),
            place=self._place(),
            age_s=0.0,
        )
        free = lease is None or self._outlived(lease)
        self._leased = free and self._roots.take_lease(mine, over=lease.session if lease else None)
        if not self._leased:
            self._other = lease
            log.error("other_streaming_role", detail=self._other_in_words())

    def _other_in_words(self) -> str:
        other = self._other
        if other is None:
            return "another streaming role may write into this database"
        return (
            f"another streaming role writes into this database: node {other.node}, record root"
            f" {other.path}, seen {max(0.0, other.age_s):.0f} s ago. A database has one of them: stop"
            " that one, or set another DATABASE_URL"
        )


def mismatch(
    verdict: RootVerdict, path: Path, facts: RootFacts, indexed: Indexed | None
) -> RootFault:
    """Return why the root at the path is not the database's, by the verdict."""
    if verdict is RootVerdict.UNDECIDED:
        text = f"no server has recorded into {path}, and Postgres does not answer whether recordings exist"
        return RootFault(Cause.RECORD_ROOT_MISSING, text)
    known = f" ({indexed.root_id})" if indexed and indexed.root_id else ""
    if verdict is RootVerdict.CHANGED:
        text = (
            f"{path} is the record root of another installation ({facts.id}), not of this database"
        )
        return RootFault(Cause.RECORD_ROOT_CHANGED, f"{text}{known}. {_WHAT_TO_DO}")
    there = "holds no record root" if facts.exists else "does not exist"
    text = f"{path} {there}, and the database has recordings of one{known}"
    text += hidden_by_a_mount(path)
    return RootFault(Cause.RECORD_ROOT_MISSING, f"{text}. {_WHAT_TO_DO}")
