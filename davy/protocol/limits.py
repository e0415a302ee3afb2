"""Every bound and parameter of davy in one place: unit, default, range, and who may change it.

Three kinds:

- constants below: bounds on bytes, items and work that are part of the protocol's version;
- `ChainParameters`: set at genesis (their digest is in it), changed by governance only;
- `Hyperparameters`: a subnet's, changed by its owner within the ranges here, at an epoch's end, and not far at once.

A field's `Meta` carries its range, so a value out of range cannot even be decoded.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

from davy.protocol.encoding import Wire, encode
from davy.protocol.signing import Domain, digest
from davy.protocol.words import INT63, MAX_SUPPLY, TOKEN, U16

MAX_TX_BYTES: Final = 64 * 1024
MAX_BLOCK_BYTES: Final = 1024 * 1024
MAX_BLOCK_TXS: Final = 5_000
MAX_GENESIS_BYTES: Final = 1024 * 1024
MAX_QUERY_BYTES: Final = 4 * 1024
MAX_RESULT_BYTES: Final = 4 * 1024 * 1024
MAX_SAVED_PROOF_BYTES: Final = MAX_GENESIS_BYTES + MAX_RESULT_BYTES + 16 * 1024 * 1024
MAX_COMMITTED_HEADER_BYTES: Final = 16 * 1024
"""The votes of 128 producers, and a header."""
MAX_PRODUCER_CHANGES: Final = 1_024
"""Changes of the producers that one saved proof shows."""
MAX_RPC_BODY_BYTES: Final = 256 * 1024
MAX_PENDING_TXS: Final = 10_000
MAX_RPC_BATCH: Final = 10
"""Calls in one JSON-RPC body."""
MAX_RPC_PAGE: Final = 20
"""Headers in one answer of `blockchain`."""
MAX_SUBSCRIBERS: Final = 256
"""WebSockets a ledger feeds; one that does not read in time is dropped."""
MAX_SUBSCRIBERS_AN_ADDRESS: Final = 32
"""Of them; any number from this machine, where a proxy may stand."""
MAX_NEWS_SUBNETS: Final = 256
"""Named by the news of one block; where more changed it says that all may have."""
MAX_REQUEST_BYTES: Final = 64 * 1024
"""The body of a request to a miner or a gateway."""
MAX_RESPONSE_BYTES: Final = 1024 * 1024
MAX_EVENT_BYTES: Final = 64 * 1024
"""One server-sent event of a stream."""
MAX_STREAM_BYTES: Final = 16 * MAX_RESPONSE_BYTES
"""All events of one stream together."""
MAX_RECEIPT_BYTES: Final = 1024
MAX_HEADER_BYTES: Final = 8 * 1024
"""All header fields of a request or a response together."""
MAX_HEADERS: Final = 64
MAX_HOST_CHARS: Final = 253
MAX_NAME_CHARS: Final = 64
MAX_MODEL_FILES: Final = 64
MAX_MANIFEST_BYTES: Final = 16 * 1024
MAX_SERVED_MODELS: Final = 16
MAX_PROMPT_TOKENS: Final = 2_048
MAX_COMPLETION_TOKENS: Final = 1_024
MAX_LOGPROBS: Final = 64
MAX_UIDS: Final = 4_096
MAX_ROW_WEIGHTS: Final = 3_840
"""Weights that fit into a transaction of MAX_TX_BYTES, whatever they are: with more a row might never be revealed."""
MAX_SUBNETS: Final = 1_024
MAX_KEYHOLDERS: Final = 255
"""Members of one roster, and of each of its group keys."""
MAX_THRESHOLD_MESSAGE_BYTES: Final = 32 * 1024
"""What a group of keyholders signs, its domain's prefix included."""
MAX_CEREMONY_BYTES: Final = 64 * 1024
"""Anything that keyholders send each other while they make a key or sign."""
EMISSION_PARTS: Final = 1_000_000
"""Subnets' emission shares are counted in millionths."""
REQUEST_WINDOW_MS: Final = 10_000
"""A signed request is fresh when |created − now| does not exceed it."""
NONCE_BYTES: Final = 16
MAX_NONCES: Final = 200_000
"""Nonces a server remembers; when they are used up within one window it refuses (`retry_fresh`), never forgets."""

