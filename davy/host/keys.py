"""Keys on disk: one encrypted file a role, and the keystore that signs with them and never hands a secret out.

The seed is encrypted by a SecretBox under Argon2id(password, salt). Role and public key stand in the file in clear, so
that a node can name its coldkey without the password; both are checked against the seed when the file is opened.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, NoReturn, TypeAlias

import msgspec
from msgspec import Meta
from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as CryptoRuntimeError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from davy.host.files import read_bounded, write_new
from davy.protocol.errors import Malformed, Misconfigured, Misdirected, NoSuchKey, WrongPassword
from davy.protocol.ports import Entropy
from davy.protocol.signing import Domain, prefix
from davy.protocol.words import KeyRole, PublicKey, Signature, key_from_text, key_text

_MAX_FILE_BYTES: Final = 4 * 1024
_SIGNATURE_BASE: Final = b'"@method"'
"""How a signature base of RFC 9421 begins here; no domain's prefix does."""

FILE_NAMES: Final = {
    KeyRole.COLDKEY: "coldkey",
    KeyRole.HOTKEY: "hotkey",
    KeyRole.PRODUCER: "producer",
    KeyRole.KEYHOLDER: "keyholder",
}

_Sign: TypeAlias = Callable[[bytes], Signature]


class Cost(NamedTuple):
    """Argon2id's work: passes, and bytes of memory."""

    ops: int
    memory: int


MODERATE: Final = Cost(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
"""About a second and 256 MiB a guess."""
QUICK: Final = Cost(1, 8 * 2**20)
"""About ten milliseconds a guess: for keys of local networks and tests, which hold nothing."""


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    role: KeyRole
    public: Annotated[str, Meta(max_length=100)]
    kdf: Literal["argon2id"]
    # Bounded, so that a foreign file cannot make this machine work for hours.
    ops: Annotated[int, Meta(ge=argon2id.OPSLIMIT_MIN, le=64)]
    memory: Annotated[int, Meta(ge=argon2id.MEMLIMIT_MIN, le=2**30)]
    salt: Annotated[bytes, Meta(min_length=argon2id.SALTBYTES, max_length=argon2id.SALTBYTES)]
    box: Annotated[bytes, Meta(max_length=256)]
    """SecretBox of "davy/seed/" ‖ role ‖ 00 ‖ seed, its nonce in front."""


def key_path(folder: Path, role: KeyRole) -> Path:
    """Where a role's encrypted file lies; a copy of it, with its password, is a backup."""
    return folder / f"{FILE_NAMES[role]}.json"


def write_key(
    folder: Path, role: KeyRole, seed: bytes, password: str, *, entropy: Entropy, cost: Cost = MODERATE
) -> PublicKey:
    """Encrypt a seed into a new file, mode 0600, and return its public key.

    Parameters
    ----------
    cost
        Cheaper than the default for local networks and tests only.

    Raises
    ------
    Misconfigured
        The password is empty, or a key of that role is there: it is never overwritten.
    StoreFailed
        The disk did not take it; nothing is there.
    """
    if not password:
        raise Misconfigured("an empty password protects nothing; choose one")
    public, _ = bindings.crypto_sign_seed_keypair(seed)
    salt = entropy.bytes(argon2id.SALTBYTES)
    box = SecretBox(stretch(password, salt, cost)).encrypt(_inside(role) + seed, entropy.bytes(SecretBox.NONCE_SIZE))
    file = _KeyFile(1, role, key_text(role, public), "argon2id", cost.ops, cost.memory, salt, bytes(box))
    write_new(key_path(folder, role), msgspec.json.format(msgspec.json.encode(file)) + b"\n")
    return public


class FileKeyStore:
    """The keys of a home, as `davy.protocol.ports.KeyStore`: locked until `unlock`, role by role.

    A secret lives in a signing function only: no attribute holds it, nothing prints or pickles it.
    """

    __slots__ = ("_folder", "_publics", "_signers")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signers: dict[KeyRole, _Sign] = {}
        # Of those unlocked: a node asks for its own with every request that it signs.
        self._publics: dict[KeyRole, PublicKey] = {}

    def public(self, role: KeyRole) -> PublicKey:
        """Return a role's public key, locked or not.

        Raises
        ------
        NoSuchKey
            There is no file of that role.
        Misconfigured
            The file is broken.
        """
        if role in self._publics:
            return self._publics[role]
        return _public(self._path(role), _read(self._path(role), role))

    def cost(self, role: KeyRole) -> Cost:
        """Return the work that a role's password takes.

        Raises
        ------
        NoSuchKey, Misconfigured
        """
        file = _read(self._path(role), role)
        return Cost(file.ops, file.memory)

    def unlock(self, role: KeyRole, password: str) -> None:
        """Make a role sign.

        Raises
        ------
        NoSuchKey
        WrongPassword
            The password does not open the file, or the file was changed.
        Misconfigured
            The file is broken.
        """
        path = self._path(role)
        file = _read(path, role)
        self._signers[role] = _signer(_open_seed(path, file, password))
        self._publics[role] = _public(path, file)

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> Signature:
        """Sign in a domain.

        Raises
        ------
        NoSuchKey
        WrongPassword
            The role was not unlocked.
        """
        return self._signing(role)(prefix(domain) + body)

    def sign_raw(self, role: KeyRole, message: bytes) -> Signature:
        """Sign a signature base of RFC 9421, which begins with ``"@method"``.

        Raises
        ------
        Misdirected
            Other bytes: they could be those of another domain.
        NoSuchKey, WrongPassword
            See `sign`.
        """
        if not message.startswith(_SIGNATURE_BASE):
            raise Misdirected('only a signature base that begins with "@method" is signed without a domain')
        return self._signing(role)(message)

    def _signing(self, role: KeyRole) -> _Sign:
        if role not in self._signers:
            _read(self._path(role), role)
            raise WrongPassword(f"the {FILE_NAMES[role]} is locked; give its password first")
        return self._signers[role]

    def _path(self, role: KeyRole) -> Path:
        return key_path(self._folder, role)

    def __repr__(self) -> str:
        unlocked = ", ".join(FILE_NAMES[role] for role in self._signers)
        return f"FileKeyStore({str(self._folder)!r}, unlocked: {unlocked or 'none'})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a keystore is neither pickled nor copied")


