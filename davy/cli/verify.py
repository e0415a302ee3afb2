"""`davy verify`: what the state holds, proved against a header that a producer signed; now, or from a kept proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import json_option
from davy.cli.output import show
from davy.host.files import read_bounded, write_new
from davy.ledger.client.saved import Shown, check_saved
from davy.ledger.rules.records import (
    ACCOUNTS,
    BUDGETS,
    CHILDREN,
    CONVICTIONS,
    HALTED,
    HOTKEYS,
    ISSUANCE,
    MODELS,
    NEURONS,
    OUTCOMES,
    PARAMETERS,
    RETIRED,
    RUNNING,
    STAKES,
    SUBNETS,
    SUPPLY,
    TABLES,
    UIDS,
    neuron_key,
    subnet_key,
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
        raise Malformed(f"'{word[:20]}' is no number from 0 to {U16}")
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


def _subnet(word: str) -> bytes:
    return subnet_key(_number(word))


KEYS: Final[dict[str, tuple[str, Callable[..., bytes]]]] = {
    "account": ("COLDKEY", lambda c: ACCOUNTS.tag + _cold(c)),
    "stake": ("HOTKEY COLDKEY", lambda h, c: STAKES.tag + _hot(h) + _cold(c)),
    "hotkey": ("HOTKEY", lambda h: HOTKEYS.tag + _hot(h)),
    "conviction": ("HOTKEY", lambda h: CONVICTIONS.tag + _hot(h)),
    "subnet": ("NETUID", lambda n: SUBNETS.tag + _subnet(n)),
    "running": ("NETUID", lambda n: RUNNING.tag + _subnet(n)),
    "outcome": ("NETUID", lambda n: OUTCOMES.tag + _subnet(n)),
    "neuron": ("NETUID UID", lambda n, u: NEURONS.tag + neuron_key(_number(n), _number(u))),
    "uid": ("NETUID HOTKEY", lambda n, h: UIDS.tag + _subnet(n) + _hot(h)),
    "children": ("NETUID HOTKEY", lambda n, h: CHILDREN.tag + _subnet(n) + _hot(h)),
    "model": ("MODEL", lambda m: MODELS.tag + _digest(m)),
    "retired": ("MODEL", lambda m: RETIRED.tag + _digest(m)),
    "budget": ("BUDGET", lambda b: BUDGETS.tag + _digest(b)),
    "halted-everything": ("", lambda: HALTED.tag + GLOBAL_NAME),
    "halted-subnet": ("NETUID", lambda n: HALTED.tag + subnet_name(_number(n))),
    "halted-miner": ("HOTKEY", lambda h: HALTED.tag + miner_name(_hot(h))),
    "halted-model": ("MODEL", lambda m: HALTED.tag + model_name(_digest(m))),
    "halted-registrant": ("COLDKEY", lambda c: HALTED.tag + registrant_name(_cold(c))),
    "parameters": ("", lambda: PARAMETERS.tag),
    "issuance": ("", lambda: ISSUANCE.tag),
    "supply": ("", lambda: SUPPLY.tag),
    "key": ("HEX", _hex),
}
"""What can be asked for: the words that name it, and the key at which the state holds it."""


@click.command("verify")
@network_option
@json_option
@click.option("--save", type=click.Path(path_type=Path), help="Keep the proof in this file.")
@click.argument("kind", type=click.Choice([*KEYS, "saved"]))
@click.argument("names", nargs=-1)
def verify_command(network: Path, as_json: bool, save: Path | None, kind: str, names: tuple[str, ...]) -> None:
    """Prove what the ledger's state holds, or that it holds nothing, and print it.

    KIND says what, NAMES which: `davy verify stake HOTKEY COLDKEY`, `davy verify halted-model MODEL`. The proof leads
    to a header that a producer of this network's chain signed. `--save FILE` keeps it, and `davy verify saved FILE`
    checks it again, without a ledger: what has to be known is the chain's id, from the network file.
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
    words, key = KEYS[kind]
    if len(names) != len(words.split()):
        raise Misconfigured(f"write: davy verify {kind} {words}".rstrip())
    return key(*names)


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


def _readable(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case msgspec.Struct():
            return {f: _readable(getattr(value, f)) for f in value.__struct_fields__}
        case tuple():
            items: tuple[Any, ...] = value
            return [_readable(item) for item in items]
        case _:
            return value


async def _proof(network: Network, key: bytes) -> bytes:
    async with ledger_of(network) as ledger:
        return encode(await ledger.saved_proof(key))
