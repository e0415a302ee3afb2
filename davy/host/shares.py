"""A keyholder's shares on disk: one encrypted file a roster, 0600, replaced as a whole or not at all.

The body is encrypted by a SecretBox under Argon2id(password, salt), like a key (davy.host.keys). What it holds is
for the room keyholders to know; here it is bytes that belong to a roster. Two processes of one home (serve, refresh)
never undo each other's change: whoever replaces a body says which one, under a lock.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from anyio import to_thread
from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from davy.host.files import make_private_folder, read_bounded, write_new, write_over
from davy.host.keys import MODERATE, Cost, stretch
from davy.protocol.errors import Busy, Misconfigured, NoSuchKey, StoreFailed, WrongPassword
from davy.protocol.ports import Entropy
from davy.protocol.words import Digest

_MAX_FILE_BYTES: Final = 512 * 1024


class _ShareFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    roster: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    kdf: Literal["argon2id"]
    ops: Annotated[int, Meta(ge=argon2id.OPSLIMIT_MIN, le=64)]
    memory: Annotated[int, Meta(ge=argon2id.MEMLIMIT_MIN, le=2**30)]
    salt: Annotated[bytes, Meta(min_length=argon2id.SALTBYTES, max_length=argon2id.SALTBYTES)]
    box: Annotated[bytes, Meta(max_length=_MAX_FILE_BYTES)]
    """SecretBox of "davy/shares/" ‖ roster ‖ body, its nonce in front."""


class _Version(msgspec.Struct, frozen=True):
    version: int


class _Opened(NamedTuple):
    """A file that was decrypted, and how to tell that it is still the same one."""

    path: Path
    seen: tuple[int, int, int]
    body: bytes


class FileShares:
    """The shares of a home, as `davy.keyholders.keys.Vault`.

    Parameters
    ----------
    password
        Kept while the process runs: a ceremony ends with a new file.
    """

    def __init__(self, folder: Path, password: str, entropy: Entropy, *, cost: Cost = MODERATE) -> None:
        self._folder, self._password, self._entropy, self._cost = folder, password, entropy, cost
        self._opened: _Opened | None = None

    def __repr__(self) -> str:
        return f"FileShares({str(self._folder)!r})"

    async def keep(self, roster: Digest, body: bytes) -> None:
        """Write the shares of a new roster; durable on return.

        Raises
        ------
        Misconfigured
            There are shares of this roster already, or the password is empty.
        StoreFailed
            The disk did not take it; nothing is there.
        """
        if not self._password:
            raise Misconfigured("an empty password protects nothing; choose one")
        await to_thread.run_sync(self._keep, roster, body)

    async def replace(self, roster: Digest, old: bytes, new: bytes) -> None:
        """Put `new` in the place of `old`; a crash leaves one of them whole.

        Raises
        ------
        Busy
            Something else than `old` is there.
        NoSuchKey, WrongPassword, Misconfigured
            See `open`.
        StoreFailed
            The disk did not take it; `old` still stands.
        """
        await to_thread.run_sync(self._replace, roster, old, new)

    async def open(self, roster: Digest) -> bytes:
        """Decrypt the shares of a roster.

        Raises
        ------
        NoSuchKey
        WrongPassword
            The password does not open the file, or the file was changed.
        Misconfigured
            The file is broken.
        """
        return await to_thread.run_sync(self._open, roster)

    def _path(self, roster: Digest) -> Path:
        return self._folder / f"{roster.hex()[:16]}.json"

    def _keep(self, roster: Digest, body: bytes) -> None:
        make_private_folder(self._folder)
        write_new(self._path(roster), self._encrypted(roster, body))

    def _replace(self, roster: Digest, old: bytes, new: bytes) -> None:
        with self._locked():
            if self._open(roster) != old:
                raise Busy("another process of this home has changed the shares meanwhile; try again")
            write_over(self._path(roster), self._encrypted(roster, new))

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            file = (self._folder / "lock").open("ab")
        except FileNotFoundError:
            raise NoSuchKey(f"there are no shares in {self._folder}; make them, or restore a backup") from None
        except OSError as e:
            raise StoreFailed(
                f"cannot write in {self._folder} ({e.strerror}); make it writable for this user"
            ) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)  # held for two derivations at most
            yield

    def _encrypted(self, roster: Digest, body: bytes) -> bytes:
        salt = self._entropy.bytes(argon2id.SALTBYTES)
        key = stretch(self._password, salt, self._cost)
        box = SecretBox(key).encrypt(_inside(roster) + body, self._entropy.bytes(SecretBox.NONCE_SIZE))
        file = _ShareFile(1, roster.hex(), "argon2id", self._cost.ops, self._cost.memory, salt, bytes(box))
        return msgspec.json.format(msgspec.json.encode(file)) + b"\n"

    def _open(self, roster: Digest) -> bytes:
        path = self._path(roster)
        try:
            status = path.stat()
        except FileNotFoundError:
            raise NoSuchKey(
                f"there is no share {path}; make it with `davy keyholder dkg`, have it repaired, or restore a backup"
            ) from None
        except OSError as e:
            raise Misconfigured(f"cannot read {path} ({e.strerror}); make it readable for this user") from None
        seen = status.st_ino, status.st_mtime_ns, status.st_size
        if self._opened is not None and (self._opened.path, self._opened.seen) == (path, seen):
            return self._opened.body
        body = self._decrypted(path, roster)
        # Looked at before it was read: a file that was replaced between is read again next time.
        self._opened = _Opened(path, seen, body)
        return body

    def _decrypted(self, path: Path, roster: Digest) -> bytes:
        raw = read_bounded(path, _MAX_FILE_BYTES)
        try:
            if (version := msgspec.json.decode(raw, type=_Version).version) > 1:
                raise Misconfigured(f"{path} is of version {version}, which a later davy writes; install that one here")
            file = msgspec.json.decode(raw, type=_ShareFile)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Misconfigured(f"{path} is not a share, or a broken one; restore it from a backup") from None
        try:
            key = stretch(self._password, file.salt, Cost(file.ops, file.memory))
            inside = SecretBox(key).decrypt(file.box)
        except (CryptoError, ValueError):
            raise WrongPassword(f"the password does not open {path}; try again") from None
        if not inside.startswith(_inside(roster)):
            raise Misconfigured(f"{path} holds the shares of another roster; restore it from a backup")
        return inside[len(_inside(roster)) :]


def _inside(roster: Digest) -> bytes:
    return b"davy/shares/" + roster
