"""One transaction from the command line: sign, submit, wait until it is acknowledged, say what became of it."""

from __future__ import annotations

from davy.ledger.submit import send
from davy.protocol.chain import TxResult
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.ports import KeyStore, LedgerClient
from davy.protocol.transaction import Action
from davy.protocol.words import KeyRole


async def act(ledger: LedgerClient, keys: KeyStore, role: KeyRole, action: Action) -> TxResult:
    """Have a transaction included.

    Raises
    ------
    TxFailed
        The ledger turned it down, at the door or in its block.
    Unreachable
        It is not known whether it was included: `davy status` tells.
    """
    result = await send(ledger, keys, role, action)
    if result.code != TxCode.OK:
        raise TxFailed(TxCode(result.code), result.log)
    return result
