"""Questions and answers of keyholders as text that is carried by hand: on a stick, by a courier, read from paper.

::

    -----BEGIN DAVY QUESTION-----
    from alice to bob
    abandon ability able about above absent absorb abstract      to be read aloud and compared
    AZQBxCDWl2…                                          a1f3     at most 60 letters, and their checksum
    -----END DAVY QUESTION-----

A line that was mistyped is named by its checksum. What makes a sheet valid is the signature in it, by its author, for
one reader, in one circle; an answer names the very question. Everything else on it follows from what is signed, and a
sheet that shows anything else is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Final, Literal

from msgspec import Meta

from davy.keyholders.circle import Circle, fingerprint
from davy.keyholders.messages import Answer, Ask, Nonce16
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Malformed, Misdirected, TooLarge
from davy.protocol.limits import MAX_REQUEST_BYTES
from davy.protocol.ports import KeyStore
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import Digest, KeyRole, PublicKey, Signature

MAX_ASKS: Final = 3
"""Of one sheet: what others echoed of both keys, and the step after it."""
MAX_SHEET_CHARS: Final = 256 * 1024
_LETTERS: Final = 60
_CHECK: Final = 4
Kind = Literal["QUESTION", "ANSWER"]


class Question(Wire):
    """What one keyholder asks another; several questions where all can be answered at once."""

    version: Annotated[int, Meta(ge=1, le=1)]
    circle: Digest
    sender: PublicKey
    recipient: PublicKey
    nonce: Nonce16
    asks: Annotated[tuple[Ask, ...], Meta(min_length=1, max_length=MAX_ASKS)]


class Answered(Wire):
    """An answer to each question of one sheet, in order."""

    version: Annotated[int, Meta(ge=1, le=1)]
    circle: Digest
    sender: PublicKey
    recipient: PublicKey
    question: Digest
    answers: Annotated[tuple[Answer, ...], Meta(min_length=1, max_length=MAX_ASKS)]


class SignedSheet(Wire):
    """The exact bytes of a `Question` or an `Answered`, and the author's signature in the domain SHEET."""

    version: Annotated[int, Meta(ge=1, le=1)]
    body: Annotated[bytes, Meta(max_length=MAX_REQUEST_BYTES)]
    signature: Signature


def question_id(q: Question) -> Digest:
    return digest(Domain.SHEET, encode(q))


def write_sheet(sheet: Question | Answered, circle: Circle, keys: KeyStore) -> str:
    """Sign a sheet and write it out.

    Raises
    ------
    TooLarge
    """
    body = encode(sheet)
    if len(body) > MAX_REQUEST_BYTES:
        raise TooLarge("this is more than one sheet carries; name fewer orders")
    return _text(sheet, SignedSheet(1, body, keys.sign(KeyRole.KEYHOLDER, _domain(sheet), body)), circle)


def circle_of_sheet(text: str) -> Digest:
    """Which circle a question says that it is of; nothing else of it is checked.

    Raises
    ------
    TooLarge, Malformed
    """
    return decode(_signed(text, "QUESTION").body, Question, limit=MAX_REQUEST_BYTES).circle


def read_question(text: str, circle: Circle, own: PublicKey) -> Question:
    """Read a question that was carried here.

    Raises
    ------
    TooLarge, Malformed, BadSignature
        It is no sheet, a line was mistyped, or it was changed.
    Misdirected, Unauthorised
        It is for another keyholder or circle, or of a stranger.
    """
    signed = _signed(text, "QUESTION")
    q = decode(signed.body, Question, limit=MAX_REQUEST_BYTES)
    _check(q, signed, text, circle, own)
    return q


def read_answer(text: str, circle: Circle, own: PublicKey, question: Question) -> Answered:
    """Read the answer to a question.

    Raises
    ------
    TooLarge, Malformed, BadSignature, Misdirected, Unauthorised
        See `read_question`; or it answers another question.
    """
    signed = _signed(text, "ANSWER")
    a = decode(signed.body, Answered, limit=MAX_REQUEST_BYTES)
    _check(a, signed, text, circle, own)
    if (a.question, a.sender) != (question_id(question), question.recipient):
        raise Misdirected("this answers another question; carry the newest sheet there and back")
    if len(a.answers) != len(question.asks):
        raise Malformed("this sheet does not answer all that was asked; have it written again")
    return a


def _check(sheet: Question | Answered, signed: SignedSheet, text: str, circle: Circle, own: PublicKey) -> None:
    if sheet.circle != circle.digest:
        raise Misdirected("this sheet is of another circle; compare the fingerprints: `davy keyholder circle`")
    if sheet.recipient != own:
        raise Misdirected(f"this sheet is for {circle.holder(sheet.recipient).name}; carry it there")
    verify(circle.holder(sheet.sender).key, _domain(sheet), signed.body, signed.signature)
    if _lines(text) != _lines(_text(sheet, signed, circle)):
        raise Malformed("this sheet shows something else than what is signed in it; have it written again")


def _domain(sheet: Question | Answered) -> Domain:
    return Domain.SHEET if isinstance(sheet, Question) else Domain.SHEET_ANSWER


def _text(sheet: Question | Answered, signed: SignedSheet, circle: Circle) -> str:
    kind: Kind = "QUESTION" if isinstance(sheet, Question) else "ANSWER"
    letters = base64.b64encode(encode(signed)).decode()
    rows = [letters[n : n + _LETTERS] for n in range(0, len(letters), _LETTERS)]
    lines = [
        f"-----BEGIN DAVY {kind}-----",
        f"from {circle.holder(sheet.sender).name} to {circle.holder(sheet.recipient).name}",
        fingerprint(digest(_domain(sheet), signed.body)),
        *(f"{row} {_checksum(n, row)}" for n, row in enumerate(rows, 1)),
        f"-----END DAVY {kind}-----",
    ]
    return "\n".join(lines) + "\n"


def _lines(text: str) -> list[str]:
    """Lines without what carrying adds: other line ends, blanks around them, empty lines, a byte order mark."""
    return [line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip()]


def _checksum(number: int, row: str) -> str:
    return hashlib.sha256(f"{number} {row}".encode()).hexdigest()[:_CHECK]


def _signed(text: str, kind: Kind) -> SignedSheet:
    if len(text) > MAX_SHEET_CHARS:
        raise TooLarge(f"a sheet has at most {MAX_SHEET_CHARS} letters; this is none")
    lines = _lines(text)
    whole = len(lines) >= 5 and (lines[0], lines[-1]) == (f"-----BEGIN DAVY {kind}-----", f"-----END DAVY {kind}-----")
    if not whole:
        raise Malformed(f"this is not a sheet with a {kind.lower()}, or not the whole of it; copy all its lines")
    rows: list[str] = []
    for number, line in enumerate(lines[3:-1], 1):
        row, _, check = line.partition(" ")
        if not row.isascii() or check != _checksum(number, row):
            raise Malformed(f"line {number} of the letters on this sheet is not as it was written; compare it")
        rows.append(row)
    try:
        raw = base64.b64decode("".join(rows), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the letters on this sheet are none that davy writes; have it written again") from None
    return decode(raw, SignedSheet, limit=2 * MAX_REQUEST_BYTES)
