"""A node's brake for tests: on a chain that nobody can halt, or under the keyholders of `tests.twins.keyholders`."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

from davy.killswitch.brake import BrakeState
from davy.killswitch.guard import Guard
from davy.killswitch.scope import ModelFacts, Subject
from davy.network.attesting import Attesting
from davy.network.brake_peers import BrakePeers
from davy.network.memory import MemoryNetwork, no_delay
from davy.network.node_brake import NodeBrake
from davy.protocol.manifest import Access, Manifest, model_id
from davy.protocol.ports import Clock, KeyStore
from davy.protocol.recorded import AccessRecord, Facts, SubjectFacts
from davy.protocol.roster import Roster
from davy.protocol.words import ChainId, Hotkey
from tests.twins import MemoryStore, SeededEntropy

REGISTRANT = b"\x21" * 32


def guard_of(keys: KeyStore, clock: Clock, chain: ChainId, roster: Roster | None = None) -> Guard:
    """Open from the start where there is no roster."""
    return Guard(BrakeState(chain, roster), keys=keys, clock=clock, store=MemoryStore())


def subject_of_manifest(manifest: Manifest, hotkey: Hotkey, netuid: int = 1) -> Subject:
    """What a ledger without other models would say."""
    files = frozenset(f.digest for f in manifest.files)
    return Subject(netuid, hotkey, ModelFacts(model_id(manifest), files, REGISTRANT))


def brake_of(keys: KeyStore, clock: Clock, ledger: Any, chain: ChainId, roster: Roster | None = None) -> NodeBrake:
    """A node's brake that reaches no other node."""
    guard = guard_of(keys, clock, chain, roster)
    transport = MemoryNetwork(clock, 0.0, no_delay, Random(0)).transport()
    peers = BrakePeers(guard, transport, clock, SeededEntropy(), MemoryStore())
    return NodeBrake(guard, peers, Attesting(guard, keys, ledger, MemoryStore()), ledger)


ANYBODY: Final = AccessRecord(Access.ANY, (), (), 0)
"""Whom a registrant lets ask who has said nothing."""


class KnowsModels:
    """Mix into a twin of a ledger: every model is known to it, by its id only, and who may ask for them is `said`."""

    height = 0
    said = ANYBODY

    async def accesses(self, models: Sequence[bytes]) -> tuple[AccessRecord, ...]:
        return (self.said,) * len(models)

    async def subject(self, netuid: int, hotkey: bytes, model: bytes | None = None) -> SubjectFacts:
        known = (Facts(model, (), REGISTRANT),) if model else ()
        return SubjectFacts(self.height, netuid, hotkey, known, (), (), False)
