"""The options of what makes and checks evidence: keys, seals, and ``recordings verify --signed``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_camera_choice, add_command, between, group, moment_of

if TYPE_CHECKING:
    from streamwarden.cli.arguments import Commands


_MOST_SETTLE_S = 86_400


_HASH_DIGITS = 64


def add_evidence_tools(commands: Commands, recordings: Commands) -> None:
    """Add keys, and to the commands of ``recordings`` what seals and what verifies seals."""
    _add_key(commands)
    _add_seal(recordings)
    _add_seals(recordings)
    _add_signed(recordings.choices["verify"])


def _add_key(commands: Commands) -> None:
    key = group(commands, "key", "make the key that seals recordings")
    new = add_command(
        key, "new", "evidence_commands:key_new", "make a key and print its public half", _KEY_NOTES
    )
    new.add_argument("path", type=Path, metavar="PATH", help="a file that is not there yet")
    show = add_command(
        key, "show", "evidence_commands:key_show", "print a key's public half and its id"
    )
    show.add_argument("path", type=Path, metavar="PATH", help="the private key's file")


def _add_seal(recordings: Commands) -> None:
    seal = add_command(
        recordings,
        "seal",
        "evidence_commands:recordings_seal",
        "seal what is stored now, as the streaming role does every night",
        _SEAL_NOTES,
    )
    add_camera_choice(seal)
    seal.add_argument(
        "--until", type=moment_of, metavar="TIME", help="what began before it (default: now)"
    )
    seal.add_argument(
        "--settle",
        type=between(0, _MOST_SETTLE_S),
        default=120,
        metavar="S",
        help="leave out gaps that ended so short a while ago (default: 120)",
    )


def _add_seals(recordings: Commands) -> None:
    seals = add_command(
        recordings,
        "seals",
        "evidence_commands:recordings_seals",
        "print the head of each camera's chain of seals: note it elsewhere",
    )
    add_camera_choice(seals)
    _record_root(seals)


def _add_signed(verify: argparse.ArgumentParser) -> None:
    verify.set_defaults(command="evidence_commands:recordings_verify")
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
        help="a key to believe, in PEM; repeatable",
    )
    signed.add_argument(
        "--head",
        type=_hash,
        action="append",
        default=[],
        metavar="HASH",
        help="a hash that recordings seals printed once; repeatable",
    )
    _record_root(signed)
    signed.add_argument(
        "--export", type=Path, metavar="FILE", help="check this exported MP4 instead, with --proof"
    )
    signed.add_argument("--proof", type=Path, metavar="FILE", help="the export's proof")
    verify.epilog = f"{verify.epilog}{_SIGNED_NOTES}"


def _record_root(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--record-root",
        type=Path,
        metavar="DIR",
        help="where the recordings are (default: the setting)",
    )


def _hash(text: str) -> bytes:
    """Return the bytes of a hash; raises what argparse turns into wrong usage."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) * 2 != _HASH_DIGITS or len(text) != _HASH_DIGITS:
        raise argparse.ArgumentTypeError("must be a hash of 64 hexadecimal digits")
    return found


_KEY_NOTES = """\
The file is for the streaming role alone (SEAL_KEY_FILE). Give what is printed to whoever is to verify.
"""


_SEAL_NOTES = """\
It needs SEAL_KEY_FILE, RECORD_ROOT and the database, and may run beside the server.

example:
  streamwarden recordings seal --until 2026-01-31T12:00
"""


_SIGNED_NOTES = """\

With --signed it needs files alone: the recordings, their seals, and the public key. It finds
  seal_missing, seal_damaged, seal_altered, wrong_key, chain_broken, head_missing
  entries_missing, entries_altered   what a seal speaks of is gone, or is not what was signed
  file_missing, file_altered, file_unsealed
  second_missing                     wanted, and neither recorded nor in a signed gap
  not_sealed                         --to or --camera asks for what no seal has reached

examples:
  streamwarden recordings verify --signed --public-key seal.pub --record-root /mnt/copy
  streamwarden recordings verify --signed --public-key seal.pub --camera ID --head HASH
  streamwarden recordings verify --signed --public-key seal.pub --export FILE.mp4 --proof FILE.proof
"""
