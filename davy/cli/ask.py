"""`davy ask`: one question to one miner, straight, under an own hotkey; what the miner signed for can be kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec

from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, metagraph_of, network_option, read_network
from davy.cli.options import home_option, json_option, netuid_option, unlocked
from davy.cli.output import show
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.files import write_new
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.network.error_responses import response_error
from davy.network.http_client import HttpTransport
from davy.network.openai import CompletionRequest, parse_response, to_json
from davy.network.receipts import Testimony, check_receipt, receipt_of, response_digest
from davy.network.signed import request_base
from davy.network.signed_client import Question, SignedClient
from davy.protocol.chain import Head, Neuron
from davy.protocol.encoding import encode
from davy.protocol.errors import BadAnswer, Busy, Misconfigured
from davy.protocol.ports import Clock
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.words import KeyRole, UnixMillis

_DEADLINE_MS: Final = 60_000
PAUSE_MS: Final = 500
"""Before a busy miner is asked again: about as long as it may be a block or two behind the ledger."""

T = TypeVar("T")


@click.command("ask")
@home_option
@network_option
@netuid_option
@click.option(
    "--max-tokens", type=click.IntRange(1, 4_096), default=32, show_default=True, help="Most tokens to answer."
)
@click.option("--evidence", type=click.Path(path_type=Path), help="Write what the miner signed for to a new file.")
@json_option
@click.argument("uid", type=click.IntRange(0, 65_535))
@click.argument("prompt")
def ask_command(
    home: Path,
    network: Path,
    netuid: int,
    max_tokens: int,
    evidence: Path | None,
    as_json: bool,
    uid: int,
    prompt: str,
) -> None:
    """Ask the miner UID to continue PROMPT, and check its receipt.

    The home's hotkey needs as much stake as the miner asks of a caller. No guard is asked on this side: the miner must
    know whether its model is halted, and what it signs is evidence (`davy brake convict`).
    """
    if evidence is not None and evidence.exists():
        raise Misconfigured(f"{evidence} exists already and is never overwritten; choose another --evidence")
    keys = unlocked(Home.open(home), KeyRole.HOTKEY)
    request = CompletionRequest("any", prompt, max_tokens=max_tokens, temperature=0.0)
    text, kept = run(_ask, keys, read_network(network), netuid, uid, request)
    if evidence is not None:
        write_new(evidence, encode(kept))
    if as_json:
        show({"text": text, "receipt": kept.receipt.hex()}, as_json=True)
    else:
        click.echo(text)


async def _ask(
    keys: FileKeyStore, network: Network, netuid: int, uid: int, request: CompletionRequest
) -> tuple[str, Testimony]:
    clock = SystemClock()
    async with ledger_of(network) as ledger, HttpTransport(clock) as transport:
        graph, head = await metagraph_of(ledger, netuid), await ledger.head()
        found = next((n for n in graph.neurons if n.uid == uid and n.endpoint and n.model), None)
        if found is None:
            raise Misconfigured(f"UID {uid} serves nothing on subnet {netuid}; `davy status` lists who does")
        client = SignedClient(keys, ledger.chain, transport, clock, OsEntropy())
        deadline = clock.now() + _DEADLINE_MS
        return await until_free(partial(ask, client, found, request, head, deadline=deadline), clock, deadline)


async def until_free(once: Callable[[], Awaitable[T]], clock: Clock, deadline: UnixMillis) -> T:
    """Ask again while a miner is busy: it says so too of an anchor that is newer than what it has verified.

    Raises
    ------
    DavyError
        What it answers with in the end.
    """
    while True:
        try:
            return await once()
        except Busy:
            if (again := clock.now() + PAUSE_MS) >= deadline:
                raise
        await clock.sleep_until(again)


async def ask(
    client: SignedClient, miner: Neuron, request: CompletionRequest, head: Head, *, deadline: int
) -> tuple[str, Testimony]:
    """Ask one miner for the model it serves; return its text, and what it signed for.

    Raises
    ------
    DavyError
        What the miner answers with, or that its receipt does not hold.
    """
    body = to_json(msgspec.structs.replace(request, model=miner.model[0].model_id.hex()))
    q = Question(
        miner.endpoint[0], miner.hotkey, "/v1/completions", body, Anchor(head.height, head.hash), EMPTY_BRAKE_HEAD
    )
    sent, answer = await client.call(q, deadline=deadline)
    if answer.status != 200:
        raise response_error(answer)
    raw = receipt_of(answer)
    if raw is None:
        raise BadAnswer("the miner gave no receipt, so its answer says nothing")
    check_receipt(raw, sent=sent, miner=miner.hotkey, response_body=response_digest(answer.body))
    text = "".join(c.text for c in parse_response(answer.body).choices)
    return text, Testimony(1, request_base(sent), raw)
