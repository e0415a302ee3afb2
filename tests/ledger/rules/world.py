"""A chain to tell stories on: keys by name, transactions by one call, and after each block all that must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from msgspec.structs import replace
from nacl import bindings

from davy.killswitch.brake import head as brake_head
from davy.ledger.driver.news import NewsOfBlocks
from davy.ledger.rules import upgrades
from davy.ledger.rules.brake import brake_of, standing_halts
from davy.ledger.rules.conservation import places
from davy.ledger.rules.emission import scheduled_issuance
from davy.ledger.rules.machine import BlockResult, Machine
from davy.ledger.rules.producers import PRODUCER_BOND
from davy.ledger.rules.records import (
    BRAKE,
    HALTED,
    ORDERS,
    RUNNING,
    UNBONDINGS,
    AccountRecord,
    UnbondingRecord,
    subnet_key,
)
from davy.ledger.rules.trie import Trie
from davy.protocol.chain import Account, EpochRecord, Issuance, Metagraph, Neuron, SubnetInfo, SubnetList
from davy.protocol.consents import child_consent, producer_consent, succession_consent, successor_digest
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Allocation, Genesis, GenesisSubnet, chain_id
from davy.protocol.limits import (
    DAY_MS,
    MAX_RESULT_BYTES,
    ChainParameters,
    Hyperparameters,
    chain_parameters,
    hyperparameters,
)
from davy.protocol.manifest import Identity, Manifest, ModelClass, ModelFile, model_id
from davy.protocol.order import (
    Drill,
    Extend,
    GroupKey,
    Halt,
    Lease,
    Lift,
    OrderAction,
    OrderId,
    Target,
    open_order,
    order_id,
)
from davy.protocol.proof import value_hash, verify_absence, verify_presence
from davy.protocol.recorded import AccessList, HaltedRecord, SubjectFacts, halted_key, recorded_digest
from davy.protocol.signing import Domain, sign
from davy.protocol.ticket import SignedTicket, Ticket
from davy.protocol.transaction import (
    Action,
    AddStake,
    AnnounceColdkeySwap,
    BrakeOrder,
    Child,
    CommitWeights,
    Endpoint,
    ExecuteColdkeySwap,
    Register,
    RegisterModel,
    RegisterProducer,
    RevealWeights,
    RotateHotkey,
    Serve,
    Served,
    SetChildren,
    SignedTx,
    TxBody,
    Weight,
    consent_bytes,
    weight_subject,
    weights_commitment,
)
from davy.protocol.words import MAX_SUPPLY, TOKEN
from tests.twins.keyholders import Keyholders

T = TypeVar("T")

PEOPLE = ("ann", "ben", "cat", "dan", "eve", "owner")
SMALL = hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=4, registrations_an_epoch=8)
FAST = chain_parameters(unbonding=5, burn_low=TOKEN // 10, burn_high=100 * TOKEN)


NEVER = 2**62


def begins(newest: int) -> tuple[int, ...]:
    """Heights of the editions on a chain that never gets beyond one."""
    return tuple(0 if n <= newest else NEVER for n in range(1, upgrades.NEWEST + 1))


@cache
def keys(name: str) -> tuple[bytes, bytes]:
    """Public and secret key of a name."""
    return bindings.crypto_sign_seed_keypair(hashlib.sha256(name.encode()).digest())


def pub(name: str) -> bytes:
    return keys(name)[0]


def genesis(
    h: Hyperparameters = SMALL,
    p: ChainParameters = FAST,
    share: int = 1_000_000,
    mechanism: str = "yuma3",
    producers: Sequence[str] = ("producer",),
) -> Genesis:
    """1,000 tokens for everybody; subnet 1, whose epochs end at 8, 18, 28, …; five keyholders."""
    return Genesis(
        1,
        "a chain to tell stories on",
        1_000,
        p,
        tuple(map(pub, producers)),
        tuple(Allocation(pub(name), 1_000 * TOKEN) for name in PEOPLE),
        (GenesisSubnet(1, pub("owner"), "text", mechanism, h, share),),
        (Keyholders().roster,),
    )


def id_of(raw: bytes) -> OrderId:
    """The id of a signed order."""
    return order_id(open_order(raw)[0].order)


def manifest(name: str, *, files: bool = True) -> Manifest:
    listed = (ModelFile("model.safetensors", 1, hashlib.sha256(name.encode()).digest()),) if files else ()
    return Manifest(1, name, listed, "safetensors" if files else "opaque", b"", "Apache-2.0")


class World:
    """A machine with its people, and the rows that a store would hold."""

    def __init__(self, g: Genesis | None = None) -> None:
        self.genesis = g or genesis()
        self.chain = chain_id(self.genesis)
        self.machine = Machine.from_genesis(self.genesis)
        self.rows = dict(self.machine.rows())
        self.queue: list[bytes] = []
        self.nonces: dict[bytes, int] = {}
        self.keyholders = Keyholders()
        self.news = NewsOfBlocks()
        self.looked_up = self.look_up()

    def tx(self, name: str, action: Action, *, nonce: int | None = None, chain: bytes | None = None) -> bytes:
        """A transaction signed by a name, with its next nonce unless told otherwise."""
        public, secret = keys(name)
        if nonce is None:
            nonce = self.nonces.get(public, self.account(public).nonce)
            self.nonces[public] = nonce + 1
        body = encode(TxBody(1, self.chain if chain is None else chain, public, nonce, action))
        return encode(SignedTx(1, body, sign(secret, Domain.TX, body)))

    def send(self, name: str, *actions: Action) -> None:
        """Queue transactions for the next block."""
        self.queue += [self.tx(name, action) for action in actions]

    def block(self, count: int = 1) -> list[TxCode]:
        """Apply blocks, the first with what is queued; return the codes of that one."""
        raws, self.queue = self.queue, []
        self.nonces.clear()
        codes = [TxCode(r.code) for r in self.apply(raws).results]
        for _ in range(count - 1):
            self.apply([])
        return codes

    def apply(self, raws: Sequence[bytes], evidence: Sequence[bytes] = (), absent: Sequence[bytes] = ()) -> BlockResult:
        """Apply one block of raw transactions and check what must hold after any."""
        m = self.machine
        result = m.apply_block(m.height + 1, m.time + 250, raws, evidence, absent)
        self.rows.update(result.changes.puts)
        for key in result.changes.deletes:
            del self.rows[key]
        assert not result.faults
        self.check()
        changed = self.news.note(self.machine, result.changes).changed
        before, self.looked_up = self.looked_up, self.look_up()
        if changed is not None:
            assert all(netuid in changed or before.get(netuid) == now for netuid, now in self.looked_up.items())
        return result

    def look_up(self) -> dict[int, tuple[object, ...]]:
        """What nodes look up of each subnet, as `LedgerClient.unchanged` lists it."""
        found: dict[int, tuple[object, ...]] = {}
        for s in self.query("/subnets", b"", SubnetList).subnets:
            m = self.metagraph(s.netuid)
            places = [s.netuid.to_bytes(2, "big") + n.hotkey for n in m.neurons]
            facts = [replace(self.query("/subject", place, SubjectFacts), height=0) for place in places]
            access = [self.query("/access", n.model[0].model_id, AccessList) for n in m.neurons if n.model]
            neurons = [replace(n, last_update=0, active=False) for n in m.neurons]
            found[s.netuid] = (neurons, facts, access, replace(m.subnet, registration_price=0, pending=0))
        return found

    def ok(self, name: str, *actions: Action) -> None:
        """These transactions, in one block, all succeed."""
        self.send(name, *actions)
        assert self.block() == [TxCode.OK] * len(actions)

    def order(
        self, action: OrderAction, term: int = DAY_MS, *, issued: int | None = None, by: Keyholders | None = None,
        to: Keyholders | None = None,
    ) -> bytes:  # fmt: skip
        """A signed order, issued now; it ends after `term` where such an order ends at all."""
        by, now = by or self.keyholders, self.machine.time if issued is None else issued
        ends = isinstance(action, Halt | Extend | Drill | Lease)
        return by.sign(by.order(self.chain, action, now, now + term if ends else 0), to)

    def command(self, action: OrderAction, term: int = DAY_MS, **how: Any) -> OrderId:
        """Give an order and see it recorded, in a block of its own."""
        raw = self.order(action, term, **how)
        assert self.apply([encode(BrakeOrder(raw))]).results[0].code == TxCode.OK
        return id_of(raw)

    def halt(self, target: Target, term: int = DAY_MS, authority: GroupKey = GroupKey.HALT, **how: Any) -> OrderId:
        return self.command(Halt(target, authority), term, **how)

    def lift(self, *halts: OrderId) -> OrderId:
        return self.command(Lift(tuple(sorted(halts))))

    def halted(self, name: bytes) -> HaltedRecord | None:
        """What the state says of a name, as a proof shows it."""
        value, proof = self.machine.prove(halted_key(name))
        if value is None:
            verify_absence(self.machine.app_hash, halted_key(name), proof)
            return None
        verify_presence(self.machine.app_hash, halted_key(name), value, proof)
        return decode(value, HaltedRecord, limit=MAX_RESULT_BYTES)

    def refused(self, code: TxCode, name: str, action: Action) -> None:
        """This transaction is refused with this code and changes nothing but its sender's nonce."""
        before = self.account(name)
        self.send(name, action)
        assert self.block() == [code]
        assert self.account(name).nonce == before.nonce + 1

    def check(self) -> None:
        """Conservation by a full count, the schedule, the map built anew, and the rows as the store has them."""
        m = self.machine
        stored = dict(m.rows())
        assert stored == self.rows
        anew = Trie((key, value_hash(value)) for key, value in sorted(stored.items(), reverse=True))
        assert anew.root() == m.app_hash
        told = self.issuance()
        counted = places(m.state.records.values())
        assert counted == {f: getattr(told, f) for f in counted} | {"height": 0}
        held = sum(getattr(told, f) for f in Issuance.__struct_fields__[2:-1])
        assert told.issued == held
        assert told.issued + told.unminted == scheduled_issuance(self.genesis, m.height) <= MAX_SUPPLY
        assert told.height == m.height
        orders = {key[1:]: r for key, r in m.state.records.items() if key[:1] == ORDERS.tag}
        said = m.state.need(BRAKE, b"", "")
        brake = brake_of(m.state)
        assert said.head == brake_head(brake)
        assert brake.orders.keys() == brake.recorded.keys() == orders.keys()
        assert said.recorded == recorded_digest((i, r.height, r.time) for i, r in orders.items())  # type: ignore[attr-defined]
        by_name = {key[1:]: r for key, r in m.state.records.items() if key[:1] == HALTED.tag}
        assert by_name == standing_halts(brake)
        waiting: dict[bytes, int] = {}
        for key, record in m.state.records.items():
            if key[:1] == UNBONDINGS.tag:
                assert isinstance(record, UnbondingRecord)
                waiting[record.coldkey] = waiting.get(record.coldkey, 0) + record.amount
        for key, record in m.state.records.items():
            if isinstance(record, AccountRecord):
                assert record.free >= 0
                assert record.unbonding == waiting.get(key[1:], 0)

    def query(self, path: str, data: bytes, kind: type[T]) -> T:
        return decode(self.machine.query(path, data), kind, limit=MAX_RESULT_BYTES)

    def account(self, who: str | bytes) -> Account:
        return self.query("/nonce", pub(who) if isinstance(who, str) else who, Account)

    def issuance(self) -> Issuance:
        return self.query("/issuance", b"", Issuance)

    def subnet(self, netuid: int = 1) -> SubnetInfo:
        return next(x for x in self.query("/subnets", b"", SubnetList).subnets if x.netuid == netuid)

    def metagraph(self, netuid: int = 1) -> Metagraph:
        return self.query("/metagraph", netuid.to_bytes(2, "big"), Metagraph)

    def neuron(self, hotkey: str, netuid: int = 1) -> Neuron:
        return next(n for n in self.metagraph(netuid).neurons if n.hotkey == pub(hotkey))

    def record(self, epoch: int, netuid: int = 1) -> EpochRecord:
        return self.query("/epoch", netuid.to_bytes(2, "big") + epoch.to_bytes(8, "big"), EpochRecord)

    def registration(self, coldkey: str, hotkey: str, netuid: int = 1, limit: int = MAX_SUPPLY) -> Register:
        consent = sign(keys(hotkey)[1], Domain.CONSENT, consent_bytes(self.chain, pub(coldkey), pub(hotkey)))
        return Register(netuid, pub(hotkey), consent, limit)

    def rotation(self, coldkey: str, hotkey: str, successor: str) -> RotateHotkey:
        said = consent_bytes(self.chain, pub(coldkey), pub(successor))
        return RotateHotkey(pub(hotkey), pub(successor), sign(keys(successor)[1], Domain.CONSENT, said))

    def announcement(self, coldkey: str, successor: str) -> AnnounceColdkeySwap:
        return AnnounceColdkeySwap(successor_digest(self.chain, pub(coldkey), pub(successor)))

    def execution(self, coldkey: str, successor: str) -> ExecuteColdkeySwap:
        said = succession_consent(self.chain, pub(coldkey), pub(successor))
        return ExecuteColdkeySwap(pub(successor), sign(keys(successor)[1], Domain.SUCCESSION, said))

    def lending(self, parent: str, parts: dict[str, int], netuid: int = 1) -> SetChildren:
        """With the consent of all children in the running epoch."""
        epoch = self.subnet(netuid).epoch
        said = {c: child_consent(self.chain, netuid, pub(parent), pub(c), epoch) for c in parts}
        children = (Child(pub(c), n, sign(keys(c)[1], Domain.CHILD, said[c])) for c, n in parts.items())
        return SetChildren(netuid, pub(parent), tuple(sorted(children, key=lambda c: c.hotkey)))

    def joining(self, coldkey: str, producer: str, bond: int = PRODUCER_BOND) -> RegisterProducer:
        """A registration of a producer, with its consent."""
        consent = sign(keys(producer)[1], Domain.PRODUCER, producer_consent(self.chain, pub(coldkey), pub(producer)))
        return RegisterProducer(pub(producer), consent, bond)

    def ticket(self, consumer: str, budget: bytes, index: int, miner: str, request: bytes = bytes(32)) -> bytes:
        body = encode(Ticket(1, self.chain, budget, index, pub(miner), request))
        return encode(SignedTicket(1, body, sign(keys(consumer)[1], Domain.TICKET, body)))

    def register(self, coldkey: str, *hotkeys: str, netuid: int = 1) -> None:
        self.ok(coldkey, *(self.registration(coldkey, hotkey, netuid) for hotkey in hotkeys))

    def stake(self, coldkey: str, hotkey: str, amount: int) -> None:
        self.ok(coldkey, AddStake(pub(hotkey), amount))

    def served(self, coldkey: str, hotkey: str, model: str, netuid: int = 1) -> bytes:
        """Register a model and serve it."""
        m = manifest(model)
        self.ok(coldkey, RegisterModel(m, (), ModelClass.ORDINARY))
        self.ok(hotkey, self.serving(model, netuid))
        return model_id(m)

    def serving(self, model: str, netuid: int = 1) -> Serve:
        return Serve(
            Endpoint("127.0.0.1", 8000, bytes(32), b""), (Served(netuid, model_id(manifest(model)), Identity.FILES),)
        )

    def end_epoch(self, netuid: int = 1) -> None:
        """Apply blocks until the running epoch has ended."""
        running = self.machine.state.need(RUNNING, subnet_key(netuid), "")
        self.block(running.ends - self.machine.height)

    def subject(self, n: Neuron) -> bytes:
        return weight_subject(n.hotkey, n.registered_at, n.model[0].model_id if n.model else b"")

    def row(self, values: dict[str, int], netuid: int = 1) -> tuple[Weight, ...]:
        """Weights by hotkey name, each bound to what that neuron is now."""
        seated = sorted((self.neuron(name, netuid).uid, name) for name in values)
        return tuple(Weight(uid, self.subject(self.neuron(name, netuid)), values[name]) for uid, name in seated)

    def commitment(self, hotkey: str, weights: tuple[Weight, ...], epoch: int, salt: bytes = bytes(32)) -> bytes:
        registered_at = self.neuron(hotkey).registered_at
        return weights_commitment(self.chain, 1, pub(hotkey), registered_at, epoch, weights, salt)

    def commit(self, hotkey: str, weights: tuple[Weight, ...]) -> int:
        """Commit in the running epoch, which is returned."""
        epoch = self.subnet().epoch
        self.ok(hotkey, CommitWeights(1, epoch, self.commitment(hotkey, weights, epoch)))
        return epoch

    def reveal(self, hotkey: str, weights: tuple[Weight, ...], epoch: int) -> None:
        self.ok(hotkey, RevealWeights(1, epoch, weights, bytes(32)))


def market(g: Genesis | None = None) -> World:
    """Two validators with permits (ann's and ben's, 300 and 200 tokens), two miners (cat's and dan's); in epoch 2."""
    w = World(g)
    w.register("ann", "ann-hot")
    w.register("ben", "ben-hot")
    w.register("cat", "cat-hot")
    w.register("dan", "dan-hot")
    w.stake("ann", "ann-hot", 300 * TOKEN)
    w.stake("ben", "ben-hot", 200 * TOKEN)
    w.end_epoch()
    w.end_epoch()
    return w