def _read(path: Path, role: KeyRole) -> _KeyFile:
    if not path.exists():
        raise NoSuchKey(f"there is no key {path}; make it with `davy key new` or `davy key recover`")
    try:
        file = msgspec.json.decode(read_bounded(path, _MAX_FILE_BYTES), type=_KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Misconfigured(f"{path} is not a key file, or a broken one; restore it from a backup") from None
    if file.role is not role:
        raise Misconfigured(f"{path} holds a {FILE_NAMES[file.role]}; give each key its own file name back")
    return file


def _public(path: Path, file: _KeyFile) -> PublicKey:
    try:
        return key_from_text(file.role, file.public)
    except Malformed:
        raise Misconfigured(f"the public key in {path} is broken; restore the file from a backup") from None


def _open_seed(path: Path, file: _KeyFile, password: str) -> bytes:
    try:
        inside = SecretBox(stretch(password, file.salt, Cost(file.ops, file.memory))).decrypt(file.box)
    except (CryptoError, ValueError):
        raise WrongPassword(f"the password does not open {path}; try again") from None
    head, seed = inside[: len(_inside(file.role))], inside[len(_inside(file.role)) :]
    if head != _inside(file.role) or len(seed) != bindings.crypto_sign_SEEDBYTES:
        raise Misconfigured(f"{path} holds the key of another role; restore the file from a backup")
    if bindings.crypto_sign_seed_keypair(seed)[0] != _public(path, file):
        raise Misconfigured(f"the public key in {path} is not that of its secret; restore the file from a backup")
    return seed


def _signer(seed: bytes) -> _Sign:
    _, secret = bindings.crypto_sign_seed_keypair(seed)
    return lambda message: bindings.crypto_sign(message, secret)[: bindings.crypto_sign_BYTES]


def stretch(password: str, salt: bytes, cost: Cost) -> bytes:
    """The key of a SecretBox from what a person types.

    Raises
    ------
    Misconfigured
        There is not enough memory.
    """
    # One person, one password: composed and decomposed letters are the same to who types them.
    typed = unicodedata.normalize("NFKD", password).encode()
    try:
        return argon2id.kdf(SecretBox.KEY_SIZE, typed, salt, opslimit=cost.ops, memlimit=cost.memory)
    except (MemoryError, CryptoRuntimeError):
        raise Misconfigured(f"opening a key takes {cost.memory >> 20} MiB of memory; free some and try again") from None


def _inside(role: KeyRole) -> bytes:
    return b"davy/seed/" + role.value.encode() + b"\0"
