"""Having a transaction included once: through lost answers, restarts of the ledger, and other senders of the same key.

May import: protocol; works on any `LedgerClient`. What makes a repetition safe is that the same bytes are handed in
again: a nonce is used once. Other bytes are signed only when it is proved that the first ones never can be included:
their nonce is used up, and no block since they were signed holds them. Nothing of this is the ledger's word, which
could have the same intent signed, and paid, as often as it likes.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import anyio
from msgspec import Meta

from davy.protocol.chain import TxResult
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Busy, Expired, Refused, TxCode, TxFailed, Unreachable
from davy.protocol.limits import MAX_TX_BYTES
from davy.protocol.order import open_order, order_id
from davy.protocol.ports import KeyStore, LedgerClient, Store
from davy.protocol.signing import Domain
from davy.protocol.transaction import Action, BrakeOrder, SignedTx, TxBody, open_tx, tx_hash
from davy.protocol.words import Height, KeyRole, TxHash

PATIENCE_S: Final = 60.0
"""How long a transaction is handed in again before its sender is told that nobody knows."""
_BLOCKS_A_TRY: Final = 20
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LOOK: Final = "look whether it was included, then repeat it"


class _Kept(Wire):
    """What `send` keeps of an intent: the bytes it handed in first, and a block made before they were signed."""

    version: Annotated[int, Meta(ge=2, le=2)]
    raw: Annotated[bytes, Meta(max_length=MAX_TX_BYTES)]
    after: Height


class _Turned(NamedTuple):
    """Turned down; `dead`: proved never to be included."""

    down: TxFailed
    dead: bool


class _Unknown(Unreachable):
    """What became of a transaction cannot be proved; asking the same ledger again changes nothing."""


async def send(
    ledger: LedgerClient,
    keys: KeyStore,
    role: KeyRole,
    action: Action,
    *,
    kept: tuple[Store, bytes] | None = None,
    patience: float = PATIENCE_S,
) -> TxResult:
    """Sign an action with its sender's next nonce and see it into a block.

    Parameters
    ----------
    kept
        A store and a key in it that names this one intent. The signed bytes are put there before they leave, so that
        calling again after a crash repeats them instead of doing the thing twice; an intent that was included
        returns its result as long as the ledger has its block, and is Unreachable after that.
    patience
        Seconds.

    Returns
    -------
    TxResult
        Of the block it stands in; its `code` says whether the action happened.

    Raises
    ------
    TxFailed
        Turned down at the door: it is in no block.
    Unreachable
        It is not known whether it is, or will be, included. Call again with the same `kept`, or look first.
    """
    signed: bytes | None = None
    with anyio.move_on_after(patience):
        while True:
            before = await _handed_in_before(kept, action) or await _signed(ledger, keys, role, action)
            signed = before.raw
            if kept is not None:
                await kept[0].put(kept[1], encode(before))
            became = await _become(ledger, before.raw, before.after)
            if isinstance(became, TxResult):
                return became
            if not became.dead or became.down.code is not TxCode.WRONG_NONCE:
                raise became.down
            if kept is not None:
                await kept[0].put(kept[1], b"")
    which = "" if signed is None else f" with nonce {open_tx(signed)[1].nonce}"
    raise Unreachable(f"the ledger acknowledged no transaction{which} in {patience:.0f} s; {_LOOK}")


async def deliver(ledger: LedgerClient, raw: bytes, *, after: Height = 0) -> TxResult:
    """Hand in signed bytes until they stand in a block; repeating it with the same bytes is always safe.

    Parameters
    ----------
    after
        A block that was made before they were signed.

    Raises
    ------
    TxFailed
        Turned down at the door, and in no block. WRONG_NONCE: its nonce is used up, so it never will be; any other
        code is the ledger's word.
    Unreachable
        Its nonce is used up, and what became of it cannot be proved.
    """
    became = await _become(ledger, raw, after)
    if isinstance(became, TxResult):
        return became
    raise became.down


async def _become(ledger: LedgerClient, raw: bytes, after: Height) -> TxResult | _Turned:
    h, (_, body) = tx_hash(raw), open_tx(raw)
    pause = _SHORTEST_PAUSE_S
    while True:
        try:
            until = (await ledger.head()).height + _BLOCKS_A_TRY
            try:
                await ledger.submit(raw)
            except TxFailed as e:
                # Asked before looking: where the nonce is used, it is in a block by now or never will be.
                used_up = await ledger.nonce(body.sender) > body.nonce
                result = await _look(ledger, h)
                if result is None and used_up:
                    result = await _fate(ledger, raw, after)
                if result is not None:
                    return result
                if used_up or e.code not in (TxCode.WRONG_NONCE, TxCode.TOO_EXPENSIVE):  # the latter: no room, as yet
                    return _Turned(e, dead=used_up)
            else:
                return await ledger.outcome(h, until=until)
        except _Unknown:
            raise
        except (Unreachable, Busy, Expired):
            pass  # the same bytes again, after a pause
        await anyio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


async def hand_in(ledger: LedgerClient, order: bytes, *, patience: float = PATIENCE_S) -> None:
    """Hand in a signed order until it is proved to stand on the ledger, whoever handed it in first.

    Raises
    ------
    TxFailed
        The ledger turns it down.
    Unreachable
        It is not known whether it is, or will be, recorded. Repeating it is always safe.
    """
    raw, pause = encode(BrakeOrder(order)), _SHORTEST_PAUSE_S
    i = order_id(open_order(order)[0].order)
    looks = 0
    with anyio.move_on_after(patience):
        while True:
            try:
                until, turned = (await ledger.head()).height + _BLOCKS_A_TRY, None
                try:
                    await ledger.outcome(await ledger.submit(raw), until=until)
                except TxFailed as e:
                    if e.code is not TxCode.EXISTS:
                        raise
                    turned = e
                if await ledger.is_recorded(i):
                    return
                if turned is not None:
                    looks += 1  # twice, since what turned it down may be a block ahead of what is proved
                if looks == 2:
                    said = f"the ledger turns the order down ({turned}), and its state holds no such order"
                    raise TxFailed(TxCode.EXISTS, said)
            except (Unreachable, Busy, Expired):
                pass
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
    raise Unreachable(f"the ledger recorded nothing in {patience:.0f} s; hand the order in again")


async def _look(ledger: LedgerClient, h: TxHash) -> TxResult | None:
    try:
        return await ledger.outcome(h, until=0)
    except Expired:
        return None


async def _fate(ledger: LedgerClient, raw: bytes, after: Height) -> TxResult | None:
    try:
        return await ledger.fate(raw, after=after)
    except (Busy, Expired):
        raise
    except (Refused, TxFailed) as e:
        nonce = open_tx(raw)[1].nonce
        raise _Unknown(f"what became of the transaction with nonce {nonce} cannot be known ({e}); {_LOOK}") from e


async def _signed(ledger: LedgerClient, keys: KeyStore, role: KeyRole, action: Action) -> _Kept:
    sender, pause = keys.public(role), _SHORTEST_PAUSE_S
    while True:
        try:
            after, nonce = (await ledger.head()).height, await ledger.nonce(sender)
            break
        except Unreachable:
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
    body = encode(TxBody(1, ledger.chain, sender, nonce, action))
    return _Kept(2, encode(SignedTx(1, body, keys.sign(role, Domain.TX, body))), after)


async def _handed_in_before(kept: tuple[Store, bytes] | None, action: Action) -> _Kept | None:
    """What is kept for this intent, if they carry this action."""
    stored = await kept[0].get(kept[1]) if kept is not None else None
    if not stored:
        return None
    before = decode(stored, _Kept, limit=2 * MAX_TX_BYTES)
    return before if open_tx(before.raw)[1].action == action else None
