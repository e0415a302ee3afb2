"""Cases of plain verification: which signatures the one verifier takes, and which others take and it does not."""

from __future__ import annotations

from typing import Any

from davy.killswitch.conformance.reading import BadFile, member, note_others, octets
from davy.killswitch.conformance.report import Report
from davy.protocol.errors import BadSignature
from davy.protocol.signing import verify_raw


def check(cases: list[Any], report: Report) -> None:
    """Compare each verdict with `expected_strict`.

    Raises
    ------
    BadFile
        A case whose expectation is neither true nor false.
    """
    for place, case in enumerate(cases):
        note_others(case, ("name", "public_key", "message", "signature", "expected_strict"), report)
        expected = member(case, "expected_strict")
        if not isinstance(expected, bool):
            raise BadFile("expected_strict is to be true or false")
        name = str(member(case, "name")) or str(place)
        taken = _takes(octets(case, "public_key"), octets(case, "message"), octets(case, "signature"))
        report.equal(f"{name} is {'taken' if expected else 'refused'}", taken, expected)


def _takes(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify_raw(public, message, signature)
    except BadSignature:
        return False
    return True
