"""A home: the folder, mode 0700, where one node keeps all that is its own.

::

    home/
     ├─ keys/          one encrypted file a role (davy.host.keys)
     ├─ tls/           certificate.pem and key.pem of the node's endpoint
     ├─ shares/        a keyholder's shares of group keys, one encrypted file a roster (davy.host.shares)
     ├─ orders/        orders that this keyholder released a share for, and what else it remembers (davy.host.journal)
     ├─ keyholders     the circle: who they are and where they listen (davy.keyholders.circle)
     ├─ keyholders-next   that of the roster which is to follow
     ├─ store.db       small durable state (davy.host.store)
     ├─ ledger.db      blocks and state, where a ledger runs
     ├─ snapshots/     states in chunks, for engines that join (davy.ledger.driver.cometbft.snapshots)
     ├─ engine/        a BFT engine's settings, keys, blocks and log, where one runs (davy.ledger.driver.cometbft)
     ├─ genesis        canonical bytes of the chain this home belongs to
     ├─ config.toml    what the command line would say otherwise
     └─ lock           held by the running node: two nodes of one home would sign against each other
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from davy.host.files import make_private_folder, read_bounded, whole_path, write_new, write_over
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Misconfigured, Refused
from davy.protocol.genesis import Genesis
from davy.protocol.limits import MAX_GENESIS_BYTES


class TlsFiles(NamedTuple):
    """Where a server finds its certificate and the key to it."""

    certificate: Path
    key: Path


class Home:
    """Paths of a home, and the few files that belong to no other room."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = root / "keys"
        self.store = root / "store.db"
        self.ledger = root / "ledger.db"
        self.engine = root / "engine"
        self.shares = root / "shares"
        self.orders = root / "orders"
        self.circle = root / "keyholders"
        self.next_circle = root / "keyholders-next"
        self.control = root / "control"
        self.config = root / "config.toml"
        self.tls = TlsFiles(root / "tls" / "certificate.pem", root / "tls" / "key.pem")
        self._genesis = root / "genesis"

    @classmethod
    def create(cls, root: Path) -> Self:
        """Make the folders that are missing.

        Raises
        ------
        Misconfigured
            They cannot be created.
        """
        home = cls(whole_path(root))
        for folder in (home.root, home.keys, home.tls.key.parent):
            make_private_folder(folder)
        return home

    @classmethod
    def open(cls, root: Path) -> Self:
        """Return a home that exists.

        Raises
        ------
        Misconfigured
            There is none.
        """
        home = cls(whole_path(root))
        if not home.keys.is_dir():
            raise Misconfigured(f"{home.root} is not a home of davy; make one with `davy key new --home {home.root}`")
        return home

    def has_genesis(self) -> bool:
        """Whether this home belongs to a chain already."""
        return self._genesis.exists()

    def keep_genesis(self, g: Genesis) -> None:
        """Write down which chain this home belongs to, once.

        Raises
        ------
        Misconfigured
            It belongs to another chain.
        """
        if not self._genesis.exists():
            write_new(self._genesis, encode(g))
        elif self.genesis() != g:
            raise Misconfigured(f"{self.root} belongs to another chain; use another home")

    def genesis(self) -> Genesis:
        """Return the genesis of this home's chain.

        Raises
        ------
        Misconfigured
            It is missing or broken.
        """
        data = read_bounded(self._genesis, MAX_GENESIS_BYTES)
        try:
            return decode(data, Genesis, limit=MAX_GENESIS_BYTES)
        except Refused as e:
            raise Misconfigured(f"{self._genesis} is broken ({e}); copy it from another node of the network") from None

    def keep_tls(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Replace certificate and key; the key first, so that a crash between leaves a pair the server refuses.

        The key is not encrypted: a node restarts without a person, and one transaction changes its fingerprint.
        """
        write_over(self.tls.key, key_pem)
        write_over(self.tls.certificate, certificate_pem)

    @contextmanager
    def running(self) -> Generator[None]:
        """Hold the home for one process; released when the process ends, however it ends.

        Raises
        ------
        Misconfigured
            Another process runs in it.
        """
        path = self.root / "lock"
        try:
            file = path.open("ab")
        except OSError as e:
            raise Misconfigured(f"cannot write in {self.root} ({e.strerror}); make it writable for this user") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Misconfigured(f"a node runs in {self.root} already; stop it or use another home") from None
            yield
