"""One camera's chain of seals, read from its first to its last: which are good, and where it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from streamwarden.app.seal_files import SealFiles, seal_name
from streamwarden.app.signed_findings import SignedFinding, SignedKind, distrust
from streamwarden.evidence.keys import PublicKey
from streamwarden.evidence.seals import NOTHING_BEFORE, Seal, read_seal
from streamwarden.evidence.statements import Damaged, Signed


@dataclass(frozen=True, slots=True)
class Link:
    """A seal that is signed by one of the keys."""

    seal: Seal
    signed: Signed


@dataclass(frozen=True, slots=True)
class Chain:
    """The camera's own good seals in order, and what is wrong with the chain."""

    links: list[Link] = field(default_factory=list)
    findings: list[SignedFinding] = field(default_factory=list)


def read_chain(files: SealFiles, camera_id: UUID, keys: Mapping[str, PublicKey]) -> Chain:
    """Read every seal that is there; nothing is believed that none of ``keys`` has signed."""
    reader = _Reader(files, camera_id, keys)
    reader.read()
    return reader.chain


class _Reader:
    def __init__(self, files: SealFiles, camera_id: UUID, keys: Mapping[str, PublicKey]) -> None:
        self._files = files
        self._camera_id = camera_id
        self._keys = keys
        self.chain = Chain()

    def read(self) -> None:
        expected, before = 0, None
        for number in self._files.numbers():
            for missing in range(expected, number):
                self._find(SignedKind.SEAL_MISSING, "is not there", missing)
            # After a hole nobody can say what it should name.
            known = before if number == expected else None
            before = self._read_link(number, known, first=number == expected == 0)
            expected = number + 1

    def _read_link(self, number: int, before: Link | None, *, first: bool) -> Link | None:
        name = seal_name(number)
        try:
            signed = self._files.read(number)
            seal = read_seal(signed)
        except (Damaged, OSError) as error:
            self._find(SignedKind.SEAL_DAMAGED, str(error), number, name)
            return None
        if (doubt := distrust(signed, seal.key_id, self._keys)) is not None:
            self._find(*doubt, number, name)
            return None
        for words in self._breaks(seal, number, before, first=first):
            self._find(SignedKind.CHAIN_BROKEN, words, number, name)
        link = Link(seal, signed)
        if (seal.camera_id, seal.number) == (self._camera_id, number):
            self.chain.links.append(link)
        return link

    def _breaks(
        self, seal: Seal, number: int, before: Link | None, *, first: bool
    ) -> Iterator[str]:
        if seal.camera_id != self._camera_id:
            yield f"it is of camera {seal.camera_id}"
        if seal.number != number:
            yield f"it is number {seal.number}"
        if first and seal.previous != NOTHING_BEFORE:
            yield "it is not the first of its chain"
        if before is None:
            return
        if seal.previous != before.signed.hash:
            yield "it follows another seal than the one before it"
        if seal.from_ != before.seal.until:
            yield "it does not begin where the one before it ends"

    def _find(self, kind: SignedKind, detail: str, seal: int, path: str | None = None) -> None:
        found = SignedFinding(
            kind=kind, camera_id=self._camera_id, detail=detail, path=path, seal=seal
        )
        self.chain.findings.append(found)
