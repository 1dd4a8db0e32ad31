"""Cameras' credentials at rest."""

from __future__ import annotations

import base64
import json
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from streamwarden.errors import ConfigError
from streamwarden.mediamtx.credentials import (
    CameraCredentials,
    CredentialCipher,
    CredentialsUnreadable,
    parse_credential_keys,
)

OLD, NEW = b"o" * 32, b"n" * 32
CAMERA, OTHER = UUID(int=1), UUID(int=2)
SHOWN = CameraCredentials("viewer", "geheim-門")


def test_what_was_encrypted_is_decrypted_for_its_camera() -> None:
    cipher = CredentialCipher([NEW])
    encrypted = cipher.encrypt(CAMERA, SHOWN)
    assert cipher.decrypt(CAMERA, encrypted) == SHOWN
    assert b"geheim" not in encrypted
    assert cipher.encrypt(CAMERA, SHOWN) != encrypted, "the same password looks different each time"


def test_a_row_that_is_copied_to_another_camera_opens_nothing() -> None:
    cipher = CredentialCipher([NEW])
    with pytest.raises(CredentialsUnreadable) as refused:
        cipher.decrypt(OTHER, cipher.encrypt(CAMERA, SHOWN))
    assert "geheim" not in str(refused.value)


def test_a_key_is_changed_by_putting_the_new_one_first() -> None:
    encrypted = CredentialCipher([OLD]).encrypt(CAMERA, SHOWN)
    both = CredentialCipher([NEW, OLD])
    assert both.decrypt(CAMERA, encrypted) == SHOWN
    rotated = both.rotate(CAMERA, encrypted)
    assert rotated is not None
    assert both.rotate(CAMERA, rotated) is None
    assert CredentialCipher([NEW]).decrypt(CAMERA, rotated) == SHOWN
    with pytest.raises(CredentialsUnreadable):
        CredentialCipher([OLD]).decrypt(CAMERA, rotated)


@pytest.mark.parametrize("broken", [b"", b"x", b"\x80" + b"A" * 99])
def test_what_was_never_encrypted_or_has_changed_is_not_decrypted(broken: bytes) -> None:
    with pytest.raises(CredentialsUnreadable):
        CredentialCipher([NEW]).decrypt(CAMERA, broken)
    encrypted = bytearray(CredentialCipher([NEW]).encrypt(CAMERA, SHOWN))
    encrypted[40] ^= 1
    with pytest.raises(CredentialsUnreadable):
        CredentialCipher([NEW]).decrypt(CAMERA, bytes(encrypted))


@pytest.mark.parametrize("plain", [b"no JSON", b"[]", b"{}", b'"x"', b'{"camera": "x"}'])
def test_what_is_encrypted_and_is_no_credentials_is_not_taken(plain: bytes) -> None:
    encrypted = Fernet(base64.urlsafe_b64encode(NEW)).encrypt(plain)
    with pytest.raises(CredentialsUnreadable):
        CredentialCipher([NEW]).decrypt(CAMERA, encrypted)


def test_no_repr_shows_a_key() -> None:
    cipher = CredentialCipher([NEW])
    assert "n" * 8 not in repr(cipher)
    assert json.dumps(repr(cipher))


def test_keys_are_hexadecimal_with_commas() -> None:
    assert parse_credential_keys(f"{NEW.hex()}, {OLD.hex().upper()}") == [NEW, OLD]


@pytest.mark.parametrize(
    "text",
    ["", ",", "geheim", "ab" * 31, "ab" * 33, "zz" * 32, f"{'ab' * 32},", f"{'ab' * 32},{'ab' * 32}",
     ",".join(f"{n:02x}" * 32 for n in range(9))],
)  # fmt: skip
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_credential_keys(text)
    assert "SOURCE_SECRET_KEYS" in str(refused.value)
    assert "geheim" not in str(refused.value)
    assert "abab" not in str(refused.value)
