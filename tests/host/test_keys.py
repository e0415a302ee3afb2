"""Keys on disk: encrypted, never overwritten, opened by their password alone, and never handed out."""

import copy
import gc
import stat
from pathlib import Path

import msgspec
import pytest
from nacl import bindings

from davy.host.keys import MODERATE, Cost, FileKeyStore, key_path, write_key
from davy.protocol.errors import Misconfigured, Misdirected, NoSuchKey, WrongPassword
from davy.protocol.ports import Entropy, KeyStore
from davy.protocol.signing import Domain, verify, verify_raw
from davy.protocol.words import KeyRole, key_text

SEED = bytes(range(32))
COLD, HOT = KeyRole.COLDKEY, KeyRole.HOTKEY


@pytest.fixture
def folder(tmp_path: Path, entropy: Entropy, cheap: Cost) -> Path:
    write_key(tmp_path, HOT, SEED, "open sesame", entropy=entropy, cost=cheap)
    return tmp_path


@pytest.fixture
def keys(folder: Path) -> FileKeyStore:
    keys = FileKeyStore(folder)
    keys.unlock(HOT, "open sesame")
    return keys


def test_what_it_signs_verifies_under_the_public_key(keys: KeyStore) -> None:
    public = keys.public(HOT)
    assert public == bindings.crypto_sign_seed_keypair(SEED)[0]
    verify(public, Domain.TX, b"body", keys.sign(HOT, Domain.TX, b"body"))
    base = b'"@method": POST'
    verify_raw(public, base, keys.sign_raw(HOT, base))


def test_only_a_signature_base_is_signed_without_a_domain(keys: KeyStore) -> None:
    for message in (b"davy/tx\0body", b"", b'"@met'):
        with pytest.raises(Misdirected):
            keys.sign_raw(HOT, message)


def test_the_default_cost_is_the_library_s_moderate() -> None:
    assert (MODERATE.ops, MODERATE.memory) == (3, 256 * 2**20)


def test_a_file_at_the_default_cost_opens(tmp_path: Path, entropy: Entropy) -> None:
    write_key(tmp_path, COLD, SEED, "p", entropy=entropy)
    keys = FileKeyStore(tmp_path)
    keys.unlock(COLD, "p")
    verify(keys.public(COLD), Domain.TX, b"x", keys.sign(COLD, Domain.TX, b"x"))


