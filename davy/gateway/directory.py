"""Who serves what, as the newest metagraphs say, and which models this gateway may ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from davy.network.access import Accesses, Applicant, admits, applicant
from davy.network.openai import ModelCard
from davy.protocol.chain import Head, Metagraph, ModelRecord, Neuron
from davy.protocol.errors import Refused, Unauthorised
from davy.protocol.manifest import Access
from davy.protocol.receipt import Anchor
from davy.protocol.words import Hotkey, ModelId, Netuid, UnixMillis

ANY: Final = "any"
"""As a request's `model`: whatever is served."""
OUTAGE_MS: Final = 600_000
"""So long after the last sign of the ledger a gateway still serves by what it knows."""


class NoSuchModel(Refused):
    """No miner serves it."""


class NotReady(Refused):
    """This gateway cannot serve now."""


class Place(NamedTuple):
    """A neuron that serves a model, and on which subnet."""

    netuid: Netuid
    task: str
    neuron: Neuron

    @property
    def model_id(self) -> ModelId:
        return self.neuron.model[0].model_id


class Directory:
    """Kept up to date by `davy.gateway.node`.

    Parameters
    ----------
    own
        The gateway's hotkey: it never asks itself.
    registered
        Asks the ledger for a model's record; None when it is not registered.
    accesses
        Whom a model's registrant lets ask for it.
    """

    def __init__(
        self, own: Hotkey, registered: Callable[[ModelId], Awaitable[ModelRecord | None]], accesses: Accesses
    ) -> None:
        self._own, self._registered, self._accesses = own, registered, accesses
        self._kept_out: dict[ModelId, Unauthorised] = {}
        """Models that this gateway may not ask for, and why."""
        self._records: dict[ModelId, ModelRecord] = {}
        self._places: tuple[Place, ...] = ()
        self._seen_at: UnixMillis = 0
        self.head: Head | None = None

    async def update(self, graphs: Sequence[Metagraph]) -> None:
        """Take over newer metagraphs, and look up the names of models not seen before.

        Raises
        ------
        Unreachable, TxFailed
            The ledger did not answer; what was known stays.
        """
        places = tuple(
            Place(m.subnet.netuid, m.subnet.task, n)
            for m in graphs
            for n in m.neurons
            if n.endpoint and n.model and n.hotkey != self._own
        )
        for model_id in {p.model_id for p in places} - self._records.keys():
            record = await self._registered(model_id)
            if record is not None:
                self._records[model_id] = record
        self._kept_out = await self._refusals(places, applicant(self._own, graphs))
        served = {p.model_id for p in places}
        self._records = {model_id: r for model_id, r in self._records.items() if model_id in served}
        self._places = places

    async def _refusals(self, places: Sequence[Place], own: Applicant) -> dict[ModelId, Unauthorised]:
        seen, models = 0 if self.head is None else self.head.height, {p.model_id for p in places}
        await self._accesses.follow({p.netuid for p in places}, models, seen)
        said = {model: await self._accesses.of(model, seen) for model in models}
        return {m: _refusal(a.access) for m, a in said.items() if not admits(a, own, for_scoring=False)}

    def see(self, head: Head, now: UnixMillis) -> None:
        """Learn of a block; requests are anchored to the newest."""
        self._seen_at = now
        if self.head is None or head.height > self.head.height:
            self.head = head

    def anchor(self, now: UnixMillis) -> Anchor:
        """Return the newest block as an anchor.

        Raises
        ------
        NotReady
            There is none, or the ledger was not heard of for too long.
        """
        if self.head is None:
            raise NotReady("this gateway has not seen the ledger yet; ask again in a moment")
        if now - self._seen_at > OUTAGE_MS:
            raise NotReady("this gateway lost the ledger and no longer answers; ask again later")
        return Anchor(self.head.height, self.head.hash)

    def find(self, model: str) -> list[Place]:
        """Every place that serves a model: by id in hex, by name (all models of that name), or `ANY`.

        Raises
        ------
        NoSuchModel
            None does.
        Unauthorised
            The registrants of what is found keep this gateway out.
        """
        found = [p for p in self._places if model in (ANY, p.model_id.hex(), self.name(p.model_id))]
        if not found:
            raise NoSuchModel(f"no miner serves '{model}' now; GET /v1/models lists what is served, 'any' takes any")
        free = [p for p in found if self.may_ask(p)]
        if not free:
            raise self._kept_out[found[0].model_id]
        return free

    def may_ask(self, place: Place) -> bool:
        """Whether the registrant of what is served there lets this gateway ask for it."""
        return place.model_id not in self._kept_out

    def name(self, model_id: ModelId) -> str:
        """The name in a model's manifest; empty where it is not known."""
        record = self._records.get(model_id)
        return "" if record is None else record.manifest.name

    def record(self, model_id: ModelId) -> ModelRecord | None:
        """A served model's record, once it was looked up."""
        return self._records.get(model_id)

    def cards(self, created: int, places: Sequence[Place]) -> list[ModelCard]:
        """The models of some places as OpenAI's list shows them; `owned_by` is how many miners serve each."""
        count = Counter(p.model_id for p in places)
        return [
            ModelCard(m.hex(), created, f"{n} miner{'s' * (n != 1)}", self.name(m)) for m, n in sorted(count.items())
        ]

    @property
    def places(self) -> tuple[Place, ...]:
        """Everybody who serves something."""
        return self._places


def _refusal(access: Access) -> Unauthorised:
    if access is Access.NAMED:
        return Unauthorised(
            "the registrant of this model names who may ask for it, and this gateway is not among them; ask for "
            "another model, or at a gateway that is named"
        )
    return Unauthorised(
        "the registrant of this model lets callers with stake ask for it, and this gateway's hotkey has none; ask for "
        "another model, or at another gateway"
    )
