"""Whether what a keyholder hands in for all is its own: asked by who coordinates, who alone knows from whom it came.

The others could only say that something among it is wrong, and would themselves be taken for the ones who fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from davy.keyholders.messages import Dealt, Echoed, Hello, Joined, MendingHello, SignedHello
from davy.killswitch import echo
from davy.killswitch.dkg import Package
from davy.killswitch.echo import Echo, SignedEcho
from davy.killswitch.group import Identifier
from davy.protocol.encoding import decode
from davy.protocol.errors import Unauthorised
from davy.protocol.limits import MAX_CEREMONY_BYTES
from davy.protocol.signing import Domain, verify
from davy.protocol.words import Digest, PublicKey

_DOMAINS: Final[dict[type[Hello | MendingHello], Domain]] = {
    Hello: Domain.DKG_HELLO,
    MendingHello: Domain.MEND_HELLO,
}


def check_hello(key: PublicKey, answer: Joined, kind: type[Hello | MendingHello]) -> None:
    """Check that a keyholder's hello is signed by it.

    Raises
    ------
    TooLarge, Malformed, BadSignature, Unauthorised
    """
    signed = decode(answer.hello, SignedHello, limit=MAX_CEREMONY_BYTES)
    if decode(signed.hello, kind, limit=MAX_CEREMONY_BYTES).member != key:
        raise Unauthorised("its hello is another's; leave it out")
    verify(key, _DOMAINS[kind], signed.hello, signed.signature)


def sessions_of(key: PublicKey, i: Identifier, answer: Dealt, kind: type[Package]) -> tuple[Digest, Digest]:
    """Check that a keyholder's packages are signed by it, and return the sessions that they are of.

    Raises
    ------
    TooLarge, Malformed, BadSignature, Unauthorised
    """
    halt, lift = (echo.authored(raw, kind, i, key) for raw in (answer.halt, answer.lift))
    return halt, lift


def check_echoes(key: PublicKey, i: Identifier, answer: Echoed) -> None:
    """Check that a keyholder's echoes are signed by it.

    Raises
    ------
    TooLarge, Malformed, BadSignature, Unauthorised
    """
    for raw in (answer.halt, answer.lift):
        signed = decode(raw, SignedEcho, limit=MAX_CEREMONY_BYTES)
        if decode(signed.echo, Echo, limit=MAX_CEREMONY_BYTES).member != i:
            raise Unauthorised("its echo is another's; leave it out")
        verify(key, Domain.DKG_ECHO, signed.echo, signed.signature)


def in_another_session(sessions: Mapping[PublicKey, object]) -> list[PublicKey]:
    """Those whose packages are of other sessions than most have."""
    ((most, _),) = Counter(sessions.values()).most_common(1)
    return [key for key, session in sessions.items() if session != most]
