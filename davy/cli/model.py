"""`davy model`: put a model on the ledger's register, so that it may be served, and say who may ask for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from davy.cli.act import act
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.network import Network, asked, coldkey_of, ledger_of, network_option, read_network
from davy.cli.options import home_option, json_option, tokens, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.miners.loading import load_manifest, option, probed_manifest
from davy.protocol.chain import ModelState
from davy.protocol.errors import Malformed, Misconfigured, TxCode, TxFailed
from davy.protocol.limits import MAX_NAMED_CALLERS
from davy.protocol.manifest import Access, ModelClass, model_id
from davy.protocol.recorded import AccessRecord
from davy.protocol.transaction import RegisterModel, RetireModel, SetAccess
from davy.protocol.words import KeyRole, ModelId, key_from_text, key_text

F = TypeVar("F", bound=Callable[..., Any])


def backend_options(function: F) -> F:
    """``--backend`` and ``-o``: what answers."""
    chosen = click.option(
        "--backend",
        default="huggingface",
        show_default=True,
        help="huggingface, upstream, module:Class or path/to/file.py:Class.",
    )
    options = click.option(
        "-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="For the backend; may be repeated."
    )
    return chosen(options(function))


@click.group("model", cls=Whole)
def model_command() -> None:
    """Register a model, look one up, say who may ask for it, or retire it."""


@model_command.command()
@home_option
@network_option
@json_option
@backend_options
@click.option(
    "--ancestor", "ancestors", multiple=True, metavar="MODEL", help="A model it was made from; may be repeated."
)
@click.option("--systemic", is_flag=True, help="Only a LIFT ends its halts, and it is served only with a LEASE.")
@click.option("--unasked", is_flag=True, help="Do not ask an upstream server first whether it has the model.")
def register(
    home: Path, network: Path, as_json: bool, backend: str, options: tuple[str, ...], ancestors: tuple[str, ...],
    systemic: bool, unasked: bool,
) -> None:  # fmt: skip
    """Register the backend's model, once for all its miners.

    It costs this home's coldkey a bond: `model_bond` of the chain's parameters, 1 token unless the genesis says
    otherwise. The ledger gives it back when the model has left the register (`davy model retire`).
    """
    given = dict(map(option, options))
    manifest = load_manifest(backend, given) if unasked else run(probed_manifest, backend, given)
    parents = tuple(sorted({_id(model) for model in ancestors}))
    action = RegisterModel(manifest, parents, ModelClass.SYSTEMIC if systemic else ModelClass.ORDINARY)
    show(run(_register, Home.open(home), read_network(network), action), as_json=as_json)


@model_command.command()
@home_option
@network_option
@json_option
@click.argument("model")
def retire(home: Path, network: Path, as_json: bool, model: str) -> None:
    """Announce that MODEL leaves the register; called again an unbonding time later, take its bond back.

    From the announcement on, nobody can begin to serve it. Once it has left, serving it earns nothing.
    """
    show(run(_retire, Home.open(home), read_network(network), _id(model)), as_json=as_json)


@model_command.command()
@home_option
@network_option
@json_option
@click.argument("model")
@click.argument("policy", type=click.Choice([a.value for a in Access]))
@click.option(
    "--name", "names", multiple=True, metavar="KEY", help="A coldkey or a hotkey that may ask; may be repeated."
)
def access(home: Path, network: Path, as_json: bool, model: str, policy: str, names: tuple[str, ...]) -> None:
    """Say who may ask for MODEL, whatever a miner's own switches say; the stricter of both counts.

    `any` leaves it to the miners. `admitted`: callers with stake, also where a miner is open to all. `named`: those
    named with --name (a coldkey stands for all of its hotkeys) and, so that it can be scored, validators with a permit.
    Each call replaces what was said before. Honest nodes keep to it as soon as they see the block.
    """
    show(run(_access, Home.open(home), read_network(network), _id(model), Access(policy), names), as_json=as_json)


@model_command.command("show")
@network_option
@json_option
@click.argument("model")
def show_model(network: Path, as_json: bool, model: str) -> None:
    """Print what the ledger knows of MODEL, an id in hex."""
    state, said = run(_state, read_network(network), _id(model))
    record = state.model
    m = record.manifest
    show(
        {
            "model": model,
            "name": m.name,
            "format": m.format,
            "licence": m.licence,
            "files": ", ".join(f.name for f in m.files),
            "registered_at": record.registered_at,
            "permitted_from": record.permitted_from,
            "bond": tokens(state.bond),
            "leaves_at": state.leaves or None,
            "class": record.model_class.value,
            "ancestors": ", ".join(i.hex() for i in record.ancestors),
            **access_told(said),
        },
        as_json=as_json,
    )


def access_told(said: AccessRecord) -> dict[str, object]:
    """Who may ask for a model, as people and programs read it."""
    named = [key_text(KeyRole.COLDKEY, key) for key in said.coldkeys]
    named += [key_text(KeyRole.HOTKEY, key) for key in said.hotkeys]
    return {"access": said.access.value, "named": ", ".join(named)}


def _id(model: str) -> ModelId:
    try:
        wanted = bytes.fromhex(model)
    except ValueError:
        wanted = b""
    if len(wanted) != 32:
        raise Malformed("a model id is 64 hex digits; `davy status --json` shows those that are served")
    return wanted


async def _register(home: Home, network: Network, action: RegisterModel) -> dict[str, object]:
    answer: dict[str, object] = {"model": model_id(action.manifest).hex(), "name": action.manifest.name}
    async with ledger_of(network) as ledger:
        keys = unlocked(home, KeyRole.COLDKEY)
        try:
            result = await act(ledger, keys, KeyRole.COLDKEY, action)
        except TxFailed as e:
            if e.code is not TxCode.EXISTS:
                raise
            return {**answer, "registered": "before"}
        p = (await ledger.genesis()).parameters
    permitted_from = result.height + p.model_review
    return {**answer, "registered": result.height, "permitted_from": permitted_from, "bond": tokens(p.model_bond)}


async def _retire(home: Home, network: Network, model: ModelId) -> dict[str, object]:
    async with ledger_of(network) as ledger:
        before = await asked(ledger, "/model_state", model, ModelState)
        keys = unlocked(home, KeyRole.COLDKEY)
        result = await act(ledger, keys, KeyRole.COLDKEY, RetireModel(model))
        after = await asked(ledger, "/model_state", model, ModelState)
    back = tokens(before.bond - after.bond)
    return {"model": model.hex(), "leaves_at": after.leaves, "bond_paid_back": back, "height": result.height}


async def _state(network: Network, wanted: ModelId) -> tuple[ModelState, AccessRecord]:
    async with ledger_of(network) as ledger:
        return await asked(ledger, "/model_state", wanted, ModelState), (await ledger.accesses((wanted,)))[0]


async def _access(
    home: Home, network: Network, model: ModelId, access: Access, names: tuple[str, ...]
) -> dict[str, object]:
    if names and access is not Access.NAMED:
        raise Misconfigured(f"keys are named under '{Access.NAMED}' only; leave --name out, or choose that")
    hotkeys = {key_from_text(KeyRole.HOTKEY, name) for name in names if name.strip().startswith(KeyRole.HOTKEY)}
    colds = [key_from_text(KeyRole.COLDKEY, name) for name in names if not name.strip().startswith(KeyRole.HOTKEY)]
    async with ledger_of(network) as ledger:
        coldkeys = {await coldkey_of(ledger, key) for key in colds}
        if len(coldkeys) + len(hotkeys) > MAX_NAMED_CALLERS:
            raise Misconfigured(f"at most {MAX_NAMED_CALLERS} keys are named; a coldkey stands for all of its hotkeys")
        keys = unlocked(home, KeyRole.COLDKEY)
        action = SetAccess(model, access, tuple(sorted(coldkeys)), tuple(sorted(hotkeys)))
        result = await act(ledger, keys, KeyRole.COLDKEY, action)
        (said,) = await ledger.accesses((model,))
        return {"model": model.hex(), **access_told(said), "height": result.height}
