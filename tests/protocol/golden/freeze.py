"""The frozen bytes of every wire type: compare them, or (only when asked in so many words) write them.

``python tests/protocol/golden/freeze.py`` compares and lists what differs. ``--add`` writes what is new and leaves what
is frozen. ``--break-the-network`` writes everything: nodes of before and after will not understand each other.

A sample of each type follows from its fields' names and bounds alone, so that a field that moves, changes its type or
gets another name shows.
"""

import argparse
import enum
import hashlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect
from nacl import bindings

import davy.keyholders
import davy.killswitch
import davy.protocol
from davy.protocol import chain, genesis, limits, manifest, order, proof, receipt, roster, transaction
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import TxCode
from davy.protocol.signing import Domain, digest, sign
from davy.protocol.words import KeyRole, key_text

FILE = Path(__file__).with_name("wire.json")
AT_FIRST = {
    "TxBody.action": 13, "Proposed.proposal": 2, "Question.asks[0]": 16, "Question.asks[1]": 16, "Request.ask": 16,
}  # fmt: skip
"""How many members a union had when its sample was frozen; those that came later stand behind them."""
ROOMS = (davy.protocol, davy.killswitch, davy.keyholders)


def wire_types() -> list[type[Wire]]:
    """Every struct of the rooms that speak to others in bytes of their own, private ones too."""
    rooms = tuple(f"{room.__name__}." for room in ROOMS)
    for room in ROOMS:
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)

    def below(kind: type[Wire]) -> Iterator[type[Wire]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    ours = {k for k in below(Wire) if k.__module__.startswith(rooms)}
    return sorted(ours, key=type_name)


def type_name(kind: type[Any]) -> str:
    """A type of protocol by its module; of another room, by the room's name too."""
    return f"{kind.__module__.removeprefix('davy.').removeprefix('protocol.')}.{kind.__qualname__}"


def sample(kind: type[Any]) -> Any:
    """One value of a wire type, the same for ever."""
    return msgspec.convert(_plain(inspect.type_info(kind), kind.__name__), kind)


def _plain(t: inspect.Type, name: str) -> Any:
    seed = hashlib.sha256(name.encode()).digest()
    match t:
        case inspect.Metadata():
            return _plain(t.type, name)
        case inspect.IntType():
            low, high = t.ge or 0, min(t.le if t.le is not None else 2**40, 2**40)
            return low + int.from_bytes(seed[:8], "big") % (high - low + 1)
        case inspect.BoolType():
            return bool(seed[0] & 1)
        case inspect.BytesType():
            high = t.max_length if t.max_length is not None else 40
            length = max(t.min_length or 0, min(high, 40))
            return hashlib.shake_256(seed).digest(length)
        case inspect.StrType():
            return (seed.hex()[:12] if t.pattern else "é" + seed.hex()[:11])[: t.max_length]
        case inspect.EnumType():
            members = list(t.cls)
            return members[seed[0] % len(members)].value
        case inspect.VarTupleType():
            return [_plain(t.item_type, f"{name}[{n}]") for n in range(min(2, t.max_length or 2))]
        case inspect.TupleType():
            return [_plain(item, f"{name}[{n}]") for n, item in enumerate(t.item_types)]
        case inspect.StructType():
            values = [_plain(f.type, f"{name}.{f.name}") for f in t.fields]
            return [t.tag, *values] if t.tag is not None else values
        case inspect.UnionType():
            return _plain(t.types[seed[0] % AT_FIRST.get(name, len(t.types))], name)
        case _:
            raise TypeError(f"{name}: no wire type has a {t}")


def types() -> dict[str, str]:
    return {type_name(k): encode(sample(k)).hex() for k in wire_types()}


def words() -> dict[str, Any]:
    """Every enumeration's values: they stand in signed bytes and in consensus."""
    kinds: list[type[enum.Enum]] = [
        Domain, TxCode, KeyRole, manifest.Access, manifest.Identity, manifest.ModelClass, order.GroupKey,
        receipt.Outcome,
    ]  # fmt: skip
    return {type_name(k): {m.name: m.value for m in k} for k in kinds}


def digests() -> dict[str, str]:
    """Every function from a value to bytes that others sign, store or compare."""
    a, b, c = (hashlib.sha256(letter).digest() for letter in (b"a", b"b", b"c"))
    weights = (transaction.Weight(1, a[:8], 7), transaction.Weight(300, b[:8], 65_535))
    secret = bindings.crypto_sign_seed_keypair(a)[1]
    return {
        "chain_id": genesis.chain_id(sample(genesis.Genesis)).hex(),
        "consent_bytes": transaction.consent_bytes(a, b, c).hex(),
        "empty_root": proof.EMPTY_ROOT.hex(),
        "header_hash": chain.header_hash(b"header").hex(),
        "hyperparameters": encode(limits.hyperparameters()).hex(),
        "key_text holder": key_text(KeyRole.KEYHOLDER, a),
        "key_text cold": key_text(KeyRole.COLDKEY, a),
        "key_text hot": key_text(KeyRole.HOTKEY, a),
        "key_text prod": key_text(KeyRole.PRODUCER, a),
        "leaf_hash": proof.leaf_hash(b"key", a).hex(),
        "model_id": manifest.model_id(sample(manifest.Manifest)).hex(),
        "node_hash": proof.node_hash(258, a, b).hex(),
        "order_id": order.order_id(b"order").hex(),
        "parameters_digest": limits.parameters_digest(limits.chain_parameters()).hex(),
        "reason_digest": order.reason_digest("weights leaked – stop").hex(),
        "roster_digest": roster.roster_digest(sample(roster.Roster)).hex(),
        "seats_digest": chain.seats_digest(a, 258, (c, b)).hex(),
        "tx_hash": transaction.tx_hash(b"tx").hex(),
        "txs_digest": chain.txs_digest([a, b]).hex(),
        "value_hash": proof.value_hash(b"value").hex(),
        "weight_subject": transaction.weight_subject(a, 5, b"").hex(),
        "weights_commitment": transaction.weights_commitment(a, 1, b, 5, 6, weights, c).hex(),
        **{f"digest {d.value}": digest(d, b"data").hex() for d in Domain},
        **{f"sign {d.value}": sign(secret, d, b"data").hex() for d in Domain},
    }


def current() -> dict[str, dict[str, Any]]:
    return {"types": types(), "words": words(), "digests": digests()}


def frozen() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the frozen bytes of every wire type with those of today.")
    parser.add_argument("--add", action="store_true", help="write what is new, leave what is frozen")
    parser.add_argument("--break-the-network", action="store_true", help="write everything anew")
    asked = parser.parse_args()
    now, then = current(), frozen() if FILE.exists() else {}
    if asked.break_the_network or asked.add:
        kept = {} if asked.break_the_network else then
        merged = {part: rows | kept.get(part, {}) for part, rows in now.items()}
        for name, members in kept.get("words", {}).items():
            merged["words"][name] = now["words"][name] | members
        FILE.write_text(json.dumps(merged, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        then = merged
    differing = [f"{part}: {n}" for part in now for n in now[part].keys() | then.get(part, {}).keys()
                 if now[part].get(n) != then.get(part, {}).get(n)]  # fmt: skip
    print("\n".join(sorted(differing)) or "all bytes are the frozen ones")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
