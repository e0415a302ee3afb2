"""Having a transaction included once: through lost answers, restarts of the ledger, and other senders of the same key.

May import: protocol; works on any `LedgerClient`. What makes a repetition safe is that the same bytes are handed in
again: a nonce is used once. Other bytes are signed only when the nonce of the first ones is used up and they are in no
block, so that they never can be.
"""

from __future__ import annotations

from typing import Annotated, Final

import anyio
from msgspec import Meta

from davy.protocol.chain import TxResult
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Busy, Expired, TxCode, TxFailed, Unreachable
from davy.protocol.limits import MAX_TX_BYTES
from davy.protocol.ports import KeyStore, LedgerClient, Store
from davy.protocol.signing import Domain
from davy.protocol.transaction import Action, BrakeOrder, SignedTx, TxBody, open_tx, tx_hash
from davy.protocol.words import KeyRole, TxHash

PATIENCE_S: Final = 60.0
"""How long a transaction is handed in again before its sender is told that nobody knows."""
_BLOCKS_A_TRY: Final = 20
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


class _Kept(Wire):
    """What `send` keeps of an intent: the bytes it handed in first."""

    version: Annotated[int, Meta(ge=1, le=1)]
    raw: Annotated[bytes, Meta(max_length=MAX_TX_BYTES)]


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
        returns its result for ever.
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
    with anyio.move_on_after(patience):
        while True:
            raw = await _handed_in_before(kept, action) or await _signed(ledger, keys, role, action)
            if kept is not None:
                await kept[0].put(kept[1], encode(_Kept(1, raw)))
            try:
                return await deliver(ledger, raw)
            except TxFailed as e:
                if e.code is not TxCode.WRONG_NONCE:
                    raise
            if kept is not None:
                await kept[0].put(kept[1], b"")
    raise Unreachable(
        f"the ledger acknowledged nothing in {patience:.0f} s; look whether it was included, then repeat it"
    )


async def deliver(ledger: LedgerClient, raw: bytes) -> TxResult:
    """Hand in signed bytes until they stand in a block; repeating it with the same bytes is always safe.

    Raises
    ------
    TxFailed
        Turned down at the door, and in no block. WRONG_NONCE: its nonce is used up, so it never will be.
    """
    h, (_, body) = tx_hash(raw), open_tx(raw)
    pause = _SHORTEST_PAUSE_S
    while True:
        try:
            until = (await ledger.head()).height + _BLOCKS_A_TRY
            try:
                await ledger.submit(raw)
            except TxFailed as e:
                # Asked before looking: once the nonce is used, a look that finds nothing is final.
                used_up = await ledger.nonce(body.sender) > body.nonce
                result = await _look(ledger, h)
                if result is not None:
                    return result
                if used_up or e.code not in (TxCode.WRONG_NONCE, TxCode.TOO_EXPENSIVE):  # the latter: no room, as yet
                    raise
            else:
                return await ledger.outcome(h, until=until)
        except (Unreachable, Busy, Expired):
            pass  # the same bytes again, after a pause
        await anyio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


async def hand_in(ledger: LedgerClient, order: bytes, *, patience: float = PATIENCE_S) -> None:
    """Hand in a signed order until it stands on the ledger, whoever handed it in first.

    Raises
    ------
    TxFailed
        The ledger turns it down.
    Unreachable
        It is not known whether it is, or will be, recorded. Repeating it is always safe.
    """
    raw, pause = encode(BrakeOrder(order)), _SHORTEST_PAUSE_S
    with anyio.move_on_after(patience):
        while True:
            try:
                until = (await ledger.head()).height + _BLOCKS_A_TRY
                await ledger.outcome(await ledger.submit(raw), until=until)  # recorded, or we look once more
            except TxFailed as e:
                if e.code is TxCode.EXISTS:
                    return
                raise
            except (Unreachable, Busy, Expired):
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
    raise Unreachable(f"the ledger recorded nothing in {patience:.0f} s; hand the order in again")


async def _look(ledger: LedgerClient, h: TxHash) -> TxResult | None:
    try:
        return await ledger.outcome(h, until=0)
    except Expired:
        return None


async def _signed(ledger: LedgerClient, keys: KeyStore, role: KeyRole, action: Action) -> bytes:
    sender, pause = keys.public(role), _SHORTEST_PAUSE_S
    while True:
        try:
            nonce = await ledger.nonce(sender)
            break
        except Unreachable:
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
    body = encode(TxBody(1, ledger.chain, sender, nonce, action))
    return encode(SignedTx(1, body, keys.sign(role, Domain.TX, body)))


async def _handed_in_before(kept: tuple[Store, bytes] | None, action: Action) -> bytes | None:
    """The bytes kept for this intent, if they carry this action."""
    stored = await kept[0].get(kept[1]) if kept is not None else None
    if not stored:
        return None
    raw = decode(stored, _Kept, limit=2 * MAX_TX_BYTES).raw
    return raw if open_tx(raw)[1].action == action else None