DAY_MS: Final = 86_400_000
SIGNER_SKEW_MS: Final = 300_000
"""A keyholder signs an order only when |issued − now| does not exceed it."""
HALT_TERM_MS: Final = 7 * DAY_MS
"""The longest a HALT lasts, and the furthest an EXTEND reaches from when it was issued."""
HALT_LEAD_MS: Final = 3_600_000
"""A HALT is in force from this long before it was issued: a node whose clock is slow must not wait for it."""
ALLOWANCE_MS: Final = 21 * DAY_MS
"""What the HALT key alone can stop an ordinary model for, of any `ALLOWANCE_WINDOW_MS`."""
ALLOWANCE_WINDOW_MS: Final = 90 * DAY_MS
LEASE_TERM_MS: Final = 30 * DAY_MS
LEASE_GRACE_MS: Final = 3 * DAY_MS
"""After a LEASE ended; and what a replaced roster permitted lasts for so long after its replacement."""
LEASE_WARNINGS_MS: Final = (7 * DAY_MS, 3 * DAY_MS, DAY_MS)
"""So long before the end of a LEASE whoever runs, or looks after, its models is told."""
FRESH_MS: Final = 60_000
"""A systemic model runs while a verified header or heartbeat is no further from the own clock than this."""
MAX_GROUP_EPOCH: Final = 255
MAX_ORDER_BYTES: Final = 20 * 1024
"""An order without its signatures; the longest installs `MAX_KEYHOLDERS` and carries `MAX_NAMED_ORDERS`."""
MAX_SIGNED_ORDER_BYTES: Final = MAX_ORDER_BYTES + 256
MAX_NAMED_ORDERS: Final = 256
"""Orders that one LIFT, LOWER or INSTALL names."""
MAX_TARGET_MODELS: Final = 64
"""Model ids, file digests or registrants that one order names, of each."""
MAX_BRAKE_ORDERS: Final = 1_024
"""Orders of one roster that a brake keeps; with one more it is full, and stops everything until the next INSTALL.

LEASEs do not count: beside them as many are kept, and one more.
"""
MAX_RIVAL_ROSTERS: Final = 4
"""Rosters of one group epoch that a brake keeps; two are a dispute already."""
MAX_STORED_BYTES: Final = 256 * 1024 * 1024
"""One value of a node's store: the longest names all orders that a brake can come to keep (`davy.killswitch.index`)."""
MAX_ORDER_SET: Final = 1_024
"""Signed orders in one body, on any route between nodes."""
MAX_BRAKE_BODY_BYTES: Final = 1024 * 1024
"""One body of signed orders, on any route."""
MAX_REASON_BYTES: Final = 1_000
MAX_BLOCK_ORDERS: Final = 64
"""Orders that one block looks at; what comes behind them is handed in again."""
MAX_PENDING_ORDERS: Final = 256
"""Orders that wait for a block, beside other transactions. Only keyholders can fill it: each is verified before."""
MAX_DRILLS: Final = 64
"""Drills that stand on the ledger; a new one takes the place of the oldest that has ended."""
MAX_ATTESTATIONS: Final = 65_536
"""Answers to orders that stand on the ledger; a new one takes the place of the oldest."""
MAX_BRAKE_PAGE: Final = 64
"""Orders or attestations in one answer of the ledger."""
MAX_ANCESTORS: Final = 8
"""Models that one says it was made from."""
MAX_MOVES: Final = 16
"""Moves of an owner's stake to one of its hotkeys that answer for others at a time, and hotkeys that one moved to."""
MAX_LINEAGE: Final = 64
"""These, and theirs, and so on."""
MAX_MODELS_A_REGISTRANT: Final = 64
MAX_NAMED_CALLERS: Final = 64
"""Coldkeys and hotkeys together that a model's registrant lets ask."""
MAX_ACCESSES_ASKED: Final = 64
"""Models that one query asks about."""
MAX_GOVERNANCE_BYTES: Final = 4 * 1024
"""What a proposal, a vote or an execution may hold; nothing reads it yet."""
MAX_SUBJECT_ROWS: Final = 4 + MAX_LINEAGE + 2 * (1 + MAX_MODELS_A_REGISTRANT)
"""What one subject's facts are read from: UID, neuron, subnet, model; its lineage; all models of two registrants."""
CONVICTION_GRACE: Final = 10
"""Blocks after a HALT's own, and after `anchor_slack`, from which on an anchor convicts who served."""
MAX_CIRCLE: Final = 16
"""Keyholders that make keys and sign over the network: so many packages and echoes fit into one request."""
MAX_SHOWN_ORDERS: Final = 32
"""Orders that come with a proposal because it names them, for the signers' screens."""
MAX_MATTERS: Final = 8
"""Orders, and ceremonies, of one keyholder that wait for another's answer at a time."""
MAX_RELEASED: Final = 4_096
"""Orders that a keyholder remembers to have released a share for; with as many it signs only what stops."""


