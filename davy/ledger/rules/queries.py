"""What the ledger answers, from the state after the last block.

Indexes that only queries need (a coldkey's positions) are derived from the rows and kept beside the state, not in it.
"""

from __future__ import annotations

from collections.abc import Callable

from davy.ledger.rules.accounts import account
from davy.ledger.rules.records import (
    CHAIN,
    ISSUANCE,
    MODELS,
    RUNNING,
    STAKES,
    SUBNETS,
    subnet_key,
)
from davy.ledger.rules.stake import stake_of
from davy.ledger.rules.state import Changes, State
from davy.protocol.chain import Account, ModelRecord, SubnetInfo, SubnetList
from davy.protocol.encoding import Wire
from davy.protocol.errors import Malformed, TxCode, TxFailed
from davy.protocol.genesis import Genesis


class Queries:
    """Answers by path: `/nonce` `/metagraph` `/epoch` `/subnets` `/model` `/issuance` `/parameters` `/genesis`."""

    def __init__(self, g: Genesis, s: State) -> None:
        self._genesis, self._state = g, s
        self._positions: dict[bytes, set[bytes]] = {}
        for key in s.records:
            self._index(key, stands=True)
        self._paths: dict[str, Callable[[bytes, int], Wire]] = {
            "/nonce": self._account,
            "/subnets": self._subnets,
            "/model": self._model,
            "/issuance": lambda data, height: s.need(ISSUANCE, _exactly(data, 0), "the chain has no issuance"),
            "/parameters": lambda data, height: s.parameters,
            "/genesis": lambda data, height: g,
        }

    def answer(self, path: str, data: bytes, height: int) -> Wire:
        if path not in self._paths:
            raise TxFailed(TxCode.NOT_FOUND, f"there is no query of this name; the names are: {', '.join(self._paths)}")
        return self._paths[path](data, height)

    def follow(self, changes: Changes) -> None:
        """Bring the indexes up to a block."""
        for key in changes.deletes:
            self._index(key, stands=False)
        for key in changes.puts:
            self._index(key, stands=True)

    def _index(self, key: bytes, *, stands: bool) -> None:
        if key[:1] == STAKES.tag:
            hotkey, coldkey = key[1:33], key[33:]
            held = self._positions.setdefault(coldkey, set())
            held.add(hotkey) if stands else held.discard(hotkey)

    def _account(self, data: bytes, height: int) -> Account:
        key = _exactly(data, 32)
        a = account(self._state, key)
        stakes = tuple((h, stake_of(self._state, h, key)) for h in sorted(self._positions.get(key, ())))
        return Account(a.nonce, a.free, a.unbonding, stakes)

    def _subnets(self, data: bytes, height: int) -> SubnetList:
        _exactly(data, 0)
        return SubnetList(tuple(subnet_info(self._state, n) for n in self._state.need(CHAIN, b"", "no chain").netuids))

    def _model(self, data: bytes, height: int) -> ModelRecord:
        return self._state.need(MODELS, _exactly(data, 32), "no model of this id is registered").model


def subnet_info(s: State, netuid: int) -> SubnetInfo:
    """A subnet as the ledger answers it.

    Raises
    ------
    TxFailed
        NOT_FOUND.
    """
    key = subnet_key(netuid)
    x = s.need(SUBNETS, key, "there is no subnet of this netuid; ask /subnets")
    r = s.need(RUNNING, key, "a subnet without epochs")
    return SubnetInfo(
        netuid, x.owner, x.task, x.mechanism, x.hyperparameters, x.share, r.epoch, r.ends, r.price, r.pending
    )


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise Malformed(f"this query takes {length} bytes of data, not {len(data)}")
    return data
