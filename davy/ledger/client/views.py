"""What a ledger answers about the state after its newest block and does not prove: as good as the ledger is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from davy.protocol.chain import (
    Account,
    ComingHyperparameters,
    EpochRecord,
    HotkeyInfo,
    Issuance,
    Metagraph,
    RevealedRow,
    RowInForce,
    RowsInForce,
    SubnetInfo,
    SubnetList,
)
from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, NotEnabled, TxCode, TxFailed
from davy.protocol.limits import MAX_ACCESSES_ASKED, MAX_RESULT_BYTES, MAX_UIDS
from davy.protocol.order import OrderId
from davy.protocol.recorded import AccessList, AccessRecord, AttestationPage, Attested
from davy.protocol.words import Height, Hotkey, ModelId, Netuid, PublicKey

T = TypeVar("T")


class Views(ABC):
    """Every view over one `query`."""

    @abstractmethod
    async def query(self, path: str, data: bytes = b"") -> bytes:
        """Ask the state after the newest block: canonical bytes, unproved.

        Raises
        ------
        TxFailed
            With the ledger's code, NOT_FOUND mostly.
        """

    async def account(self, key: PublicKey) -> Account:
        return await self._view("/nonce", key, Account)

    async def nonce(self, key: PublicKey) -> int:
        """How many transactions of a key were included."""
        return (await self.account(key)).nonce

    async def metagraph(self, netuid: Netuid, at: Height | None = None) -> Metagraph:
        """Return a subnet's neurons after the newest block.

        Raises
        ------
        NotEnabled
            `at` is another height: the ledger keeps the newest state only.
        TxFailed
            NOT_FOUND: no such subnet.
        """
        m = await self._view("/metagraph", netuid.to_bytes(2, "big"), Metagraph)
        if at not in (None, m.height):
            raise NotEnabled(f"the ledger keeps the state after block {m.height} only; ask without a height")
        return m

    async def rows(self, netuid: Netuid) -> RowsInForce:
        """Return the weights of a subnet that everybody can see now.

        So many that they come in pages are those of several blocks; `height` is that of the last page.
        """
        subnet = netuid.to_bytes(2, "big")
        try:
            return await self._view("/weights", subnet, RowsInForce)
        except TxFailed as e:
            if e.code is not TxCode.OUT_OF_RANGE:
                raise
        told: list[RowInForce] = []
        while True:
            page = await self._view("/weights", subnet + _next(told), RowsInForce)
            if _ends(told, page.rows):
                return RowsInForce(netuid, page.height, tuple(told))
            told += page.rows

    async def epoch(self, netuid: Netuid, epoch: Height) -> EpochRecord | None:
        """Return what an epoch paid; None before its end, and when it is too long ago."""
        which = netuid.to_bytes(2, "big") + epoch.to_bytes(8, "big")
        try:
            return await self._view("/epoch", which, EpochRecord)
        except TxFailed as e:
            if e.code is TxCode.NOT_FOUND:
                return None
            if e.code is not TxCode.OUT_OF_RANGE:
                raise
        told: list[RevealedRow] = []
        while True:
            page = await self._view("/epoch", which + _next(told), EpochRecord)
            if _ends(told, page.weights):
                return replace(page, weights=tuple(told))
            told += page.weights

    async def subnets(self) -> tuple[SubnetInfo, ...]:
        return (await self._view("/subnets", b"", SubnetList)).subnets

    async def hotkey(self, hotkey: Hotkey) -> HotkeyInfo:
        """Whose a hotkey is, its take, and what is staked on it.

        Raises
        ------
        TxFailed
            NOT_FOUND: it never registered.
        """
        return await self._view("/hotkey", hotkey, HotkeyInfo)

    async def coming(self, netuid: Netuid) -> ComingHyperparameters:
        """What a subnet's owner changed in the running epoch."""
        return await self._view("/coming", netuid.to_bytes(2, "big"), ComingHyperparameters)

    async def issuance(self) -> Issuance:
        return await self._view("/issuance", b"", Issuance)

    async def accesses(self, models: Sequence[ModelId]) -> tuple[AccessRecord, ...]:
        """Who may ask for each of these models; `proved(access_key(model))` proves it of one.

        Raises
        ------
        TxFailed
            NOT_FOUND: one of them is not registered.
        Malformed
            The ledger tells of more or fewer.
        """
        told: list[AccessRecord] = []
        for n in range(0, len(models), MAX_ACCESSES_ASKED):
            told += (await self._view("/access", b"".join(models[n : n + MAX_ACCESSES_ASKED]), AccessList)).records
        if len(told) != len(models):
            raise Malformed("the ledger tells of other models than it was asked about; ask another ledger")
        return tuple(told)

    async def attestations(self, order: OrderId) -> tuple[Attested, ...]:
        """Return who answered an order or a drill."""
        told: list[Attested] = []
        after = bytes(32)
        while True:
            page = await self._view("/attestations", order + after, AttestationPage)
            told += page.attestations
            if not page.more or not page.attestations:
                return tuple(told)
            after = page.attestations[-1].node

    async def _view(self, path: str, data: bytes, kind: type[T]) -> T:
        return decode(await self.query(path, data), kind, limit=MAX_RESULT_BYTES)


def _next(told: Sequence[RowInForce | RevealedRow]) -> bytes:
    """The UID from which on the next page is wanted."""
    return (told[-1].uid + 1 if told else 0).to_bytes(2, "big")


def _ends(told: Sequence[RowInForce | RevealedRow], page: Sequence[RowInForce | RevealedRow]) -> bool:
    """Whether no row is left.

    Raises
    ------
    Malformed
        The page does not go on after what was told.
    """
    uids = [row.uid for row in (*told[-1:], *page)]
    if uids != sorted(set(uids)) or (page and page[-1].uid >= MAX_UIDS):
        raise Malformed("the ledger's pages of rows do not follow one another; ask another ledger")
    return not page
