"""``streamwarden key``, ``recordings seal``, ``seals`` and ``verify --signed``: evidence."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import (
    add_camera_choice,
    add_command,
    add_group,
    moment,
    whole_number,
)
from streamwarden.cli.environment import (
    become_owner_of,
    configure_logs,
    open_database,
    settings_of,
)
from streamwarden.cli.output import print_json, print_line, print_note, print_rows, print_table
from streamwarden.cli.record_root_command import known_root
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from streamwarden.cli.arguments import Commands
    from streamwarden.config.settings import Settings
    from streamwarden.evidence.seal_keys import SealKey, SealPublicKey
    from streamwarden.evidence.seals import Head
    from streamwarden.evidence.signed_check import ChainSummary, SignedCheckOptions, SignedFinding

MAX_SETTLE_S = 86_400
HASH_DIGITS = 64
_FINDING_COLUMNS = ("kind", "camera_id", "seal", "path", "started_at", "ended_at", "detail")
_HEAD_COLUMNS = ("camera_id", "number", "until", "head")

_KEY_NOTES = """\
Only the streaming role needs the file (SEAL_KEY_FILE): make it in a folder of that role's user, such as
/var/lib/streamwarden. It belongs to its folder's owner, also when root runs this. Give the printed public
key to those who verify recordings.
"""
_SEAL_NOTES = """\
It needs SEAL_KEY_FILE, RECORD_ROOT and the database, and may run beside the server.

example:
  streamwarden recordings seal --until 2026-01-31T12:00
"""
SIGNED_NOTES = """\

With --signed it needs only files: the recordings, their seals, and the public key. It finds
  seal_missing, seal_damaged, seal_altered, wrong_key, chain_broken, head_missing
  entries_missing, entries_altered   the entries of a seal are lost, or differ from what was signed
  file_missing, file_altered, file_unsealed
  second_missing                     wanted, and neither recorded nor in a signed gap
  not_sealed                         --to or --camera asks for time that has no seal yet

examples:
  streamwarden recordings verify --signed --public-key seal.pub --record-root /mnt/copy
  streamwarden recordings verify --signed --public-key seal.pub --camera ID --head HASH
  streamwarden recordings verify --signed --public-key seal.pub --export FILE.mp4 --proof FILE.proof
"""


# Keys


def add_key_commands(commands: Commands) -> None:
    """Add ``key new`` and ``key show``."""
    key = add_group(commands, "key", "make and show the key that seals recordings")
    new = add_command(key, "new", key_new, "make a key and print its public half", _KEY_NOTES)
    new.add_argument("path", type=Path, metavar="PATH", help="the file to make; must not exist")
    show = add_command(key, "show", key_show, "print a key's public half and its id")
    show.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="the private key's file (default: the setting SEAL_KEY_FILE)",
    )


def key_new(arguments: argparse.Namespace) -> int:
    """Make a key; print its public half. The file belongs to its folder's owner."""
    from streamwarden.evidence.seal_keys import new_key

    if arguments.path.parent.is_dir():
        become_owner_of(arguments.path.parent)
    return _print_key(arguments, new_key(arguments.path))


def key_show(arguments: argparse.Namespace) -> int:
    """Print a key's public half; without a path that of the key in the settings."""
    from streamwarden.evidence.seal_keys import load_signing_key

    path = arguments.path or settings_of(arguments).seal_key_file
    if path is None:
        raise ConfigError("key show: give the key's file, or set STREAMWARDEN_SEAL_KEY_FILE")
    return _print_key(arguments, load_signing_key(path))


def _print_key(arguments: argparse.Namespace, key: SealKey) -> int:
    if arguments.json:
        print_json({"key_id": key.key_id, "public_key": key.public.pem})
    else:
        print_line(key.public.pem.rstrip())
        print_note(f"key id {key.key_id}")
    return 0


# Seals


def add_seal_commands(recordings: Commands) -> None:
    """Add ``recordings seal`` and ``recordings seals``."""
    seal = add_command(
        recordings,
        "seal",
        recordings_seal,
        "seal what is stored now, as the streaming role does every night",
        _SEAL_NOTES,
    )
    add_camera_choice(seal)
    seal.add_argument(
        "--until", type=moment, metavar="TIME", help="seal what began before it (default: now)"
    )
    seal.add_argument(
        "--settle",
        type=whole_number(0, MAX_SETTLE_S),
        default=120,
        metavar="S",
        help="leave out gaps that ended less than S seconds ago (default: 120)",
    )
    seals = add_command(
        recordings,
        "seals",
        recordings_seals,
        "print the head of each camera's chain of seals, to be kept elsewhere",
    )
    add_camera_choice(seals)
    _add_record_root(seals)


