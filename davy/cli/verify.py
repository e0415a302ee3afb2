"""`davy verify`: what the state holds, proved against a header that a producer signed; now, or from a kept proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, cast

import click
import msgspec

from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import json_option
from davy.cli.output import show
from davy.host.files import read_bounded, write_new
from davy.ledger.client.saved import Shown, check_saved
from davy.ledger.rules.records import (
    ACCESS,
    ACCOUNTS,
    BRAKE,
    BUDGETS,
    CHILDREN,
    CONVICTIONS,
    HALTED,
    HOTKEYS,
    ISSUANCE,
    MODELS,
    NEURONS,
    ORDERS,
    OUTCOMES,
    PARAMETERS,
    PRODUCING,
    RETIRED,
    RUNNING,
    STAKES,
    SUBNETS,
    SUPPLY,
    TABLES,
    UIDS,
)
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.limits import MAX_RESULT_BYTES, MAX_SAVED_PROOF_BYTES
from davy.protocol.recorded import GLOBAL_NAME, miner_name, model_name, registrant_name, subnet_name
from davy.protocol.words import U16, KeyRole, key_from_text


def _cold(word: str) -> bytes:
    return key_from_text(KeyRole.COLDKEY, word)


def _hot(word: str) -> bytes:
    return key_from_text(KeyRole.HOTKEY, word)


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= U16):
        raise Malformed(f"'{word[:20]}' is not a number from 0 to {U16}")
    return int(word)


def _digest(word: str) -> bytes:
    raw = _hex(word)
    if len(raw) != 32:
        raise Malformed("an id is 64 hex digits; copy it again")
    return raw


def _hex(word: str) -> bytes:
    try:
        return bytes.fromhex(word)
    except ValueError:
        raise Malformed(f"'{word[:20]}' is not written in hex; copy it again") from None


def _small(word: str) -> bytes:
    return _number(word).to_bytes(2, "big")


def _subnet_name(word: str) -> bytes:
    return subnet_name(_number(word))


def _miner_name(word: str) -> bytes:
    return miner_name(_hot(word))


def _model_name(word: str) -> bytes:
    return model_name(_digest(word))


def _registrant_name(word: str) -> bytes:
    return registrant_name(_cold(word))


class Part(NamedTuple):
    """One word of a thing's name, and what stands for it in a key."""

    word: str
    read: Callable[[str], bytes]


_COLD: Final = Part("COLDKEY", _cold)
_HOT: Final = Part("HOTKEY", _hot)
_NETUID: Final = Part("NETUID", _small)
_MODEL: Final = Part("MODEL", _digest)

KINDS: Final[Mapping[str, tuple[bytes, tuple[Part, ...]]]] = MappingProxyType(
    {
        "account": (ACCOUNTS.tag, (_COLD,)),
        "stake": (STAKES.tag, (_HOT, _COLD)),
        "hotkey": (HOTKEYS.tag, (_HOT,)),
        "conviction": (CONVICTIONS.tag, (_HOT,)),
        "subnet": (SUBNETS.tag, (_NETUID,)),
        "running": (RUNNING.tag, (_NETUID,)),
        "outcome": (OUTCOMES.tag, (_NETUID,)),
        "neuron": (NEURONS.tag, (_NETUID, Part("UID", _small))),
        "uid": (UIDS.tag, (_NETUID, _HOT)),
        "children": (CHILDREN.tag, (_NETUID, _HOT)),
        "model": (MODELS.tag, (_MODEL,)),
        "retired": (RETIRED.tag, (_MODEL,)),
        "access": (ACCESS.tag, (_MODEL,)),
        "budget": (BUDGETS.tag, (Part("BUDGET", _digest),)),
        "brake": (BRAKE.tag, ()),
        "order": (ORDERS.tag, (Part("ORDER", _digest),)),
        "producers": (PRODUCING.tag, ()),
        "halted-everything": (HALTED.tag + GLOBAL_NAME, ()),
        "halted-subnet": (HALTED.tag, (Part("NETUID", _subnet_name),)),
        "halted-miner": (HALTED.tag, (Part("HOTKEY", _miner_name),)),
        "halted-model": (HALTED.tag, (Part("MODEL", _model_name),)),
        "halted-registrant": (HALTED.tag, (Part("COLDKEY", _registrant_name),)),
        "parameters": (PARAMETERS.tag, ()),
        "issuance": (ISSUANCE.tag, ()),
        "supply": (SUPPLY.tag, ()),
        "key": (b"", (Part("HEX", _hex),)),
    }
)
"""What can be asked for: where the state holds it, and the words that name one."""


class _Kind(click.Choice[str]):
    """Many: whoever mistypes one is sent to the list."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        return f"'{str(value)[:64]}' is not one of the kinds that `davy verify --help` lists"


@click.command("verify")
@network_option
@json_option
@click.option("--save", type=click.Path(path_type=Path), help="Keep the proof in this file.")
@click.argument("kind", type=_Kind([*KINDS, "saved"]))
@click.argument("names", nargs=-1)
def verify_command(network: Path, as_json: bool, save: Path | None, kind: str, names: tuple[str, ...]) -> None:
    """Prove what the ledger's state holds, or that it holds nothing, and print it.

    KIND says what to prove, NAMES of whom: `davy verify stake HOTKEY COLDKEY`, `davy verify halted-model MODEL`. The
    proof leads to a header that a producer of this network's chain signed. `--save FILE` keeps it, and
    `davy verify saved FILE` checks it again without a ledger, knowing only the chain's id from the network file.
    """
    chosen = read_network(network)
    if kind == "saved":
        if len(names) != 1 or save is not None:
            raise Misconfigured("write: davy verify saved FILE")
        raw = read_bounded(Path(names[0]), MAX_SAVED_PROOF_BYTES)
    else:
        raw = run(_proof, chosen, key_of(kind, names))
    shown = check_saved(raw, bytes.fromhex(chosen.chain))
    if save is not None:
        write_new(save, raw)
    show(told(shown), as_json=as_json)


def key_of(kind: str, names: Sequence[str]) -> bytes:
    """The key of a thing of this kind and of these names.

    Raises
    ------
    Misconfigured, Malformed
        Other words than the kind takes.
    """
    tag, parts = KINDS[kind]
    if len(names) != len(parts):
        raise Misconfigured(" ".join(("write: davy verify", kind, *(part.word for part in parts))))
    return tag + b"".join(part.read(name) for part, name in zip(parts, names, strict=True))


def told(shown: Shown) -> dict[str, object]:
    """What was proved, as people and programs read it; bytes in hex."""
    table = TABLES.get(shown.key[:1])
    answer: dict[str, object] = {"key": shown.key.hex(), "after_block": shown.height, "header_time": shown.time}
    if shown.value is None:
        return {**answer, "there": False}
    if table is None:
        return {**answer, "there": True, "value": shown.value.hex()}
    record = decode(shown.value, table.kind, limit=MAX_RESULT_BYTES)
    fields = {f: _readable(getattr(record, f)) for f in record.__struct_fields__}
    return {**answer, "there": True, "record": table.kind.__name__, **fields}


def _readable(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case msgspec.Struct():
            return {f: _readable(getattr(value, f)) for f in value.__struct_fields__}
        case tuple():
            return [_readable(item) for item in cast("tuple[object, ...]", value)]
        case _:
            return value


async def _proof(network: Network, key: bytes) -> bytes:
    async with ledger_of(network) as ledger:
        return encode(await ledger.saved_proof(key))
