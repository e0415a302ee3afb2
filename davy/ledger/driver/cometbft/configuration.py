"""What the engine reads from its folder: settings, genesis, and one producer's keys; made from davy's genesis alone.

Pure: files as names and bytes, for the caller to write. Settings that differ from the engine's own are named, no more.
"""

from __future__ import annotations

import base64
import re
import tomllib
from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta
from nacl import bindings

from davy.ledger.commits import address, engine_chain_id, in_order, power
from davy.ledger.driver.cometbft.application import APP_VERSION, votes_shown
from davy.ledger.driver.mempool import MAX_WAITING_BYTES
from davy.ledger.driver.shapes import public_key_json, rfc3339, to_base64, upper_hex
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_BLOCK_BYTES, MAX_RPC_BODY_BYTES, MAX_TX_BYTES
from davy.protocol.words import PublicKey

SETTINGS: Final = "config/config.toml"
PRODUCER_KEY: Final = "config/priv_validator_key.json"
VOTED: Final = "data/priv_validator_state.json"
_ALL_OF_THIS_MACHINE: Final = "0.0.0.0"  # noqa: S104  # other producers must reach it
_TRUST_HOURS: Final = 168
_TRUSTED: Final = re.compile(r'trust_height = \d+\ntrust_hash = "[0-9a-f]*"')
_EVIDENCE_BYTES: Final = 64 * 1024


class Peer(NamedTuple):
    """Where a producer's engine listens for the others', and the public key it proves there."""

    host: str
    port: int
    node_key: PublicKey
    known_as: bytes = b""
    """The key's address, where only that is known."""

    @property
    def name(self) -> str:
        """As the engine writes it: its key's address, then where."""
        return f"{self.id}@{self.host}:{self.port}"

    @property
    def id(self) -> str:
        """Its key's address, as the engine writes it."""
        return (self.known_as or address(self.node_key)).hex()

    @property
    def is_local(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


class Secrets(NamedTuple):
    """Seeds of 32 bytes: what a producer votes with, and what its engine is known to its peers by."""

    producer: bytes
    node: bytes


class Sync(NamedTuple):
    """How a producer that comes later gets the state: from others' ledgers, of which it believes one block."""

    ledgers: tuple[str, ...]
    height: int
    hash: bytes


class _PublicKey(msgspec.Struct, frozen=True):
    value: Annotated[str, Meta(max_length=64)]


class _SecretKey(msgspec.Struct, frozen=True):
    value: Annotated[str, Meta(max_length=128)]


class _Voted(msgspec.Struct, frozen=True):
    height: Annotated[str, Meta(pattern="^[0-9]{1,19}$")]
    round: int
    step: int


class _KeyFile(msgspec.Struct, frozen=True):
    pub_key: _PublicKey
    priv_key: _SecretKey


def files(
    g: Genesis, mine: Secrets, here: Peer, others: Sequence[Peer], block_time: int, sync: Sync | None = None
) -> dict[str, bytes]:
    """Everything the engine needs before its first start, by the path in its folder.

    Parameters
    ----------
    block_time
        Milliseconds that the producers wait for late votes after a block.
    """
    return {
        PRODUCER_KEY: _json(_secret_key(mine.producer) | {"address": upper_hex(address(public_of(mine.producer)))}),
        "config/node_key.json": _json({"priv_key": _secret_key(mine.node)["priv_key"]}),
        "config/genesis.json": _json(genesis_document(g)),
        SETTINGS: (_settings(here, others, block_time) + (_syncing(sync) if sync else "")).encode(),
        VOTED: _json({"height": "0", "round": 0, "step": 0}),
    }


def public_of(seed: bytes) -> PublicKey:
    return bindings.crypto_sign_seed_keypair(seed)[0]


def producer_of(key_file: bytes) -> PublicKey:
    """The public key in the engine's key file.

    Raises
    ------
    Misconfigured
    """
    return secret_of(key_file)[0]


def secret_of(key_file: bytes) -> tuple[PublicKey, bytes]:
    """The public and the secret key in the engine's key file.

    Raises
    ------
    Misconfigured
    """
    try:
        held = msgspec.json.decode(key_file, type=_KeyFile)
        public, secret = (base64.b64decode(k.value, validate=True) for k in (held.pub_key, held.priv_key))
    except (msgspec.DecodeError, ValueError) as e:
        raise Misconfigured(f"{PRODUCER_KEY} is not a key file of the engine ({e}); restore it") from None
    if len(secret) != 64 or secret[32:] != public:
        raise Misconfigured(f"{PRODUCER_KEY} holds two keys that do not belong together; restore it")
    return public, secret


def check_voted(file: bytes) -> None:
    """Check that the engine can read what its producer has voted for; without, it ends at each start.

    Raises
    ------
    Misconfigured
    """
    try:
        msgspec.json.decode(file, type=_Voted)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Misconfigured(
            f"engine/{VOTED}, which says what this producer voted for, is missing or broken; restore it, or write what "
            "docs/engine.md says, or it may vote twice"
        ) from None


def genesis_document(g: Genesis) -> dict[str, Any]:
    """The engine's genesis: the same chain, its producers with equal power, and davy's genesis inside.

    The first block bears the engine's genesis time, and a block is later than what is before it: hence one millisecond.
    """
    each = str(power(chain_id(g)))
    return {
        "genesis_time": rfc3339(g.time + 1),
        "chain_id": engine_chain_id(chain_id(g)),
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(MAX_BLOCK_BYTES), "max_gas": "-1"},
            "evidence": _evidence(g),
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": str(APP_VERSION)},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [
            {"address": upper_hex(address(key)), "pub_key": public_key_json(key), "power": each, "name": ""}
            for key in in_order(g.producers)
        ],
        "app_hash": "",
        "app_state": to_base64(encode(g)),
    }


