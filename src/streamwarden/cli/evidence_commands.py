"""The commands that make evidence and check it: keys, seals, signed verification."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from streamwarden.cli import environment, recording_commands
from streamwarden.cli.evidence_tools import check_signed, heads, seal_now
from streamwarden.cli.output import print_json, print_line, print_note, print_rows, print_table
from streamwarden.cli.stop_signals import configure_logs
from streamwarden.clock import rfc3339
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError, InvalidInput
from streamwarden.evidence.export_proof import check_export
from streamwarden.evidence.seal_keys import (
    SealKey,
    SealPublicKey,
    by_id,
    load_public_key,
    load_signing_key,
    new_key,
)
from streamwarden.evidence.signed_check import SignedCheckOptions, SignedFinding
from streamwarden.recordings.verify import BEGINNING

_FINDING_COLUMNS = ("kind", "camera_id", "seal", "path", "started_at", "ended_at", "detail")


_HEAD_COLUMNS = ("camera_id", "number", "until", "head")


def key_new(arguments: argparse.Namespace) -> int:
    """Make a key; print its public half."""
    return _print_key(arguments, new_key(arguments.path))


def key_show(arguments: argparse.Namespace) -> int:
    """Print a key's public half."""
    return _print_key(arguments, load_signing_key(arguments.path))


def recordings_seal(arguments: argparse.Namespace) -> int:
    """Seal what is stored."""
    settings = _settings(arguments)
    configure_logs(settings)
    made = seal_now(
        settings,
        _root(arguments, settings),
        camera_id=arguments.camera,
        until=arguments.until,
        settled_after=timedelta(seconds=arguments.settle),
    )
    if arguments.json:
        print_json({"sealed": {str(camera): seals for camera, seals in made.items()}})
    else:
        print_line(f"seals made: {sum(made.values())}, cameras: {len(made)}")
    return 0


def recordings_seals(arguments: argparse.Namespace) -> int:
    """Print the heads of the chains; 1 if one cannot be read."""
    found = list(heads(_root(arguments, _settings(arguments)), arguments.camera))
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
    for camera, words in found:
        if isinstance(words, str):
            print_note(f"{camera}: {words}")
    return 0 if len(rows) == len(found) else 1


def recordings_verify(arguments: argparse.Namespace) -> int:
    """Check recordings against the index, or with ``--signed`` against what was signed."""
    if not arguments.signed:
        given = (arguments.public_key, arguments.head, arguments.record_root)
        if any((*given, arguments.export, arguments.proof)):
            raise InvalidInput("these options need --signed")
        return recording_commands.verify(arguments)
    if not arguments.public_key:
        raise InvalidInput("--signed needs --public-key FILE: a proof is worth its key")
    if (arguments.export is None) != (arguments.proof is None):
        raise InvalidInput("--export and --proof go together")
    return _verify_chains(arguments) if arguments.export is None else _verify_export(arguments)


def _verify_chains(arguments: argparse.Namespace) -> int:
    if arguments.from_ and arguments.to and arguments.from_ >= arguments.to:
        raise InvalidInput("--from must be before --to", field="from")
    question = SignedCheckOptions(
        keys=_keys(arguments),
        from_=arguments.from_ or BEGINNING,
        to=arguments.to,
        heads=arguments.head,
        digests=not arguments.quick,
    )
    root = _root(arguments, _settings(arguments))
    cameras = [arguments.camera] if arguments.camera else []
    proven, findings = check_signed(root, cameras, question)
    return _print_checked(
        arguments,
        [one.as_json() for one in proven],
        [one.in_words() for one in proven],
        findings,
    )


def _verify_export(arguments: argparse.Namespace) -> int:
    proof, findings = check_export(arguments.export, arguments.proof, _keys(arguments))
    words, shown = [], []
    if proof is not None:
        said = f"camera {proof.camera_id}, {rfc3339(proof.from_)} to {rfc3339(proof.to)}, "
        said += f"accounted for until {rfc3339(proof.until)}, "
        words = [f"{said}signed {rfc3339(proof.signed_at)} with {proof.key_id}"]
        shown = [proof.fields()]
    return _print_checked(arguments, shown, words, findings)


def _print_checked(
    arguments: argparse.Namespace,
    proven: Sequence[Mapping[str, object]],
    words: Sequence[str],
    findings: Sequence[SignedFinding],
) -> int:
    if arguments.json:
        print_json({"proven": proven, "findings": [one.as_json() for one in findings]})
        return 1 if findings else 0
    for line in words:
        print_note(line)
    if findings:
        print_table([one.as_json() for one in findings], _FINDING_COLUMNS)
        return 1
    print_note("nothing is wrong: complete and unaltered, as signed")
    return 0


def _print_key(arguments: argparse.Namespace, key: SealKey) -> int:
    if arguments.json:
        print_json({"key_id": key.key_id, "public_key": key.public.pem})
    else:
        print_line(key.public.pem.rstrip())
        print_note(f"key id {key.key_id}")
    return 0


def _keys(arguments: argparse.Namespace) -> Mapping[str, SealPublicKey]:
    return by_id(load_public_key(path) for path in arguments.public_key)


def _settings(arguments: argparse.Namespace) -> Settings:
    return environment.load_settings(arguments.config, os.environ)


def _root(arguments: argparse.Namespace, settings: Settings) -> Path:
    root: Path | None = getattr(arguments, "record_root", None) or settings.record_root
    if root is None:
        raise ConfigError("give --record-root DIR, or set STREAMWARDEN_RECORD_ROOT")
    if not root.is_dir():
        raise ConfigError(f"{root} is no folder")
    return root.resolve()