MAX_TAKE: Final = 11_796
"""Of U16, 18%: what the owner of a hotkey keeps of its delegators' dividends at most."""
TAKE_STEP: Final = 655
"""Of U16, a hundredth: how far one raise of a take goes."""
MAX_CHILDREN: Final = 5
"""Hotkeys that one lends its stake to on a subnet."""
MAX_PARENTS: Final = 64
"""Hotkeys that lend one their stake on a subnet."""
MAX_TICKETS: Final = 10**9
"""Of one budget."""
MAX_TICKET_RATE: Final = 10_000
MAX_TICKET_BYTES: Final = 512
TENTH: Final = 6_554
"""Of U16: how far one change moves a proportion."""


class Range(NamedTuple):
    """One row of the table: what `describe` lists."""

    name: str
    unit: str
    default: int
    low: int
    high: int
    changed_by: str
    step: int
    """How far one change by a subnet's owner moves it."""
    doubles: bool
    """Or to its double or its half, rounded up, where that is further."""

    def reach(self, now: int) -> tuple[int, int]:
        """The lowest and the highest value that one change brings it to from `now`."""
        down, up = now - self.step, now + self.step
        if self.doubles:
            down, up = min(down, (now + 1) // 2), max(up, 2 * now)
        return max(down, self.low), min(up, self.high)


def _range(unit: str, default: int, low: int, high: int, step: int = 0, *, doubles: bool = False) -> Meta:
    return Meta(ge=low, le=high, extra={"unit": unit, "default": default, "step": step, "doubles": doubles})


class ChainParameters(Wire):
    """What governance may change; part of the genesis."""

    version: Annotated[int, _range("", 1, 1, 1)]
    block_reward: Annotated[int, _range("base units a block", TOKEN, 0, 1_000 * TOKEN)]
    halving_interval: Annotated[int, _range("blocks", 10_500_000, 1, INT63)]
    owner_cut: Annotated[int, _range("of 65535", 11_796, 0, U16)]
    default_take: Annotated[int, _range("of 65535", MAX_TAKE, 0, MAX_TAKE)]
    unbonding: Annotated[int, _range("blocks", 50_400, 0, 10_000_000)]
    burn_low: Annotated[int, _range("base units", TOKEN // 10, 0, MAX_SUPPLY)]
    burn_high: Annotated[int, _range("base units", 100 * TOKEN, 0, MAX_SUPPLY)]
    subnet_price: Annotated[int, _range("base units, burned", 100 * TOKEN, 0, MAX_SUPPLY)]
    model_bond: Annotated[int, _range("base units, held while registered", TOKEN, 0, MAX_SUPPLY)]
    model_review: Annotated[int, _range("blocks before a model may be served", 0, 0, 1_000_000)]
    minimum_stake: Annotated[int, _range("base units an add_stake moves at least", TOKEN // 1_000, 0, MAX_SUPPLY)]
    anchor_slack: Annotated[int, _range("blocks an anchor may be ahead", 1, 0, 100)]

    @property
    def evidence_window(self) -> int:
        """Blocks after its anchor in which a receipt convicts: half of `unbonding`, so no stake is gone before."""
        return self.unbonding // 2


class Hyperparameters(Wire):
    """A subnet's rules, changed by its owner within these ranges."""

    version: Annotated[int, _range("", 1, 1, 1)]
    tempo: Annotated[int, _range("blocks an epoch", 360, 2, 100_000, 1, doubles=True)]
    immunity: Annotated[int, _range("blocks after registration", 4_096, 0, 1_000_000, 100, doubles=True)]
    activity_cutoff: Annotated[int, _range("blocks", 5_000, 1, 1_000_000, 100, doubles=True)]
    max_uids: Annotated[int, _range("neurons", 256, 2, MAX_UIDS, 1, doubles=True)]
    max_validators: Annotated[int, _range("neurons", 128, 1, MAX_UIDS, 1, doubles=True)]
    stake_threshold: Annotated[
        int, _range("base units below which stake counts zero", 0, 0, MAX_SUPPLY, TOKEN, doubles=True)
    ]
    kappa: Annotated[int, _range("of 65535", 32_767, 0, U16, TENTH)]
    bonds_penalty: Annotated[int, _range("of 65535", 65_535, 0, U16, TENTH)]
    bonds_moving_average: Annotated[int, _range("of 1000000", 900_000, 0, 1_000_000, 100_000)]
    liquid_alpha: Annotated[int, _range("0 off, 1 on", 0, 0, 1, 1)]
    alpha_low: Annotated[int, _range("of 65535", 45_875, 0, U16, TENTH)]
    alpha_high: Annotated[int, _range("of 65535", 58_982, 0, U16, TENTH)]
    alpha_steepness: Annotated[int, _range("thousandths", 10_000, 0, 1_000_000, 1_000, doubles=True)]
    bonds_format: Annotated[int, _range("bits a stored bond", 32, 16, 32, 16)]
    commit_reveal: Annotated[int, _range("0 open set_weights, 1 commit then reveal", 1, 0, 1, 1)]
    reveal_epochs: Annotated[int, _range("epochs after the commit's", 1, 1, 100, 1)]
    unrevealed_penalty: Annotated[int, _range("of 65535, of the next dividends", 65_535, 0, U16, TENTH)]
    registrations_an_epoch: Annotated[int, _range("neurons", 64, 1, MAX_UIDS, 1, doubles=True)]
    systemic: Annotated[int, _range("the class of its models: 0 ordinary, 1 systemic", 0, 0, 1, 1)]


def describe(kind: type[Wire]) -> list[Range]:
    """List the rows of `ChainParameters` or `Hyperparameters`: the table the docs print."""
    who = "governance" if kind is ChainParameters else "subnet owner"
    rows: list[Range] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        meta: Any = hint.__metadata__[0]
        x: Any = meta.extra
        rows.append(Range(name, x["unit"], x["default"], meta.ge, meta.le, who, x["step"], x["doubles"]))
    return rows


def chain_parameters(**changes: int) -> ChainParameters:
    """Return the defaults with some changed.

    Raises
    ------
    Misconfigured
        An unknown name, or a value out of its range.
    """
    return _build(ChainParameters, changes)


def hyperparameters(**changes: int) -> Hyperparameters:
    """Return the defaults with some changed.

    Raises
    ------
    Misconfigured
        An unknown name, or a value out of its range.
    """
    return _build(Hyperparameters, changes)


def parameters_digest(p: ChainParameters) -> bytes:
    """The digest that stands in a genesis."""
    return digest(Domain.PARAMETERS, encode(p))


def _build(kind: type[Any], changes: dict[str, int]) -> Any:
    from davy.protocol.errors import Misconfigured

    rows = {r.name: r for r in describe(kind)}
    for name, value in changes.items():
        if name not in rows:
            raise Misconfigured(f"there is no parameter '{name}'; the names are: {', '.join(rows)}")
        if not rows[name].low <= value <= rows[name].high:
            raise Misconfigured(f"{name} must lie between {rows[name].low} and {rows[name].high}, not {value}")
    return msgspec.convert([changes.get(n, r.default) for n, r in rows.items()], kind)
