"""How CometBFT writes values into JSON: hashes in upper-case hex, bytes in base64, 64-bit integers as strings."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from davy.ledger.driver.blockstore import StoredTx
from davy.ledger.headers import OpenedHeader
from davy.protocol.errors import Malformed

Json: TypeAlias = dict[str, Any]
_LAST_MOMENT: Final = 253_402_300_799_999
"""31 December 9999 in Unix milliseconds, the last that RFC 3339 can say."""


def header_json(o: OpenedHeader) -> Json:
    h = o.header
    return {
        "chain_id": h.chain.hex(),
        "height": str(h.height),
        "time": rfc3339(h.time),
        "last_block_id": {"hash": upper_hex(h.previous)},
        "data_hash": upper_hex(h.txs),
        "app_hash": upper_hex(h.app_hash),
        "proposer_address": upper_hex(hashlib.sha256(h.producer).digest()[:20]),
    }


def tx_json(h: bytes, t: StoredTx) -> Json:
    result = {"code": t.result.code, "data": None, "log": t.result.log, "codespace": ""}
    where = {"hash": upper_hex(h), "height": str(t.result.height), "index": t.result.index}
    return where | {"tx_result": result, "tx": to_base64(t.raw)}


def public_key_json(key: bytes) -> Json:
    return {"type": "tendermint/PubKeyEd25519", "value": to_base64(key)}


def rfc3339(ms: int) -> str:
    moment = datetime.fromtimestamp(min(ms, _LAST_MOMENT) // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def upper_hex(data: bytes) -> str:
    return data.hex().upper()


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"{name} must be base64") from None


def from_hex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise Malformed(f"{name} must be hexadecimal") from None


def hash_from(text: str) -> bytes:
    """A hash as CometBFT takes it: base64 in a body, 0x and hex in an address."""
    data = from_hex(text, "hash") if len(text) >= 64 else from_base64(text, "hash")
    if len(data) != 32:
        raise Malformed("hash must be 32 bytes, in base64 or as 0x and hexadecimal")
    return data