def test_the_file_is_private_and_holds_no_seed(folder: Path) -> None:
    path = key_path(folder, HOT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SEED not in path.read_bytes()
    assert SEED.hex() not in path.read_text()
    assert [p.name for p in folder.iterdir()] == ["hotkey.json"]


def test_an_existing_key_is_never_overwritten(folder: Path, entropy: Entropy, cheap: Cost) -> None:
    before = key_path(folder, HOT).read_bytes()
    with pytest.raises(Misconfigured, match="never overwritten"):
        write_key(folder, HOT, bytes(32), "other", entropy=entropy, cost=cheap)
    assert key_path(folder, HOT).read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["hotkey.json"]


def test_roles_have_their_own_files_and_passwords(folder: Path, entropy: Entropy, cheap: Cost) -> None:
    cold = write_key(folder, COLD, bytes(32), "another", entropy=entropy, cost=cheap)
    keys = FileKeyStore(folder)
    keys.unlock(HOT, "open sesame")
    assert keys.public(COLD) == cold  # known without its password
    with pytest.raises(WrongPassword, match="coldkey is locked"):
        keys.sign(COLD, Domain.TX, b"")
    with pytest.raises(WrongPassword):
        keys.unlock(COLD, "open sesame")


def test_a_key_is_refused_in_place_of_another_role_s(folder: Path, entropy: Entropy, cheap: Cost) -> None:
    key_path(folder, COLD).write_bytes(key_path(folder, HOT).read_bytes())
    with pytest.raises(Misconfigured, match="holds a hotkey"):
        FileKeyStore(folder).public(COLD)
    public = write_key(folder, KeyRole.PRODUCER, SEED, "p", entropy=entropy, cost=cheap)
    for role, password in [(HOT, "open sesame"), (KeyRole.PRODUCER, "p")]:
        whole = key_path(folder, role).read_text().replace(f'"role": "{role.value}"', '"role": "cold"')
        key_path(folder, COLD).write_text(whole.replace(key_text(role, public), key_text(COLD, public)))
        assert FileKeyStore(folder).public(COLD) == public
        with pytest.raises(Misconfigured, match="another role"):
            FileKeyStore(folder).unlock(COLD, password)


def test_a_wrong_password_and_a_missing_key_say_what_to_do(folder: Path) -> None:
    keys = FileKeyStore(folder)
    with pytest.raises(WrongPassword, match=r"does not open .*hotkey\.json"):
        keys.unlock(HOT, "Open sesame")
    for call in (lambda: keys.public(COLD), lambda: keys.sign(COLD, Domain.TX, b""), lambda: keys.unlock(COLD, "x")):
        with pytest.raises(NoSuchKey, match="davy key new"):
            call()


def test_an_empty_password_is_refused(tmp_path: Path, entropy: Entropy, cheap: Cost) -> None:
    with pytest.raises(Misconfigured, match="empty"):
        write_key(tmp_path, HOT, SEED, "", entropy=entropy, cost=cheap)
    assert not list(tmp_path.iterdir())


def test_composed_and_decomposed_letters_are_one_password(tmp_path: Path, entropy: Entropy, cheap: Cost) -> None:
    write_key(tmp_path, HOT, SEED, "Zürich", entropy=entropy, cost=cheap)
    FileKeyStore(tmp_path).unlock(HOT, "Zu\u0308rich")


def test_every_broken_file_is_one_sentence(folder: Path) -> None:
    path = key_path(folder, HOT)
    whole = path.read_bytes()
    broken = [whole[:n] for n in range(0, len(whole) - 1, 7)]
    broken += [b"\xff" * 50, b"[" * 4000, b"{}", b"null", b"x" * 5000, whole.replace(b'"version": 1', b'"version": 2')]
    broken += [whole.replace(b'"memory": 8192', b'"memory": 99999999999'), whole.replace(b'"ops": 1', b'"ops": 1000')]
    for data in broken:
        assert data != whole
        path.write_bytes(data)
        with pytest.raises(Misconfigured, match="restore") as refused:
            FileKeyStore(folder).unlock(HOT, "open sesame")
        assert "\n" not in str(refused.value)


def test_any_changed_field_is_noticed(folder: Path, entropy: Entropy, cheap: Cost) -> None:
    path = key_path(folder, HOT)
    file = msgspec.json.decode(path.read_bytes())
    other = key_text(HOT, bindings.crypto_sign_seed_keypair(bytes(32))[0])
    for name, value in [("public", other), ("ops", 2), ("memory", 16384), ("salt", "A" * 22 + "=="), ("box", "AAAA")]:
        path.write_bytes(msgspec.json.encode(file | {name: value}))
        with pytest.raises((Misconfigured, WrongPassword)):
            FileKeyStore(folder).unlock(HOT, "open sesame")


def test_no_secret_is_reachable_printed_or_pickled(keys: FileKeyStore) -> None:
    assert SEED.hex() not in repr(keys)
    assert "hotkey" in repr(keys)
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        keys.__reduce_ex__(5)  # what a pickle would call
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        copy.deepcopy(keys)
    assert not hasattr(keys, "__dict__")
    seen = [keys, *(getattr(keys, name) for name in dir(keys) if not name.startswith("__"))]
    held = [o for value in seen for o in gc.get_referents(value)] + seen
    assert not [o for o in held if isinstance(o, bytes | bytearray) and SEED in bytes(o)]


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path, entropy: Entropy, cheap: Cost) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Misconfigured, match="writable"):
        write_key(tmp_path / "file", HOT, SEED, "p", entropy=entropy, cost=cheap)