def _evidence(g: Genesis) -> dict[str, str]:
    blocks, age = votes_shown(g)
    return {"max_age_num_blocks": str(blocks), "max_age_duration": str(age), "max_bytes": str(_EVIDENCE_BYTES)}


def _settings(here: Peer, others: Sequence[Peer], block_time: int) -> str:
    """Where peers share an address, as on one machine, the engine must be told that this is meant."""
    local = "true" if any(p.is_local for p in (here, *others)) else "false"
    strict = "false" if local == "true" else "true"
    listens = here.host if here.is_local else _ALL_OF_THIS_MACHINE
    return f"""\
moniker = "davy"
log_level = "error"
abci = "socket"

[rpc]
max_body_bytes = {MAX_RPC_BODY_BYTES}

[p2p]
laddr = "tcp://{listens}:{here.port}"
external_address = "{here.host}:{here.port}"
persistent_peers = "{",".join(p.name for p in others)}"
unconditional_peer_ids = "{",".join(p.id for p in others)}"
pex = false
allow_duplicate_ip = {local}
addr_book_strict = {strict}
flush_throttle_timeout = "10ms"

[mempool]
size = 5000
cache_size = 10000
max_tx_bytes = {MAX_TX_BYTES}
max_txs_bytes = {MAX_WAITING_BYTES}

[consensus]
timeout_commit = "{block_time}ms"
peer_gossip_sleep_duration = "10ms"

[storage]
discard_abci_responses = true

[tx_index]
indexer = "null"
"""


def _syncing(s: Sync) -> str:
    """Two ledgers at least are asked, says the engine; they may be one, because the block is verified before."""
    asked = s.ledgers if len(s.ledgers) > 1 else s.ledgers * 2
    return f"""
[statesync]
enable = true
rpc_servers = "{",".join(asked)}"
trust_height = {s.height}
trust_hash = "{s.hash.hex()}"
trust_period = "{_TRUST_HOURS}h"
discovery_time = "5s"
chunk_request_timeout = "5s"
"""


def believing(settings: str, s: Sync) -> str:
    """The settings of one that fetches the state, with another block to believe."""
    return _TRUSTED.sub(f'trust_height = {s.height}\ntrust_hash = "{s.hash.hex()}"', settings)


def asked_for_state(settings: bytes) -> tuple[str, ...]:
    """The ledgers that these settings name to fetch the state from; none where all blocks are fetched.

    Raises
    ------
    Misconfigured
        They are not such settings.
    """
    try:
        told = tomllib.loads(settings.decode()).get("statesync", {})
        return tuple(dict.fromkeys(told["rpc_servers"].split(","))) if told.get("enable") else ()
    except (ValueError, KeyError, AttributeError) as e:
        wrong = "no UTF-8" if isinstance(e, UnicodeDecodeError) else e
        raise Misconfigured(f"engine/{SETTINGS} is not what the engine reads ({wrong}); mend it") from None


def _secret_key(seed: bytes) -> dict[str, Any]:
    public, secret = bindings.crypto_sign_seed_keypair(seed)
    return {
        "pub_key": public_key_json(public),
        "priv_key": {"type": "tendermint/PrivKeyEd25519", "value": to_base64(secret)},
    }


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"
