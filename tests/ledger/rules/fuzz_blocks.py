"""Blocks out of any bytes, so that a fuzzer which watches coverage gets past signatures and nonces.

The bytes are pieces: a kind, two bytes of length, and so many bytes. An action's bytes are signed as they are, by one
of the people and with the nonce that is due, whether they are an action or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from enum import IntEnum

import msgspec

from davy.ledger.rules.accounts import account
from davy.ledger.rules.machine import Machine
from davy.protocol.encoding import encode
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import SignedTx
from tests.ledger.rules.hostile import NAMES, REPORTED, order_envelopes, promising
from tests.ledger.rules.test_fuzz import apply_to_both, begun, conserves, restored
from tests.ledger.rules.world import keys

MAX_BLOCKS = 12


class Kind(IntEnum):
    """What a piece is."""

    END = 0
    """Of a block."""
    BYTES = 1
    """A transaction as it is."""
    ORDER = 2
    """One of those that were given."""
    ACTION = 3
    """Who signs, and an action."""
    EVIDENCE = 4
    """Who voted twice: one of those that an engine may report, or any bytes."""
    ABSENT = 5
    """Whose vote is missing, likewise."""


def piece(kind: Kind, payload: bytes = b"") -> bytes:
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload


def pieces(data: bytes) -> Iterator[tuple[Kind, bytes]]:
    """Whatever the bytes are, they are pieces; the last one may be cut off."""
    at = 0
    while at < len(data):
        end = at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")
        yield Kind(data[at] % len(Kind)), data[at + 3 : end]
        at = end


def play(data: bytes) -> tuple[bytes, list[int]]:
    """Apply blocks to two machines; the app hash that both come to, and what became of the transactions.

    Raises
    ------
    AssertionError
        They differ, or something went wrong inside.
    """
    w, orders = begun()
    one, other = restored(w), restored(w)
    block: list[bytes] = []
    reported: dict[Kind, list[bytes]] = {Kind.EVIDENCE: [], Kind.ABSENT: []}
    codes: list[int] = []
    nonces: dict[bytes, int] = {}
    for kind, payload in (*list(pieces(data))[:99], (Kind.END, b"")):
        if kind is Kind.END:
            done = apply_to_both(one, other, block, reported[Kind.EVIDENCE], reported[Kind.ABSENT])
            codes += [r.code for r in done.results]
            block, nonces, reported = [], {}, {Kind.EVIDENCE: [], Kind.ABSENT: []}
            if one.height - w.machine.height >= MAX_BLOCKS:
                break
        elif kind is Kind.BYTES:
            block.append(payload)
        elif kind in reported:
            reported[kind].append(REPORTED[payload[0] % len(REPORTED)] if len(payload) == 1 else payload)
        elif payload:
            block.append(_signed(one, payload, nonces) if kind is Kind.ACTION else _order(orders, payload[0]))
    conserves(one)
    assert Machine.restore(w.genesis, one.rows(), one.height, one.time).app_hash == one.app_hash
    return one.app_hash, codes


def _order(orders: Sequence[bytes], number: int) -> bytes:
    return order_envelopes(orders)[number % len(orders)]


def _signed(m: Machine, payload: bytes, nonces: dict[bytes, int]) -> bytes:
    public, secret = keys(NAMES[payload[0] % len(NAMES)])
    nonce = nonces.setdefault(public, account(m.state, public).nonce)
    nonces[public] += 1
    body = msgspec.msgpack.encode([1, begun()[0].chain, public, nonce, msgspec.Raw(payload[1:])])
    return encode(SignedTx(1, body, sign(secret, Domain.TX, body)))


def seeds() -> list[bytes]:
    """What a fuzzer begins with: each action that would happen, alone and all in a row; the orders; reports; noise."""
    w, orders = begun()
    acts = [piece(Kind.ACTION, bytes([NAMES.index(name)]) + encode(action)) for name, action in promising(w)]
    given = [piece(Kind.ORDER, bytes([n])) for n in range(len(orders))]
    end = piece(Kind.END)
    row = b"".join(act + end for act in acts)
    said = [piece(kind, bytes([n])) for kind in (Kind.EVIDENCE, Kind.ABSENT) for n in range(len(REPORTED))]
    silent = b"".join(piece(Kind.ABSENT, bytes([n % 2])) + end for n in range(MAX_BLOCKS))
    engine = [*(one + end for one in said), b"".join(said) + row[:900], silent, piece(Kind.EVIDENCE, bytes(19))]
    noise = piece(Kind.BYTES, bytes(9))
    return [*(act + end for act in acts), row, b"".join(given), given[0] + row[:900], *engine, noise]


def digest(histories: Sequence[bytes]) -> str:
    """Over the app hashes of all these histories, in hex: the same in every process."""
    return hashlib.sha256(b"".join(play(data)[0] for data in histories)).hexdigest()
