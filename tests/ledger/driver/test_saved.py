"""Bytes of before a field was added are told apart by their version, and never taken for something else."""

import msgspec
import pytest

from davy.ledger.client.saved import check_saved
from davy.protocol.brake_messages import OrderPage
from davy.protocol.chain import SavedProof
from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import Malformed

NO_PROOF = [1, b"", bytes(32), []]
SAVED = [b"genesis", [], b"header", b"key", [], NO_PROOF]
PAGE = [bytes(32), [], [], True, 0]


@pytest.mark.parametrize(("kind", "fields"), [(SavedProof, SAVED), (OrderPage, PAGE)])
def test_only_the_version_that_has_these_fields_is_read(kind: type[Wire], fields: list[object]) -> None:
    assert decode(msgspec.msgpack.encode([2, *fields]), kind, limit=1_000)
    for version in (0, 1, 3):
        with pytest.raises(Malformed):
            decode(msgspec.msgpack.encode([version, *fields]), kind, limit=1_000)


def test_who_kept_a_proof_of_an_earlier_version_hears_what_to_do() -> None:
    with pytest.raises(Malformed, match="save it again"):
        check_saved(msgspec.msgpack.encode([1, b"genesis", b"header", b"key", [], NO_PROOF]), bytes(32))
