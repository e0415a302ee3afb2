"""Files that are either whole or not there: private, flushed to the disk, never half written.

A file is written beside its place under another name, flushed, and then named; the folder is flushed last. So a crash
leaves the old state or the new one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from davy.protocol.errors import Misconfigured, StoreFailed


def whole_path(path: Path) -> Path:
    """Return a path from the root on, with the user's folder for ``~``.

    Raises
    ------
    Misconfigured
        This user has no folder.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise Misconfigured(f"there is no folder of this user's to look for {path} in; set HOME") from None


def make_private_folder(path: Path) -> None:
    """Create a folder, mode 0700, with what is missing above it; one that exists already is left as it is.

    Raises
    ------
    Misconfigured
        It cannot be created, or something else stands there.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise Misconfigured(
            f"cannot create the folder {path} ({e.strerror}); choose one that you may write to"
        ) from None


def write_new(path: Path, data: bytes) -> None:
    """Write a file, mode 0600, that must not exist yet; durable on return.

    Raises
    ------
    Misconfigured
        There is a file of that name: it is never overwritten.
    StoreFailed
        The disk did not take it; nothing is there.
    """
    with _written_beside(path, data) as beside:
        try:
            os.link(beside, path)  # unlike a rename, fails when the name is taken
        except FileExistsError:
            raise Misconfigured(f"{path} exists already and is never overwritten; move it away first") from None


def write_over(path: Path, data: bytes) -> None:
    """Write a file, mode 0600, in place of any before it; durable on return.

    Raises
    ------
    StoreFailed
        The disk did not take it; the old file still stands.
    """
    with _written_beside(path, data) as beside:
        beside.replace(path)


def read_bounded(path: Path, limit: int) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    Misconfigured
        It is missing, unreadable, or longer than `limit`.
    """
    try:
        with path.open("rb") as f:
            data = f.read(limit + 1)
    except FileNotFoundError:
        raise Misconfigured(f"there is no file {path}; create it, or name the right home") from None
    except OSError as e:
        raise Misconfigured(f"cannot read {path} ({e.strerror}); make it readable for this user") from None
    if len(data) > limit:
        raise Misconfigured(f"{path} is longer than {limit} bytes, so it is not the file expected there; restore it")
    return data


@contextmanager
def _written_beside(path: Path, data: bytes) -> Generator[Path]:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            yield beside
        finally:
            beside.unlink(missing_ok=True)
        _flush_folder(path.parent)
    except OSError as e:
        raise StoreFailed(f"cannot write {path} ({e.strerror}); free disk space or make the folder writable") from None


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
