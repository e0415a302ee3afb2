"""A running network as a simulation takes it: stakes, weights in force and hyperparameters, from a ledger or a file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import anyio
import numpy as np
from msgspec import Meta

from davy.incentive.consensus import minority, weighted_median
from davy.incentive.fixed_point import Int64, row_normalise
from davy.protocol.chain import Metagraph, RowsInForce
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Misconfigured, Refused
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import EMISSION_PARTS, MAX_GENESIS_BYTES, MAX_RESULT_BYTES, ChainParameters
from davy.protocol.words import TOKEN, ChainId, Digest
from davy.sims.noise import UNIT

_MAX_BYTES: Final = 3 * MAX_RESULT_BYTES


class Snapshot(Wire):
    """A subnet after a block, as the ledger that was asked tells it; views are not proved."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: Digest
    parameters: ChainParameters
    graph: Metagraph
    rows: RowsInForce


class Seen(NamedTuple):
    """What a market needs of a snapshot; attackers last, as everywhere.

    Attributes
    ----------
    stakes : [V]
        Base units of the validators: who has a permit and a row in force.
    qualities : [M]
        1 is `UNIT`: the stake-weighted median of the weights in force, the largest being 1.
    noise
        Median over validators of the spread of a row around that median, relative to it.
    """

    validators: tuple[int, ...]
    miners: tuple[int, ...]
    stakes: Int64
    qualities: Int64
    noise: float


def take_snapshot(url: str, netuid: int = 1, *, chain: ChainId | None = None) -> Snapshot:
    """Ask a ledger for a subnet as it is now; may be called where an event loop runs, as in a notebook.

    Parameters
    ----------
    chain
        The network's chain id; else that of whatever genesis is told there is believed.

    Raises
    ------
    Misconfigured
        That is no address.
    Unreachable, Refused
        The ledger does not answer, or not as one does; there is no such subnet; it runs another chain.
    """
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(anyio.run, _ask, url, netuid, chain).result()


async def _ask(url: str, netuid: int, chain: ChainId | None) -> Snapshot:
    # Imported here: workers play scenarios, and need no HTTP client for it.
    from davy.ledger.client.answers import GenesisAnswer
    from davy.ledger.client.ledger import RpcLedger
    from davy.ledger.client.rpc import RpcCaller, to_bytes

    if chain is None:
        async with RpcCaller(url) as rpc:
            told = (await rpc.call("genesis", GenesisAnswer)).genesis
        chain = chain_id(decode(to_bytes(told.app_state), Genesis, limit=MAX_GENESIS_BYTES))
    async with RpcLedger(url, chain) as ledger:
        genesis = await ledger.genesis()
        return Snapshot(1, chain, genesis.parameters, await ledger.metagraph(netuid), await ledger.rows(netuid))


def write_snapshot(s: Snapshot, place: Path) -> None:
    """Keep a snapshot, in davy's own encoding."""
    place.write_bytes(encode(s))


def read_snapshot(place: Path) -> Snapshot:
    """Read what `write_snapshot` kept.

    Raises
    ------
    Misconfigured
        It is not there, or no snapshot.
    """
    try:
        with place.open("rb") as f:
            return decode(f.read(_MAX_BYTES + 1), Snapshot, limit=_MAX_BYTES)
    except (OSError, Refused) as e:
        raise Misconfigured(f"{place} is not a network's snapshot ({e}); `davy sim snapshot URL FILE` makes one") from e


def seen_in(s: Snapshot, colluding: tuple[int, ...]) -> Seen:
    """Stakes and qualities, with the `colluding` UIDs at the end of validators or miners.

    Raises
    ------
    Misconfigured
        One of them is no UID; nobody weighs anybody yet; no honest validator or miner is left.
    """
    neurons = {n.uid: n for n in s.graph.neurons}
    unknown = [uid for uid in colluding if uid not in neurons]
    if unknown:
        raise Misconfigured(f"there is no UID {unknown[0]} on subnet {s.graph.subnet.netuid}; it has {len(neurons)}")
    voting = {r.uid: r for r in s.rows.rows if neurons[r.uid].permit and neurons[r.uid].stake and r.values}

    def ordered(uids: list[int]) -> tuple[int, ...]:
        return tuple(sorted(uids, key=lambda uid: (uid in colluding, uid)))

    validators = ordered(list(voting))
    miners = ordered([uid for uid in neurons if uid not in voting])
    for word, uids in (("validators whose weights are in force", validators), ("miners", miners)):
        if len(uids) < 2 or all(uid in colluding for uid in uids):
            raise Misconfigured(f"this takes two {word} at least, and one of them honest; the subnet has {len(uids)}")
    place = {uid: i for i, uid in enumerate(miners)}
    weights = np.zeros((len(validators), len(miners)), dtype=np.int64)
    for row, uid in enumerate(validators):
        for column, value in voting[uid].values:
            if column in place:
                weights[row, place[column]] = value
    stakes = np.array([neurons[uid].stake for uid in validators], dtype=np.int64)
    shares = row_normalise(weights)
    middle = weighted_median(shares, stakes, minority(stakes.sum(), s.graph.subnet.hyperparameters.kappa))
    if not middle.any():
        raise Misconfigured("no miner has weight of a majority of stake yet; wait for an epoch in which one has")
    weighed = middle > 0
    off = np.abs(shares[:, weighed] / middle[weighed] - 1)
    spread = float(np.median(np.median(off, axis=1))) * 1.4826
    return Seen(validators, miners, stakes, middle * UNIT // middle.max(), min(1.0, round(spread, 4)))


def share_of(stakes: Int64, attackers: int) -> float:
    """Of all stake, what the last `attackers` hold."""
    return int(stakes[len(stakes) - attackers :].sum()) / int(stakes.sum()) if attackers else 0.0


def minted(s: Snapshot) -> float:
    """Tokens an epoch, before the owner's cut: the schedule's reward of a tempo and the subnet's share of it."""
    h, p = s.graph.subnet.hyperparameters, s.parameters
    reward = p.block_reward >> min(s.graph.height // p.halving_interval, 63)
    return reward * h.tempo * s.graph.subnet.share / (EMISSION_PARTS * TOKEN)
