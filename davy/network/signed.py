"""davy's profile of RFC 9421: a request signed by a hotkey, for one recipient, on one chain, once.

======================  =================================================================================
covered, in this order  ``@method`` ``@path`` ``@query`` ``content-digest`` ``davy-recipient`` ``davy-chain``
                        ``davy-anchor`` ``davy-brake-head``
parameters              ``created`` (seconds), ``nonce`` (hex), ``keyid`` (the hotkey, hex), ``alg`` = ``ed25519``,
                        ``tag`` = ``davy``; all of them, no others, in any order
label                   ``davy``, and no second signature
======================  =================================================================================

Keys, digests and the brake's head are 64 lower-case hex digits; an anchor is ``<height>:<hash>``. ``@query`` is always
covered (``?`` when there is none), and a target that ends in an empty ``?`` is refused: it would have the same
signature as the one without. Each of these fields stands in the request once. A request's id is the digest of its
signature base in the domain REQUEST; receipts name it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from davy.network.freshness import Freshness
from davy.network.message_signature import (
    SignatureInput,
    component_values,
    content_digest,
    parse_signature,
    parse_signature_input,
    signature_base,
    write_signature_input,
)
from davy.protocol.errors import BadSignature, Malformed, Misdirected, TooLarge, Unauthorised
from davy.protocol.limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUEST_BYTES, NONCE_BYTES
from davy.protocol.ports import Clock, KeyStore, SignedRequest, Store
from davy.protocol.receipt import Anchor
from davy.protocol.signing import Domain, digest, verify_raw
from davy.protocol.words import INT63, ChainId, Digest, Hotkey, KeyRole, UnixMillis

LABEL: Final = "davy"
COMPONENTS: Final = (
    "@method",
    "@path",
    "@query",
    "content-digest",
    "davy-recipient",
    "davy-chain",
    "davy-anchor",
    "davy-brake-head",
)
_PARAMETERS: Final = frozenset({"created", "nonce", "keyid", "alg", "tag"})
_FIELDS: Final = frozenset({*COMPONENTS[3:], "signature-input", "signature"})
"""Header fields that stand in a request exactly once: more of them than names are a duplicate, less are a gap."""
_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_TARGET: Final = re.compile(r"/[!\"$->@-~]*(?:\?[!\"$-~]+)?")
_ANCHOR: Final = re.compile(r"(0|[1-9][0-9]{0,18}):([0-9a-f]{64})")


class Caller(NamedTuple):
    """Who asked, and what they knew: all of it signed."""

    hotkey: Hotkey
    request_id: Digest
    anchor: Anchor
    brake_head: Digest
    created: UnixMillis
    """A whole second."""


def sign_request(
    keys: KeyStore,
    *,
    method: str,
    path: str,
    body: bytes,
    recipient: Hotkey,
    chain: ChainId,
    anchor: Anchor,
    brake_head: bytes,
    created: UnixMillis,
    nonce: bytes,
) -> SignedRequest:
    """Sign a request with the hotkey.

    Parameters
    ----------
    path
        Request target: a path and, if any, ``?`` and a query, percent-encoded as it will be sent.
    created
        Rounded down to a second: RFC 9421 has no finer one.
    nonce
        NONCE_BYTES fresh random bytes; one for each signature.

    Raises
    ------
    Malformed
        A method or target that cannot be sent as it is.
    """
    _check_target(method, path)
    if len(nonce) != NONCE_BYTES:
        raise Malformed(f"a nonce has {NONCE_BYTES} bytes")
    headers = (
        ("content-type", "application/json"),
        ("content-digest", content_digest(body)),
        ("davy-recipient", recipient.hex()),
        ("davy-chain", chain.hex()),
        ("davy-anchor", anchor_text(anchor)),
        ("davy-brake-head", brake_head.hex()),
    )
    text = write_signature_input(
        COMPONENTS,
        {
            "created": created // 1000,
            "nonce": nonce.hex(),
            "keyid": keys.public(KeyRole.HOTKEY).hex(),
            "alg": "ed25519",
            "tag": "davy",
        },
    )
    unsigned = SignedRequest(method, path, headers, body)
    signature = keys.sign_raw(KeyRole.HOTKEY, signature_base(component_values(unsigned), COMPONENTS, text))
    signed = (
        ("signature-input", f"{LABEL}={text}"),
        ("signature", f"{LABEL}=:{base64.b64encode(signature).decode()}:"),
    )
    return SignedRequest(method, path, (*headers, *signed), body)


def request_base(sent: SignedRequest) -> bytes:
    """Signature base of a request that was signed here: with a receipt it is evidence (`request_anchor`).

    Raises
    ------
    Malformed
        The request is not signed.
    """
    values = component_values(sent)
    text = values.get("signature-input", "").removeprefix(f"{LABEL}=")
    return signature_base(values, COMPONENTS, text)


def request_id(sent: SignedRequest) -> Digest:
    """Digest of the signature base, in the domain REQUEST, of a request that was signed here: nothing is checked.

    Raises
    ------
    Malformed
        The request is not signed.
    """
    return digest(Domain.REQUEST, request_base(sent))


def anchor_text(anchor: Anchor) -> str:
    """Return the value of ``davy-anchor``."""
    return f"{anchor.height}:{anchor.hash.hex()}"


class RequestReading(NamedTuple):
    """What a well-formed request claims; nothing in it is verified."""

    base: bytes
    signature: bytes
    hotkey: Hotkey
    nonce: bytes
    created: int
    """Seconds since 1970."""
    recipient: Hotkey
    chain: ChainId
    anchor: Anchor
    brake_head: Digest


def read_request(request: SignedRequest) -> RequestReading:
    """Read the claims of a request, strictly and within bounds.

    Raises
    ------
    TooLarge
        More body, fields or bytes of fields than the limits.
    BadSignature
        No signature, an empty one, or one that does not cover exactly what this profile covers.
    Malformed
        Everything else that is not exactly as this module's header says.
    """
    if len(request.body) > MAX_REQUEST_BYTES:
        raise TooLarge(f"a request body holds at most {MAX_REQUEST_BYTES} bytes; send less")
    size, signed = len(request.path), 0
    for name, value in request.headers:
        size += len(name) + len(value)
        signed += name in _FIELDS
    if size > MAX_HEADER_BYTES or len(request.headers) > MAX_HEADERS:
        raise TooLarge(f"a request holds at most {MAX_HEADERS} header fields and {MAX_HEADER_BYTES} bytes of them")
    _check_target(request.method, request.path)
    if signed > len(_FIELDS):
        raise Malformed("a signed header field stands in the request twice; send each once")
    values = component_values(request)
    if not values.get("signature-input") or not values.get("signature"):
        raise BadSignature("the request is not signed; sign it with your hotkey (RFC 9421, label davy)")
    claimed = parse_signature_input(values["signature-input"])
    label, signature = parse_signature(values["signature"])
    _check_profile(claimed, label)
    base = signature_base(values, COMPONENTS, claimed.text)
    if values["content-digest"] != content_digest(request.body):
        raise BadSignature("content-digest is not the sha-256 of this body; the body was changed on its way")
    created = claimed.parameters["created"]
    if not isinstance(created, int):
        raise Malformed("created is a number of seconds")
    return RequestReading(
        base=base,
        signature=signature,
        hotkey=_hex("keyid", claimed.parameters["keyid"], 32),
        nonce=_hex("nonce", claimed.parameters["nonce"], NONCE_BYTES),
        created=created,
        recipient=_hex("davy-recipient", values["davy-recipient"], 32),
        chain=_hex("davy-chain", values["davy-chain"], 32),
        anchor=_anchor(values["davy-anchor"]),
        brake_head=_hex("davy-brake-head", values["davy-brake-head"], 32),
    )


class RequestVerifier:
    """Tells a node who is asking. One a node: it remembers what was accepted.

    Parameters
    ----------
    own
        The node's hotkey: requests for others are refused.
    store
        Holds the mark that refuses replays across a restart (`davy.network.freshness`).
    also
        Other chains that are answered for: whoever belongs to two still has one mark.
    """

    def __init__(
        self, own: Hotkey, chain: ChainId, clock: Clock, store: Store, *, also: Collection[ChainId] = ()
    ) -> None:
        self._own = own
        self._chains = frozenset([chain, *also])
        self._freshness = Freshness(clock, store)

    async def open(self) -> None:
        """Read what an earlier process left; comes before the first `verify`.

        Raises
        ------
        StoreFailed
        """
        await self._freshness.open()

    async def verify(self, r: SignedRequest, *, admits: Callable[[Hotkey], bool] | None = None) -> Caller:
        """Return who signed a request, once.

        Parameters
        ----------
        admits
            Asked after the signature and before a nonce is spent: strangers cannot use up what a node remembers.

        Raises
        ------
        TooLarge, Malformed, BadSignature
            See `read_request`; BadSignature also when the signature does not hold.
        Misdirected
            For another recipient or chain.
        Unauthorised
            `admits` said no.
        Expired, Replayed, RetryFresh, StoreFailed
            See `Freshness.accept`.
        """
        claim = read_request(r)
        if claim.recipient != self._own:
            raise Misdirected("this request is for another node; look up who listens here in the metagraph")
        if claim.chain not in self._chains:
            raise Misdirected("this request is for another chain; compare the genesis of both nodes")
        verify_raw(claim.hotkey, claim.base, claim.signature)
        if admits is not None and not admits(claim.hotkey):
            raise Unauthorised("this node does not answer this key; stake on it, or ask a gateway")
        await self._freshness.accept(claim.hotkey, claim.nonce, claim.created)
        return Caller(
            claim.hotkey, digest(Domain.REQUEST, claim.base), claim.anchor, claim.brake_head, claim.created * 1000
        )


def _check_target(method: str, path: str) -> None:
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(path):
        raise Malformed("a request needs a method in capitals and a target such as /v1/completions, percent-encoded")


def _check_profile(claimed: SignatureInput, label: str) -> None:
    if claimed.label != LABEL or label != LABEL:
        raise BadSignature(f"the one signature of a request is labelled {LABEL}")
    if claimed.components != COMPONENTS:
        raise BadSignature(f"the signature must cover, in this order: {' '.join(COMPONENTS)}")
    if claimed.parameters.keys() != _PARAMETERS:
        raise BadSignature(f"the signature's parameters are: {' '.join(sorted(_PARAMETERS))}")
    if claimed.parameters["alg"] != "ed25519" or claimed.parameters["tag"] != "davy":
        raise BadSignature('the signature needs alg="ed25519" and tag="davy"')


def _hex(name: str, text: int | str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(str(text))
    except ValueError:
        raw = b""
    if len(raw) != size or raw.hex() != text:  # upper case and spaces are other texts for the same bytes
        raise Malformed(f"{name} is {2 * size} lower-case hex digits")
    return raw


def _anchor(text: str) -> Anchor:
    found = _ANCHOR.fullmatch(text)
    if not found or int(found[1]) > INT63:
        raise Malformed("davy-anchor is <height>:<block hash in hex>")
    return Anchor(int(found[1]), bytes.fromhex(found[2]))