def _add_record_root(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--record-root",
        type=Path,
        metavar="DIR",
        help="the folder of the recordings (default: the setting)",
    )


def recordings_seal(arguments: argparse.Namespace) -> int:
    """Seal what began before ``--until``; print how many seals that made.

    Cameras before one that cannot be sealed are sealed.
    """
    from streamwarden.config.loading import variable
    from streamwarden.evidence.seal_files import SealingFailed
    from streamwarden.evidence.seal_keys import load_signing_key
    from streamwarden.evidence.sealer import sealer_of

    settings, clock = settings_of(arguments), Clock()
    configure_logs(settings)
    root = _record_root(arguments, settings)
    if settings.seal_key_file is None:
        raise ConfigError(f"{variable('seal_key_file')} is not set")
    settings.secret("database_url")  # before the key: the first of the settings that is missing
    key = load_signing_key(settings.seal_key_file)
    become_owner_of(root)
    settled_after = timedelta(seconds=arguments.settle)
    with open_database(settings) as database:
        known_root(root, database)
        try:
            sealer = sealer_of(settings, root, key, database, clock, settled_after=settled_after)
            before = min(arguments.until or clock.now(), clock.now())
            cameras = sealer.cameras() if arguments.camera is None else [arguments.camera]
            made = {camera: sealer.seal(camera, before) for camera in cameras}
        except OSError as error:
            where = error.filename or root
            raise SealingFailed(f"{where} cannot be written: {error.strerror}") from error
    if arguments.json:
        print_json({"sealed": {str(camera): seals for camera, seals in made.items()}})
    else:
        print_line(f"seals made: {sum(made.values())}, cameras: {len(made)}")
    return 0


def recordings_seals(arguments: argparse.Namespace) -> int:
    """Print the heads of the chains; 1 if one cannot be read."""
    root = _record_root(arguments, settings_of(arguments))
    found = list(chain_heads(root, arguments.camera))
    rows = [
        {
            "camera_id": str(camera),
            "number": head.number,
            "until": rfc3339(head.until),
            "head": head.hash.hex(),
        }
        for camera, head in found
        if not isinstance(head, str)
    ]
    print_rows(rows, _HEAD_COLUMNS, as_json=arguments.json)
    for camera, fault in found:
        if isinstance(fault, str):
            print_note(f"{camera}: {fault}")
    return 0 if len(rows) == len(found) else 1


def chain_heads(record_root: Path, camera_id: UUID | None) -> Iterator[tuple[UUID, Head | str]]:
    """Yield the head of each camera's chain by its files, or the fault of its newest seal."""
    from streamwarden.evidence.seal_files import SealFiles, sealed_cameras
    from streamwarden.evidence.seals import StoredSeal, read_seal
    from streamwarden.evidence.statements import Damaged

    for camera in [camera_id] if camera_id is not None else sealed_cameras(record_root):
        files = SealFiles(record_root, camera)
        numbers = files.numbers()
        if not numbers:
            yield camera, "there is no seal"
            continue
        try:
            signed = files.read(numbers[-1])
            seal = read_seal(signed)
        except (Damaged, OSError) as error:
            yield camera, f"seal {numbers[-1]}: {error}"
            continue
        yield camera, StoredSeal(seal, signed, b"").head


# Verification


def add_signed_options(verify: argparse.ArgumentParser) -> None:
    """Add to ``recordings verify`` the options of ``--signed``."""
    signed = verify.add_argument_group("with --signed")
    signed.add_argument(
        "--signed",
        action="store_true",
        help="check seals, files and seconds offline, without the database",
    )
    signed.add_argument(
        "--public-key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a public key to trust, in PEM; repeatable",
    )
    signed.add_argument(
        "--head",
        type=_hash,
        action="append",
        default=[],
        metavar="HASH",
        help="a head that recordings seals printed earlier; repeatable",
    )
    _add_record_root(signed)
    signed.add_argument(
        "--export", type=Path, metavar="FILE", help="check this exported MP4 instead, with --proof"
    )
    signed.add_argument("--proof", type=Path, metavar="FILE", help="the export's proof")


