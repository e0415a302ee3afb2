"""A subnet whose epochs are not empty: two who weigh and two who are weighed, all of one coldkey."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.protocol.chain import EpochRecord, Neuron
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import (
    Action,
    AddStake,
    Register,
    RemoveStake,
    SetWeights,
    Transfer,
    Weight,
    consent_bytes,
    weight_subject,
)
from davy.protocol.words import MAX_SUPPLY, TOKEN

NETUID: Final = 1
SUBNET: Final = "text:tempo=10,commit_reveal=0"
STAKE: Final = 1_000 * TOKEN
TO: Final = bytes(31) + b"\1"

KeyPair = tuple[bytes, bytes]
"""Public, secret."""


def keys(name: str) -> KeyPair:
    return bindings.crypto_sign_seed_keypair(hashlib.sha256(name.encode()).digest())


VALIDATORS: Final = (keys("validator 1"), keys("validator 2"))
MINERS: Final = (keys("miner 1"), keys("miner 2"))


def registration(chain: bytes, coldkey: bytes, hotkey: KeyPair) -> Register:
    public, secret = hotkey
    return Register(NETUID, public, sign(secret, Domain.CONSENT, consent_bytes(chain, coldkey, public)), MAX_SUPPLY)


def weights(neurons: Sequence[Neuron], values: Sequence[int]) -> SetWeights:
    """So much for each miner in turn; none serves a model."""
    miners = dict(zip((public for public, _ in MINERS), values, strict=True))
    given = [n for n in neurons if n.hotkey in miners]
    return SetWeights(
        NETUID,
        tuple(Weight(n.uid, weight_subject(n.hotkey, n.registered_at, b""), miners[n.hotkey]) for n in given),
    )


def load(number: int) -> Action:
    """What a coldkey does next: transfers mostly; stake is added now and then, and later as much is taken away."""
    staked, _ = VALIDATORS[number // 6 % 2]
    if number % 6 == 2:
        return AddStake(staked, TOKEN)
    if number % 6 == 5:
        return RemoveStake(staked, TOKEN)
    return Transfer(TO, TOKEN // 1_000 + number % 1_000)


async def may_weigh(ledger: RpcLedger) -> bool:
    """Whether all validators have their permits."""
    permitted = {n.hotkey for n in (await ledger.metagraph(NETUID)).neurons if n.permit}
    return all(public in permitted for public, _ in VALIDATORS)


async def running_epoch(ledger: RpcLedger) -> int:
    return next(s.epoch for s in await ledger.subnets() if s.netuid == NETUID)


def pays_miners(record: EpochRecord | None) -> bool:
    """Whether an epoch was paid by incentive, by the rows of all who weigh."""
    return record is not None and len(record.weights) == len(VALIDATORS) and sum(record.miners) > 0
