"""`davy validator`: challenge, score, commit and reveal until Ctrl-C."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from anyio import to_thread

from davy import models as shipped
from davy.cli.ending import until_told
from davy.cli.gateway import Door, Node, door, gateway, url_of
from davy.cli.gossip import LOCAL, gossip_options, joining
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, metagraph_of, network_option, neuron_of, read_network
from davy.cli.options import Host, home_option, json_option, made, netuids_option, pace_options, unlocked
from davy.cli.output import show
from davy.gateway.gateway import Limits
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.files import whole_path
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.host.store import SqliteStore
from davy.killswitch.scope import Subject
from davy.ledger.rules.halts import model_facts
from davy.network.exchange import Exchanges
from davy.network.gossip.joining import Joining, join_gossip
from davy.network.http_client import HttpTransport
from davy.network.node_brake import open_brake
from davy.network.signed_client import SignedClient
from davy.protocol.chain import Metagraph, ModelRecord
from davy.protocol.encoding import decode
from davy.protocol.errors import DavyError, Misconfigured
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.ports import Ports, Store
from davy.protocol.words import KeyRole, ModelId
from davy.tasks.corpus import Disguised, private_rng
from davy.tasks.shape import Shapes
from davy.tasks.task import Setting, Task, open_task
from davy.tasks.text import Text
from davy.validators.challenger import Challenger
from davy.validators.evidence import Evidence
from davy.validators.examiner import Examiner, Means, Pace
from davy.validators.identity import IdentityEvidence, Known
from davy.validators.library import Library
from davy.validators.node import Timing, ValidatorNode
from davy.validators.organic import OrganicEvidence, read_answer
from davy.validators.originality import OriginalityEvidence
from davy.validators.source import WeightSource

_TRIED: Final = 32
"""Challenges drawn at the start: their sizes are drawn, too, and a short corpus gives the small ones."""
_log = logging.getLogger(__name__)


class Work(NamedTuple):
    """What an operator wants of a validator.

    Parameters
    ----------
    users
        Where users are answered, too; None for nowhere.
    others
        Homes of gateways whose exchanges are judged.
    change
        What is changed in what the examiner works with.
    """

    netuids: tuple[int, ...]
    library: Path
    corpus: Path | None
    pace: Pace
    users: Door | None
    others: tuple[Home, ...]
    source: str | None
    change: Callable[[Means], Means]
    gossip: Joining | None


@click.command("validator")
@home_option
@network_option
@netuids_option
@click.option(
    "--library",
    type=click.Path(path_type=Path),
    default=Path(shipped.__file__).parent,
    help="Folder of model folders: these models can be run again. davy's own by default.",
)
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of your own texts to make challenges from.")
@pace_options
@click.option("--deadline", type=click.FloatRange(0.1, 600), default=20.0, show_default=True, help="Seconds to answer.")
@click.option(
    "--parallel",
    type=click.IntRange(1, 4096),
    default=Pace().parallel,
    show_default=True,
    help="Requests under way at once.",
)
@click.option("--sparing", is_flag=True, help="Send only half the challenges to miners with no hope of being paid.")
@click.option(
    "--gateway",
    "gateway_port",
    type=click.IntRange(0, 65_535),
    help="Also answer users on this port; 0 for any free one.",
)
@click.option(
    "--gateway-host", type=Host(), default="127.0.0.1", show_default=True, help="Host to listen on, in plain HTTP."
)
@click.option(
    "--exchanges",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="HOME",
    help="Home of a gateway on this machine whose users' answers are judged too; may be repeated.",
)
@gossip_options
@click.option("--source", help="module:Class that gives the weights without examining miners, to study strategies.")
@click.option("--means", hidden=True, help="module:function that changes what the examiner works with: for sabotage.")
@click.option("--verbose", is_flag=True, help="Log what it does.")
@json_option
def validator_command(
    home: Path,
    network: Path,
    netuids: tuple[int, ...],
    library: Path,
    corpus: Path | None,
    challenges: int,
    round_s: float,
    deadline: float,
    parallel: int,
    sparing: bool,
    gateway_port: int | None,
    gateway_host: str,
    exchanges: tuple[Path, ...],
    gossip_port: int | None,
    gossip_host: str | None,
    gossip_peers: tuple[str, ...],
    source: str | None,
    means: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Examine the miners of one or more subnets of one task, and commit and reveal weights.

    The home needs a hotkey that is registered on each subnet, with enough stake for a permit.
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s")
    opened = Home.open(home)
    if corpus is not None and not corpus.is_dir():
        raise Misconfigured(f"there is no folder {corpus}; name one with .txt, .md or .rst files")
    keys = unlocked(opened, KeyRole.HOTKEY)
    work = Work(
        netuids,
        library,
        corpus,
        Pace(challenges, int(round_s * 1000), int(deadline * 1000), parallel, spares=sparing),
        None if gateway_port is None else door(gateway_host, gateway_port, Limits()),
        tuple(Home.open(path) for path in exchanges),
        source,
        partial(_changed, means),
        joining(gossip_host or LOCAL, gossip_port, gossip_peers),
    )
    with opened.running():
        validating = partial(_validate, opened, keys, read_network(network), work, as_json)
        run(until_told, validating, "the validator has stopped; what it knows of its miners is kept")


async def _validate(home: Home, keys: FileKeyStore, network: Network, work: Work, as_json: bool) -> None:
    async with AsyncExitStack() as opened:
        ledger = await opened.enter_async_context(ledger_of(network))
        transport = await opened.enter_async_context(HttpTransport(SystemClock()))
        graphs = [await metagraph_of(ledger, n) for n in work.netuids]
        own = [neuron_of(m, keys.public(KeyRole.HOTKEY)) for m in graphs]
        if len({m.subnet.task for m in graphs}) > 1:
            raise Misconfigured("the subnets have different tasks; run one validator for each task")
        store = opened.enter_context(SqliteStore(home.store))
        others = [opened.enter_context(SqliteStore(other.store)) for other in work.others]
        ports = Ports(keys, ledger, SystemClock(), OsEntropy(), store, transport)
        brake = await open_brake(await ledger.genesis(), ports)
        if work.gossip is not None:
            join_gossip(brake, work.gossip, ports)
        node = Node(keys, ledger, transport, store, work.netuids, Shapes(), brake)
        weights: WeightSource = (
            made(work.source, ledger, keys, methods=("run", "see", "weights"))
            if work.source
            else await _examiner(node, graphs, work, others)
        )
        timing = Timing(commit_at=getattr(weights, "commit_at", Timing().commit_at))
        validator = ValidatorNode(work.netuids, ports, weights, brake, timing)
        url = ""
        if work.users is not None:
            url = url_of(work.users, await opened.enter_async_context(gateway(node, work.users)))
        _ready(graphs, [n.permit for n in own], url, as_json=as_json)
        await validator.run()


async def _examiner(node: Node, graphs: list[Metagraph], work: Work, others: Sequence[Store]) -> Examiner:
    clock, entropy, ledger = SystemClock(), OsEntropy(), node.ledger
    name, library = graphs[0].subnet.task, Library(work.library)
    texts = Disguised.folder(work.corpus) if work.corpus else Disguised.held_out(Path(shipped.__file__).parent)
    task = await to_thread.run_sync(open_task, name, Setting(cache=_cache(), shapes=node.shapes))
    await to_thread.run_sync(_try_corpus, task, texts, work.corpus)

    async def registered(model_id: ModelId) -> ModelRecord | None:
        try:
            record = decode(await ledger.query("/model", model_id), ModelRecord, limit=MAX_RESULT_BYTES)
            # What is halted is not loaded to be run again either.
            node.brake.guard.permit(Subject(model=model_facts(model_id, record)))
        except DavyError as e:
            _log.debug("model %s is not run again: %s", model_id.hex()[:16], e)
            return None
        return record

    async def at_hand(record: ModelRecord) -> Known | None:
        return await to_thread.run_sync(library.load, record.manifest)

    evidence: list[Evidence] = []
    if isinstance(task, Text):
        identity = IdentityEvidence(registered, at_hand)
        sources = [Exchanges(store) for store in (node.store, *others)]
        read = partial(read_answer, task.vocabulary)
        organic = OrganicEvidence(identity, sources, read, ledger.chain, node.store, node.shapes)
        evidence = [identity, OriginalityEvidence(library.kinship()), organic]
    client = SignedClient(node.keys, ledger.chain, node.transport, clock, entropy)
    challenger = Challenger(client, clock, await ledger.head(), node.brake)
    means = Means(task, texts, challenger, evidence, node.brake, ledger, node.store, entropy, clock, to_thread.run_sync)
    own = node.keys.public(KeyRole.HOTKEY)
    return Examiner([m.subnet.netuid for m in graphs], own, work.change(means), work.pace)


def _try_corpus(task: Task[Any, Any], texts: Disguised, folder: Path | None) -> None:
    """Draw a few challenges that nobody is asked, so that a corpus which gives none is told of before anybody waits.

    Raises
    ------
    Misconfigured
    """
    rng = private_rng(OsEntropy().bytes(32), netuid=0, epoch=0)
    try:
        for _ in range(_TRIED):
            task.challenge(rng, texts)
    except Misconfigured as e:
        raise Misconfigured(f"no challenges can be made of {folder or 'the held-out text'}: {e}") from None


def _cache() -> Path:
    """Where tables made from public text are kept, for all validators of this user."""
    return whole_path(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))) / "davy"


def _ready(graphs: Sequence[Metagraph], permits: Sequence[bool], url: str, *, as_json: bool) -> None:
    netuids, task = [m.subnet.netuid for m in graphs], graphs[0].subnet.task
    if as_json:
        users = {"url": url} if url else {}
        show({"netuids": netuids, "task": task, "permits": permits, **users}, as_json=True)
        return
    click.echo(f"validating subnet {', '.join(map(str, netuids))}, task {task}")
    for netuid in (n for n, permit in zip(netuids, permits, strict=True) if not permit):
        click.echo(f"no permit on subnet {netuid} yet: weights count from the epoch on that finds enough stake")
    if url:
        click.echo(f"answering users at {url}")


def _changed(spec: str | None, means: Means) -> Means:
    return made(spec, means, methods=Means._fields) if spec else means
