"""A manifest played: a fault while transactions and an order of keyholders are on their way, then all that must hold.

After each: every producer goes on, all tell one history and one state, no base unit was made or lost, no acknowledged
transaction is missing anywhere, the last epoch paid miners and all tell alike how much, every halt that was ordered
meanwhile is proved by every ledger, and every node obeys it. With two of four away no block is made, and nodes obey
what is brought to them, one though it is killed then; with one of the two back, blocks are made again.
"""

from __future__ import annotations

from pathlib import Path

import anyio
from msgspec.structs import astuple

from davy.ledger.client import RpcLedger
from davy.protocol.chain import Head, Issuance
from tests.faults.hostile import HOSTILE
from tests.faults.killed_nodes import KILLED_NODES
from tests.faults.kinds import KINDS
from tests.faults.manifest import Manifest, Step
from tests.faults.market import NETUID, pays_miners, running_epoch
from tests.faults.net import COUNT, Net, running
from tests.faults.nodes import HOTKEYS, SERVES, STOPPED, ledger_of
from tests.ledger.driver.cometbft.engines import reach

AWAY_S = 3.0
"""For how long no block may come while two are away: thirty times what one takes."""
GOES_ON = 3
"""Blocks that three make before the fourth is back."""
RECENT = 50
"""Acknowledged transactions that are looked for on every ledger after each fault; all of them at the end."""


async def play(folder: Path, program: Path, manifest: Manifest, seed: int, *, rounds: int = 1) -> int:
    """Play a manifest some times over on one chain; returns how many perturbations there were."""
    count = 0
    made = running(folder, program, seed, namespaces=manifest.namespaces, hostile=HOSTILE if manifest.hostile else None)
    async with made as net:
        for ledger in net.clients:
            await reach(ledger, 2)
        for step in [step for _ in range(rounds) for step in manifest.steps]:
            await perturb(net, step)
            await check(net, RECENT)
            count += 1
            print(f"  {step.fault} of {step.whom}: held at block {(await net.client(1).head()).height}", flush=True)
        await check(net, len(net.acknowledged))
    return count


async def perturb(net: Net, step: Step) -> None:
    """Let a fault begin and end, with transactions and orders meanwhile."""
    of_nodes = step.fault in KILLED_NODES
    whom = net.drawn.victims.sample(range(1, (len(HOTKEYS) if of_nodes else COUNT) + 1), step.whom)
    struck = {ledger_of(n) for n in whom} if of_nodes else whom
    others = [n for n in range(1, COUNT + 1) if n not in struck]
    most = step.fault == "skew-most"  # then it is the others who take no part
    at = net.client(net.drawn.victims.choice(whom if most else others))
    whole = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(net.send, whole)
        before = (await at.head()).height
        # Two go one after the other, and so they come back.
        heals = [await KINDS[step.fault](net, some) for some in ([whom] if step.blocks else [[n] for n in whom])]
        tasks.start_soon(net.hand_in, at, *net.sign_orders())
        if step.blocks:
            await reach(at, before + step.blocks)
        else:
            before = await stands_still(net, at)
            one = net.drawn.victims.randint(1, len(HOTKEYS))
            net.nodes.kill(one)
            tasks.start_soon(net.nodes.come_back, one)  # it obeyed what no ledger has yet
        for heal in heals:
            await heal()
            if not step.blocks:
                await reach(at, before + GOES_ON)
        whole.set()


async def stands_still(net: Net, ledger: RpcLedger) -> int:
    """No block comes, but for what was decided when the two went; nodes are told of a halt, one by others, and stop.

    Returns the height at which it stands.
    """
    stands = (await ledger.head()).height
    await net.nodes.until_all(SERVES)
    await net.bring(but=net.drawn.victims.randint(1, len(HOTKEYS)))
    await net.nodes.until_all(STOPPED)
    await anyio.sleep(AWAY_S)
    height = (await ledger.head()).height
    assert height <= stands + 1, "two of four decide nothing"
    return height


async def check(net: Net, txs: int) -> None:
    """All that must hold when all are back."""
    for ledger in net.clients:
        await reach(ledger, 1)  # it answers again
    newest = max([(await net.client(n).head()).height for n in range(1, COUNT + 1)])
    for ledger in net.clients:
        await reach(ledger, newest + 3)
    told = {await head_at(ledger, newest + 3) for ledger in net.clients}
    assert len(told) == 1, f"several histories of block {newest + 3}: {told}"
    wanted = dict(list(net.acknowledged.items())[-txs:])
    for ledger in net.clients:
        conserved(await ledger.issuance())
        assert {key: await ledger.nonce(key) for key in net.nonces} == net.nonces
        assert {h: await ledger.outcome(h, until=0) for h in wanted} == wanted
        halted = await ledger.halted(*net.halts[-RECENT:])
        assert None not in halted.values(), "an order is missing"
        assert len((await ledger.brake()).orders) == net.orders
    assert all(r.code == 0 for r in wanted.values())
    await paid(net)
    await net.obeyed()


async def paid(net: Net) -> None:
    """The last epoch that has ended everywhere paid by incentive, and every ledger tells the same of it."""
    ended = min([await running_epoch(ledger) for ledger in net.clients]) - 1
    told = [await ledger.epoch(NETUID, ended) for ledger in net.clients]
    assert pays_miners(told[0]), f"nobody was paid for being weighed in epoch {ended}: {told[0]}"
    assert all(record == told[0] for record in told), f"several records of epoch {ended}: {told}"


async def head_at(ledger: RpcLedger, height: int) -> Head:
    async with ledger.blocks(height - 1) as heads:
        return await anext(heads)


def conserved(x: Issuance) -> None:
    """What was issued is what is held."""
    _, issued, *held, _ = astuple(x)
    assert issued == sum(held), x
