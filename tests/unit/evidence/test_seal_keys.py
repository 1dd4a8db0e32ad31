"""Keys as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from streamwarden.cli.main import main
from streamwarden.evidence.seal_keys import KeyUnusable, load_public_key, load_signing_key, new_key


def test_a_new_key_is_its_owners_alone_and_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    made = new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyUnusable, match="left as it is"):
        new_key(path)
    assert load_signing_key(path).key_id == made.key_id


def test_what_one_half_signs_the_other_verifies(tmp_path: Path) -> None:
    made = new_key(tmp_path / "seal.pem")
    (tmp_path / "seal.pub").write_text(made.public.pem)
    public = load_public_key(tmp_path / "seal.pub")
    assert public.key_id == made.key_id
    assert public.signed(b"said", made.sign(b"said"))
    assert not public.signed(b"said.", made.sign(b"said"))
    assert not public.signed(b"said", b"short")


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602, 0o601])
def test_a_key_that_others_may_read_or_write_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    new_key(path)
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match="open to others"):
        load_signing_key(path)
    path.chmod(0o440)  # as a secret is mounted for a group
    load_signing_key(path)


def test_what_is_no_ed25519_key_is_refused_and_nothing_of_it_said(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path = tmp_path / "key"
    path.touch(0o600)
    for content in (private, public, b"marked-secret", b""):
        path.write_bytes(content)
        for load in (load_signing_key, load_public_key):
            with pytest.raises(KeyUnusable) as refused:
                load(path)
            assert "marked" not in str(refused.value)
    with pytest.raises(KeyUnusable, match="No such file"):
        load_public_key(tmp_path / "none")


def test_the_command_prints_the_public_half_and_never_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seal.pem"
    assert main(["key", "new", str(path)]) == 0
    made = capsys.readouterr()
    assert "BEGIN PUBLIC KEY" in made.out
    assert main(["key", "show", str(path)]) == 0
    assert capsys.readouterr() == made
    assert main(["key", "show"]) == 1
    assert "STREAMWARDEN_SEAL_KEY_FILE" in capsys.readouterr().err
    monkeypatch.setenv("STREAMWARDEN_SEAL_KEY_FILE", str(path))
    assert main(["key", "show"]) == 0
    assert capsys.readouterr() == made
    assert main(["key", "new", str(path)]) == 1
    assert "PRIVATE" not in made.out + made.err + capsys.readouterr().err