def _hash(text: str) -> bytes:
    """Return the bytes of a hash; raise ArgumentTypeError."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) * 2 != HASH_DIGITS or len(text) != HASH_DIGITS:
        raise argparse.ArgumentTypeError("must be a hash of 64 hexadecimal digits")
    return found


def verify_signed(arguments: argparse.Namespace) -> int:
    """Check recordings, or one export, against their seals; 1 if anything is wrong."""
    if not arguments.public_key:
        raise InvalidInput(
            "--signed needs --public-key FILE: seals prove nothing without their key"
        )
    if (arguments.export is None) != (arguments.proof is None):
        raise InvalidInput("--export and --proof must be given together")
    return _verify_chains(arguments) if arguments.export is None else _verify_export(arguments)


def _verify_chains(arguments: argparse.Namespace) -> int:
    from streamwarden.evidence.signed_check import SignedCheckOptions
    from streamwarden.recordings.verify import BEGINNING

    if arguments.from_ and arguments.to and arguments.from_ >= arguments.to:
        raise InvalidInput("--from must be before --to", field="from")
    options = SignedCheckOptions(
        keys=_public_keys(arguments),
        from_=arguments.from_ or BEGINNING,
        to=arguments.to,
        heads=arguments.head,
        digests=not arguments.quick,
    )
    root = _record_root(arguments, settings_of(arguments))
    cameras = [arguments.camera] if arguments.camera else []
    proven, findings = check_chains(root, cameras, options)
    rows, lines = [one.as_json() for one in proven], [one.in_words() for one in proven]
    return _print_checked(arguments, rows, lines, findings)


def check_chains(
    record_root: Path, cameras: Sequence[UUID], options: SignedCheckOptions
) -> tuple[list[ChainSummary], list[SignedFinding]]:
    """Check the chains of ``cameras``; if none is given, of all that have one or should have one."""
    from streamwarden.evidence.signed_check import SignedCheck, SignedFinding, SignedFindingKind

    checks = [
        SignedCheck(record_root, camera_id, options)
        for camera_id in cameras or _sealed_or_recorded(record_root)
    ]
    proven = [check.run() for check in checks]
    findings = [finding for check in checks for finding in check.findings]
    hashes = {one for check in checks for one in check.hashes}
    only = checks[0].camera_id if len(checks) == 1 else None
    for head in options.heads:
        if head not in hashes:
            detail = f"no seal has the hash {head.hex()}: the chain's end was cut off or replaced"
            kind = SignedFindingKind.HEAD_MISSING
            findings.append(SignedFinding(kind=kind, camera_id=only, detail=detail))
    if not checks:
        detail = "there are no seals below this folder"
        findings.append(
            SignedFinding(kind=SignedFindingKind.NOT_SEALED, camera_id=None, detail=detail)
        )
    return proven, findings


def _sealed_or_recorded(record_root: Path) -> list[UUID]:
    """Return every camera with seals or recordings: the loss of a whole chain must be found."""
    from streamwarden.evidence.seal_files import SealFiles, sealed_cameras
    from streamwarden.recordings.record_root import camera_folders, stored_by_day

    sealed = {
        each for each in sealed_cameras(record_root) if SealFiles(record_root, each).numbers()
    }
    folders = camera_folders(record_root)
    recorded = {one.camera_id for one in folders if any(True for _ in stored_by_day([one.path]))}
    return sorted(sealed | recorded)


def _verify_export(arguments: argparse.Namespace) -> int:
    from streamwarden.evidence.export_proof import check_export

    proof, findings = check_export(arguments.export, arguments.proof, _public_keys(arguments))
    if proof is None:
        return _print_checked(arguments, [], [], findings)
    line = (
        f"camera {proof.camera_id}, {rfc3339(proof.from_)} to {rfc3339(proof.to)}, "
        f"accounted for until {rfc3339(proof.until)}, "
        f"signed {rfc3339(proof.signed_at)} with {proof.key_id}"
    )
    return _print_checked(arguments, [proof.fields()], [line], findings)


def _print_checked(
    arguments: argparse.Namespace,
    proven: Sequence[Mapping[str, object]],
    lines: Sequence[str],
    findings: Sequence[SignedFinding],
) -> int:
    if arguments.json:
        print_json({"proven": proven, "findings": [one.as_json() for one in findings]})
        return 1 if findings else 0
    for line in lines:
        print_note(line)
    if findings:
        print_table([one.as_json() for one in findings], _FINDING_COLUMNS)
        return 1
    print_note("nothing is wrong: complete and unaltered, as signed")
    return 0


def _public_keys(arguments: argparse.Namespace) -> Mapping[str, SealPublicKey]:
    from streamwarden.evidence.seal_keys import by_id, load_public_key

    return by_id(load_public_key(path) for path in arguments.public_key)


def _record_root(arguments: argparse.Namespace, settings: Settings) -> Path:
    root: Path | None = getattr(arguments, "record_root", None) or settings.record_root
    if root is None:
        raise ConfigError("give --record-root DIR, or set STREAMWARDEN_RECORD_ROOT")
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder")
    return root.resolve()
