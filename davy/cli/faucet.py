"""`davy faucet`: tokens for trying things out, on a local network."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import click
import msgspec

from davy.cli.loop import run
from davy.cli.network import Network, network_option, read_network
from davy.cli.options import Tokens, home_option, json_option, tokens
from davy.cli.output import show
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.network.client_failures import told_of_client
from davy.protocol.errors import Misconfigured, Unreachable
from davy.protocol.words import TOKEN, KeyRole, key_text


@click.command("faucet")
@home_option
@network_option
@json_option
@click.argument("amount", type=Tokens(), default=1_000 * TOKEN)
def faucet_command(home: Path, network: Path, as_json: bool, amount: int) -> None:
    """Ask the local network's faucet for AMOUNT tokens (1000 if not given) for this home's coldkey."""
    coldkey = FileKeyStore(Home.open(home).keys).public(KeyRole.COLDKEY)
    show(run(_ask, read_network(network), key_text(KeyRole.COLDKEY, coldkey), amount), as_json=as_json)


async def _ask(network: Network, to: str, amount: int) -> dict[str, object]:
    if not network.faucet:
        raise Misconfigured("this network has no faucet; tokens come by `davy transfer` from somebody who has some")
    body = msgspec.json.encode({"to": to, "amount": amount})
    timeout = aiohttp.ClientTimeout(total=30)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.post(network.faucet, data=body) as answer:
            said = msgspec.json.decode(await answer.content.read(4096), type=dict[str, str | int])
    except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError, msgspec.DecodeError) as e:
        raise Unreachable(
            f"the faucet at {network.faucet[:80]} does not answer ({told_of_client(e)}); is `davy up` running?"
        ) from None
    if "error" in said:
        raise Misconfigured(str(said["error"]))
    return {"to": to, "amount": tokens(amount), "height": said["height"]}
