"""`davy register`: a UID on a subnet for this home's hotkey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from davy.cli.act import act
from davy.cli.loop import run
from davy.cli.network import Network, coldkey_of, ledger_of, metagraph_of, network_option, neuron_of, read_network
from davy.cli.options import Tokens, home_option, json_option, netuids_option, tokens, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.chain import Metagraph
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.signing import Domain
from davy.protocol.transaction import Register, consent_bytes
from davy.protocol.words import KeyRole


@click.command("register")
@home_option
@network_option
@json_option
@netuids_option
@click.option("--price-limit", type=Tokens(), help="Refuse if the price is higher; default: the price now.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost and whether it would succeed; change nothing.")
def register_command(
    home: Path, network: Path, as_json: bool, netuids: tuple[int, ...], price_limit: int | None, dry_run: bool
) -> None:
    """Register this home's hotkey: burns the subnet's registration price, and gives a UID."""
    answers = run(_register, Home.open(home), read_network(network), netuids, price_limit, dry_run)
    if as_json and len(answers) > 1:
        click.echo(msgspec.json.encode(answers))
        return
    for answer in answers:
        show(answer, as_json=as_json)


async def _register(
    home: Home, network: Network, netuids: Sequence[int], price_limit: int | None, dry_run: bool
) -> list[dict[str, object]]:
    """Look at every subnet first: what would be turned down on one of them is told before anything is paid."""
    keys = FileKeyStore(home.keys)
    hotkey = keys.public(KeyRole.HOTKEY)
    async with ledger_of(network) as ledger:
        coldkey = await coldkey_of(ledger, keys.public(KeyRole.COLDKEY))
        graphs = [await metagraph_of(ledger, netuid) for netuid in dict.fromkeys(netuids)]
        balance = (await ledger.account(coldkey)).free
        for m in graphs:
            _check(m, hotkey, price_limit)
        price = sum(m.subnet.registration_price for m in graphs)
        if price > balance:
            raise TxFailed(
                TxCode.INSUFFICIENT,
                f"the price is {tokens(price)}, the coldkey holds {tokens(balance)}; add tokens first",
            )
        if dry_run:
            return [{**_quote(m, balance), "would_register": True} for m in graphs]
        signing = unlocked(home, KeyRole.COLDKEY, KeyRole.HOTKEY)
        consent = signing.sign(KeyRole.HOTKEY, Domain.CONSENT, consent_bytes(ledger.chain, coldkey, hotkey))
        answers: list[dict[str, object]] = []
        for m in graphs:
            limit = m.subnet.registration_price if price_limit is None else price_limit
            action = Register(m.subnet.netuid, hotkey, consent, limit)
            result = await act(ledger, signing, KeyRole.COLDKEY, action)
            uid = neuron_of(await ledger.metagraph(m.subnet.netuid), hotkey).uid
            left = (await ledger.account(coldkey)).free
            answers.append({**_quote(m, left), "uid": uid, "height": result.height})
        return answers


def _check(m: Metagraph, hotkey: bytes, price_limit: int | None) -> None:
    price = m.subnet.registration_price
    taken = next((n.uid for n in m.neurons if n.hotkey == hotkey), None)
    if taken is not None:
        raise TxFailed(
            TxCode.EXISTS, f"this hotkey has UID {taken} on subnet {m.subnet.netuid} already; nothing was done"
        )
    if price_limit is not None and price > price_limit:
        raise TxFailed(TxCode.TOO_EXPENSIVE, f"the price is {tokens(price)}, above your limit; raise --price-limit")


def _quote(m: Metagraph, balance: int) -> dict[str, object]:
    """What registering costs, and the coldkey's free balance now: before it was paid, or after."""
    return {"netuid": m.subnet.netuid, "price": tokens(m.subnet.registration_price), "balance": tokens(balance)}
