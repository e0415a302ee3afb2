"""`davy register`: a UID on a subnet for this home's hotkey."""

from __future__ import annotations

from pathlib import Path

import click

from davy.cli.act import act
from davy.cli.network import Network, ledger_of, network_option, read_network
from davy.cli.options import Tokens, home_option, json_option, run, tokens, unlocked
from davy.cli.output import show
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.signing import Domain
from davy.protocol.transaction import Register, consent_bytes
from davy.protocol.words import KeyRole


@click.command("register")
@home_option
@network_option
@json_option
@click.option("--netuid", "netuids", type=click.IntRange(0, 65_535), multiple=True, default=(1,), help="Repeat it.")
@click.option("--price-limit", type=Tokens(), help="Refuse when the price is higher; the price now, if not given.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost and whether it would be taken; change nothing.")
def register_command(
    home: Path, network: Path, as_json: bool, netuids: tuple[int, ...], price_limit: int | None, dry_run: bool
) -> None:
    """Register this home's hotkey: burns the subnet's registration price and gives a UID."""
    opened = Home.open(home)
    for netuid in netuids:
        answer = run(_register, opened, read_network(network), netuid, price_limit, dry_run)
        show(answer, as_json=as_json)


async def _register(
    home: Home, network: Network, netuid: int, price_limit: int | None, dry_run: bool
) -> dict[str, object]:
    keys = FileKeyStore(home.keys)
    coldkey, hotkey = keys.public(KeyRole.COLDKEY), keys.public(KeyRole.HOTKEY)
    async with ledger_of(network) as ledger:
        m = await ledger.metagraph(netuid)
        price = m.subnet.registration_price
        balance = (await ledger.account(coldkey)).free
        taken = next((n.uid for n in m.neurons if n.hotkey == hotkey), None)
        limit = price if price_limit is None else price_limit
        if taken is not None:
            raise TxFailed(TxCode.EXISTS, f"this hotkey has UID {taken} on subnet {netuid} already; nothing was done")
        if price > limit:
            raise TxFailed(TxCode.TOO_EXPENSIVE, f"the price is {tokens(price)}, above your limit; raise --price-limit")
        if price > balance:
            raise TxFailed(
                TxCode.INSUFFICIENT,
                f"the price is {tokens(price)}, the coldkey holds {tokens(balance)}; add tokens first",
            )
        answer: dict[str, object] = {"netuid": netuid, "price": tokens(price), "balance": tokens(balance)}
        if dry_run:
            return {**answer, "would_register": True}
        signing = unlocked(home, KeyRole.COLDKEY, KeyRole.HOTKEY)
        consent = signing.sign(KeyRole.HOTKEY, Domain.CONSENT, consent_bytes(ledger.chain, coldkey, hotkey))
        result = await act(ledger, signing, KeyRole.COLDKEY, Register(netuid, hotkey, consent, limit))
        after = await ledger.metagraph(netuid)
        uid = next((n.uid for n in after.neurons if n.hotkey == hotkey), None)
        return {**answer, "uid": uid, "height": result.height}
