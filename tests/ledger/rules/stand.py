"""A market on which every cell of docs/brake.md can be tried: cat is to be halted, dan is its rival."""

from __future__ import annotations

from typing import Any

from davy.ledger.rules.records import RUNNING, UIDS, RunningRecord, subnet_key
from davy.protocol.attestation import Attestation, SignedAttestation
from davy.protocol.encoding import encode
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Genesis, GenesisSubnet
from davy.protocol.limits import hyperparameters
from davy.protocol.manifest import Identity, ModelClass, model_id
from davy.protocol.order import Global, Miner, Models, OrderId, Subnet, Target
from davy.protocol.receipt import Anchor, Outcome, Receipt, SignedReceipt
from davy.protocol.signing import Domain, digest, sign
from davy.protocol.transaction import AttestStop, CommitWeights, ConvictServedAfterHalt, RegisterModel, RevealWeights
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import FAST, World, genesis, keys, manifest, pub

ONE = model_id(manifest("one"))
FOUR = ("first", "second", "third", "fourth")
"""Producers."""
SCOPES: dict[str, Target | None] = {
    "nothing": None,
    "global": Global(),
    "subnet": Subnet(1),
    "miner": Miner(pub("cat-hot")),
    "model": Models((ONE,), (), ()),
}


def two_subnets(**wants: int) -> Genesis:
    """Epochs of subnet 1 end at 8, 18, 28, …; subnet 2 earns nothing."""
    h = hyperparameters(
        **({"tempo": 10, "immunity": 0, "max_uids": 8, "max_validators": 4, "registrations_an_epoch": 8} | wants)
    )
    p = type(FAST)(**{f: getattr(FAST, f) for f in FAST.__struct_fields__} | {"unbonding": 40, "model_review": 4})
    g = genesis(h=h, p=p, producers=FOUR)
    second = GenesisSubnet(2, pub("owner"), "text", "yuma3", h, 0)
    return Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, (*g.subnets, second), g.keyholders)


class Stand(World):
    """Four neurons with permits; cat-hot serves model one, which cat registered, dan-hot two; three is eve's."""

    def __init__(self, **wants: int) -> None:
        super().__init__(two_subnets(**wants))
        for cold, amount in (("ann", 300), ("ben", 200), ("cat", 50), ("dan", 50)):
            self.register(cold, f"{cold}-hot")
            self.stake(cold, f"{cold}-hot", amount * TOKEN)
        for cold, name in (("cat", "one"), ("dan", "two"), ("eve", "three")):
            self.ok(cold, RegisterModel(manifest(name), (), ModelClass.ORDINARY))
        self.end_epoch()
        self.ok("cat-hot", self.serving("one"))
        self.ok("dan-hot", self.serving("two"))
        self.end_epoch()
        self.fair = self.row({"cat-hot": 1, "dan-hot": 1})

    def halted_by(self, scope: str) -> OrderId | None:
        target = SCOPES[scope]
        return None if target is None else self.halt(target)

    def vote(self) -> None:
        """Both validators find cat and dan equally good, in the epoch that begins now."""
        voters, epoch = ("ann-hot", "ben-hot"), self.subnet().epoch
        for hot in voters:
            self.send(hot, CommitWeights(1, epoch, self.commitment(hot, self.fair, epoch)))
        assert self.block() == [TxCode.OK] * 2
        if self.subnet().epoch == epoch:
            self.end_epoch()
        for hot in voters:
            self.send(hot, RevealWeights(1, epoch, self.fair, bytes(32)))
        assert self.block() == [TxCode.OK] * 2

    def attestation(self, order: OrderId, node: str = "cat-hot", **changes: Any) -> AttestStop:
        said = {"version": 1, "chain": self.chain, "order": order, "node": pub(node), "received": 5, "stopped": 9}
        body = encode(Attestation(**said | {"head": bytes(32), "models": (), "streams": 0} | changes))
        return AttestStop(encode(SignedAttestation(1, body, sign(keys(node)[1], Domain.ATTESTATION, body))))

    def evidence(
        self, halt: OrderId, miner: str, height: int, model: bytes = ONE, base: bytes | None = None, **changes: Any
    ) -> ConvictServedAfterHalt:
        """A receipt of `miner`, for a request whose anchor is at this height."""
        if base is None:
            base = b'"@method": POST\n"davy-anchor": %d:%s\n"@signature-params": x' % (height, bytes(32).hex().encode())
        said = {
            "version": 1, "chain": self.chain, "miner": pub(miner), "caller": pub("ann-hot"),
            "request_id": digest(Domain.REQUEST, base), "request_body": bytes(32), "response_body": bytes(32),
            "model_id": model, "identity": Identity.FILES, "anchor": Anchor(height, bytes(32)), "brake_head": bytes(32),
            "prompt_tokens": 1, "completion_tokens": 1, "outcome": Outcome.DONE, "created": 0,
        }  # fmt: skip
        body = encode(Receipt(**said | changes))
        signed = encode(SignedReceipt(1, body, sign(keys(miner)[1], Domain.RECEIPT, body)))
        return ConvictServedAfterHalt(halt, base, signed)

    def holds(self, hotkey: str, netuid: int = 1) -> bool:
        """Whether a hotkey has a UID."""
        return self.machine.state.get(UIDS, subnet_key(netuid) + pub(hotkey)) is not None

    def running(self, netuid: int = 1) -> RunningRecord:
        return self.machine.state.need(RUNNING, subnet_key(netuid), "")
