"""Budgets: how many tickets a consumer may spend, and the deposit that a double one costs.

The ledger sees tickets only where two of one number are handed in. Nobody is paid here: what a ticket buys is a miner's
work, and whether it takes one is the miner's business.
"""

from __future__ import annotations

from msgspec.structs import replace

from davy.ledger.rules.accounts import account, burn, credit, debit
from davy.ledger.rules.records import BUDGETS, SUBNETS, subnet_key
from davy.ledger.rules.state import State
from davy.protocol.chain import Budget
from davy.protocol.errors import BadSignature, Refused, TxCode, TxFailed
from davy.protocol.ticket import budget_id, read_ticket, verify_ticket
from davy.protocol.transaction import CloseBudget, ConvictDoubleSpend, OpenBudget
from davy.protocol.words import Moment, tokens

_UNKNOWN = "there is no budget of this id; open one"


def open_budget(s: State, at: Moment, sender: bytes, x: OpenBudget) -> None:
    """Hold a deposit and let `consumer` spend tickets.

    Raises
    ------
    TxFailed
        NOT_FOUND: no such subnet. OUT_OF_RANGE: a deposit below minimum_stake. INSUFFICIENT.
    """
    s.need(SUBNETS, subnet_key(x.netuid), "there is no subnet of this netuid; ask /subnets")
    least = max(s.parameters.minimum_stake, 1)
    if x.deposit < least:
        raise TxFailed(TxCode.OUT_OF_RANGE, f"a deposit is {tokens(least)} tokens or more; put in more")
    debit(s, sender, x.deposit)
    nonce = account(s, sender).nonce - 1  # this transaction's own: it is counted already
    budget = Budget(sender, x.consumer, x.netuid, x.tickets, x.rate, x.deposit, at.height, 0, 0)
    s.put(BUDGETS, budget_id(s.chain, sender, nonce), budget)


def close_budget(s: State, at: Moment, sender: bytes, x: CloseBudget) -> None:
    """Let no more tickets count; called again `unbonding` blocks later, pay the deposit back and forget the budget.

    Raises
    ------
    TxFailed
        NOT_FOUND; NOT_OWNER; WRONG_TIME: it was closed less than `unbonding` blocks ago.
    """
    budget = s.need(BUDGETS, x.budget, _UNKNOWN)
    if budget.owner != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only who opened a budget closes it")
    if not budget.closed:
        s.put(BUDGETS, x.budget, replace(budget, closed=at.height))
        return
    back = budget.closed + s.parameters.unbonding
    if at.height < back:
        raise TxFailed(TxCode.WRONG_TIME, f"the deposit comes back at height {back}; close it again then")
    credit(s, sender, budget.deposit)
    s.delete(BUDGETS, x.budget)


def convict_double_spend(s: State, at: Moment, sender: bytes, x: ConvictDoubleSpend) -> None:
    """Burn the deposit of a budget whose consumer signed one ticket for two requests or two miners.

    Its tickets count no more. A consumer that counts up and never signs a number twice cannot be convicted.

    Raises
    ------
    TxFailed
        MALFORMED; WRONG_CHAIN; NOT_FOUND: no such budget. MISMATCH: two budgets or numbers, one ticket twice, or a
        number that the budget does not have. EXISTS: it is convicted. BAD_SIGNATURE.
    """
    try:
        signed, told = zip(*(read_ticket(raw) for raw in (x.first, x.second)), strict=True)
    except Refused as e:
        raise TxFailed(TxCode.MALFORMED, str(e)) from None
    one, other = told
    if s.chain not in (one.chain, other.chain) or one.chain != other.chain:
        raise TxFailed(TxCode.WRONG_CHAIN, "the tickets are of another chain; take them there")
    budget = s.need(BUDGETS, one.budget, _UNKNOWN)
    if (one.budget, one.index) != (other.budget, other.index):
        raise TxFailed(TxCode.MISMATCH, "these are tickets of two numbers; one of each convicts nobody")
    if (one.miner, one.request) == (other.miner, other.request):
        raise TxFailed(TxCode.MISMATCH, "this is one ticket twice, and convicts nobody")
    if one.index >= budget.tickets:
        raise TxFailed(TxCode.MISMATCH, "the budget has no ticket of this number; no miner takes it")
    if budget.convicted:
        raise TxFailed(TxCode.EXISTS, "this budget is convicted")
    try:
        for ticket in signed:
            verify_ticket(ticket, budget.consumer)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, str(e)) from None
    burn(s, budget.deposit)
    s.put(BUDGETS, one.budget, replace(budget, deposit=0, convicted=at.height, closed=budget.closed or at.height))
