"""davy's profile: what is not signed exactly so, by the right key, for this node and chain, once, is refused."""

import base64
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davy.network.freshness import RetryFresh
from davy.network.message_signature import component_values, content_digest, parse_signature_input, signature_base
from davy.network.signed import COMPONENTS, RequestVerifier, read_request, request_base, request_id
from davy.protocol.errors import (
    BadSignature,
    Expired,
    Malformed,
    Misdirected,
    Refused,
    Replayed,
    TooLarge,
    Unauthorised,
)
from davy.protocol.limits import MAX_HEADER_BYTES
from davy.protocol.ports import SignedRequest
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor, request_anchor
from davy.protocol.signing import Domain, digest
from davy.protocol.words import KeyRole
from tests.network.conftest import ANCHOR, CHAIN, Sign
from tests.twins import MemoryStore, SeededKeys, SetClock

pytestmark = pytest.mark.anyio
HOTKEY = KeyRole.HOTKEY
# fixtures are not made anew for each example: no example changes one
shared_fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)


@pytest.fixture
async def verifier(miner: SeededKeys, clock: SetClock) -> RequestVerifier:
    v = RequestVerifier(miner.public(HOTKEY), CHAIN, clock, MemoryStore())
    await v.open()
    return v


def with_header(r: SignedRequest, name: str, value: str | None) -> SignedRequest:
    """Replace a field, or take it away."""
    kept = [(n, value if n == name else v) for n, v in r.headers if n != name or value is not None]
    return r._replace(headers=tuple((n, v) for n, v in kept if v is not None))


def header(r: SignedRequest, name: str) -> str:
    return dict(r.headers)[name]


async def test_a_good_request_tells_who_asks(verifier: RequestVerifier, sign: Sign, caller: SeededKeys) -> None:
    anchor = Anchor(7, bytes([9]) * 32)
    r = sign(anchor=anchor, brake_head=bytes([5]) * 32, created=1_800_000_001_999)
    who = await verifier.verify(r)
    assert who.hotkey == caller.public(HOTKEY)
    assert (who.anchor, who.brake_head, who.created) == (anchor, bytes([5]) * 32, 1_800_000_001_000)
    assert who.request_id == request_id(r) == digest(Domain.REQUEST, read_request(r).base)


async def test_the_signature_base_is_what_the_rfc_says(sign: Sign, caller: SeededKeys, miner: SeededKeys) -> None:
    r = sign(path="/v1/models?a=%20b", method="GET", body=b"", nonce=bytes(16))
    assert (
        read_request(r).base.decode()
        == f"""\
"@method": GET
"@path": /v1/models
"@query": ?a=%20b
"content-digest": {content_digest(b"")}
"davy-recipient": {miner.public(HOTKEY).hex()}
"davy-chain": {CHAIN.hex()}
"davy-anchor": 41:{ANCHOR.hash.hex()}
"davy-brake-head": {EMPTY_BRAKE_HEAD.hex()}
"@signature-params": ("@method" "@path" "@query" "content-digest" "davy-recipient" "davy-chain" "davy-anchor" \
"davy-brake-head");created=1800000000;nonce="{"00" * 16}";keyid="{caller.public(HOTKEY).hex()}";alg="ed25519"\
;tag="davy\""""
    )


async def test_two_requests_never_have_one_id(sign: Sign) -> None:
    assert request_id(sign()) != request_id(sign())


async def test_the_anchor_can_be_read_from_the_signature_base(sign: Sign) -> None:
    """As the ledger does it, to convict who served after a halt."""
    r = sign()
    assert request_anchor(request_base(r), request_id(r)) == ANCHOR
    assert len(request_base(r)) < MAX_HEADER_BYTES


async def test_a_replay_is_refused(verifier: RequestVerifier, sign: Sign) -> None:
    r = sign()
    await verifier.verify(r)
    with pytest.raises(Replayed):
        await verifier.verify(r)


async def test_a_nonce_serves_one_request(verifier: RequestVerifier, sign: Sign) -> None:
    await verifier.verify(sign(nonce=bytes(16)))
    with pytest.raises(Replayed):
        await verifier.verify(sign(nonce=bytes(16), body=b"other"))
    await verifier.verify(sign(nonce=bytes(16), keys=SeededKeys(7)))  # another caller's nonces are its own


async def test_another_recipient_or_chain_is_misdirected(verifier: RequestVerifier, sign: Sign) -> None:
    with pytest.raises(Misdirected, match="another node"):
        await verifier.verify(sign(recipient=SeededKeys(5).public(HOTKEY)))
    with pytest.raises(Misdirected, match="another chain"):
        await verifier.verify(sign(chain=bytes(32)))


async def test_a_foreign_signature_is_refused(verifier: RequestVerifier, sign: Sign, caller: SeededKeys) -> None:
    """A stranger signs what claims to be the caller's; and the caller's signature is put under a stranger's claim."""
    theirs, ours = sign(keys=SeededKeys(9), nonce=bytes(16)), sign(nonce=bytes(16))
    for mixed in (
        with_header(ours, "signature", header(theirs, "signature")),
        with_header(theirs, "signature", header(ours, "signature")),
        with_header(theirs, "signature-input", header(ours, "signature-input")),
    ):
        with pytest.raises(BadSignature):
            await verifier.verify(mixed)


@pytest.mark.parametrize("name", ["signature", "signature-input"])
@pytest.mark.parametrize("value", [None, "", " "])
async def test_an_empty_or_missing_signature_is_refused(
    verifier: RequestVerifier, sign: Sign, name: str, value: str | None
) -> None:
    with pytest.raises(BadSignature, match="not signed"):
        await verifier.verify(with_header(sign(), name, value))


@pytest.mark.parametrize("size", [0, 1, 63, 65])
async def test_a_signature_of_another_size_is_refused(verifier: RequestVerifier, sign: Sign, size: int) -> None:
    text = base64.b64encode(bytes(size)).decode()
    with pytest.raises(BadSignature):
        await verifier.verify(with_header(sign(), "signature", f"davy=:{text}:"))


async def test_a_signature_of_zeros_is_refused(verifier: RequestVerifier, sign: Sign) -> None:
    r = sign()
    zero_key = header(r, "signature-input").replace(f'keyid="{header_keyid(r)}"', f'keyid="{"00" * 32}"')
    forged = with_header(r, "signature", f"davy=:{base64.b64encode(bytes(64)).decode()}:")
    for signature_input in (header(r, "signature-input"), zero_key):
        with pytest.raises(BadSignature):
            await verifier.verify(with_header(forged, "signature-input", signature_input))


def header_keyid(r: SignedRequest) -> str:
    return header(r, "signature-input").split('keyid="')[1][:64]


@pytest.mark.parametrize("name", [*COMPONENTS[3:], "signature", "signature-input"])
async def test_a_signed_field_stands_once(verifier: RequestVerifier, sign: Sign, name: str) -> None:
    r = sign()
    twice = r._replace(headers=(*r.headers, (name, header(r, name))))
    with pytest.raises(Malformed, match="twice"):
        await verifier.verify(twice)
    with pytest.raises(Refused):
        await verifier.verify(with_header(r, name, None))
    await verifier.verify(r)


# each is signed again by the caller, rightly: only the profile can refuse it
OTHER_PROFILES: dict[str, Callable[[str], str]] = {
    "fewer components": lambda t: t.replace(' "davy-chain"', ""),
    "no component": lambda t: "()" + t[t.index(")") + 1 :],
    "another order": lambda t: t.replace('"@method" "@path"', '"@path" "@method"'),
    "more components": lambda t: t.replace('"davy-brake-head"', '"davy-brake-head" "content-type"'),
    "no nonce": lambda t: t.replace(';nonce="00000000000000000000000000000000"', ""),
    "no created": lambda t: t.replace(";created=1800000000", ""),
    "created as text": lambda t: t.replace("created=1800000000", 'created="1800000000"'),
    "negative created": lambda t: t.replace("created=", "created=-"),
    "short nonce": lambda t: t.replace('nonce="00', 'nonce="'),
    "nonce as a number": lambda t: t.replace('nonce="00000000000000000000000000000000"', "nonce=0"),
    "upper-case key": lambda t: re.sub('keyid="[0-9a-f]+', lambda found: found[0].upper().replace("KEYID", "keyid"), t),
    "spaces in the key": lambda t: re.sub('keyid="(..)', r'keyid="\1 ', t),
    "a longer key": lambda t: t.replace('keyid="', 'keyid="aa'),
    "no key": lambda t: t.replace("keyid=", "x="),
    "another algorithm": lambda t: t.replace("ed25519", "hmac-sha256"),
    "another tag": lambda t: t.replace('tag="davy"', 'tag="web"'),
    "one more parameter": lambda t: t + ";expires=1900000000",
}


@pytest.mark.parametrize("change", OTHER_PROFILES.values(), ids=OTHER_PROFILES.keys())
async def test_another_profile_is_refused_though_rightly_signed(
    verifier: RequestVerifier, sign: Sign, caller: SeededKeys, change: Callable[[str], str]
) -> None:
    r = sign(nonce=bytes(16))
    text = change(parse_signature_input(header(r, "signature-input")).text)
    assert text != parse_signature_input(header(r, "signature-input")).text
    claimed = parse_signature_input("davy=" + text)
    base = signature_base(component_values(r), claimed.components, text)
    if not base.startswith(b'"@method"'):
        base = b'"@method"' + base
    resigned = with_header(r, "signature-input", "davy=" + text)
    signature = base64.b64encode(caller.sign_raw(HOTKEY, base)).decode()
    with pytest.raises((BadSignature, Malformed, Expired)):
        await verifier.verify(with_header(resigned, "signature", f"davy=:{signature}:"))


async def test_a_list_of_components_that_lies_is_refused(
    verifier: RequestVerifier, sign: Sign, caller: SeededKeys
) -> None:
    """All of them are signed, but fewer are named: another verifier would rightly check other bytes."""
    r = sign()
    text = parse_signature_input(header(r, "signature-input")).text.replace(' "davy-chain"', "")
    signature = base64.b64encode(
        caller.sign_raw(HOTKEY, signature_base(component_values(r), COMPONENTS, text))
    ).decode()
    lying = with_header(with_header(r, "signature-input", "davy=" + text), "signature", f"davy=:{signature}:")
    with pytest.raises(BadSignature, match="must cover"):
        await verifier.verify(lying)


async def test_another_label_or_a_second_signature_is_refused(verifier: RequestVerifier, sign: Sign) -> None:
    r = sign()
    field, signature = header(r, "signature-input"), header(r, "signature")
    for a, b in [
        (field.replace("davy=(", "other=("), signature.replace("davy=:", "other=:")),
        (field, signature.replace("davy=:", "other=:")),
        (f"{field}, {field.replace('davy=(', 'other=(')}", signature),
        (field, f"{signature}, {signature}"),
    ]:
        with pytest.raises(Refused):
            await verifier.verify(with_header(with_header(r, "signature-input", a), "signature", b))


COVERED = ("method", "path", "body", *COMPONENTS[3:], "signature-input", "signature")


@shared_fixtures
@given(st.sampled_from(COVERED), st.integers(0), st.integers(0, 255))
async def test_any_changed_byte_is_refused(sign: Sign, part: str, at: int, byte: int) -> None:
    miner = SeededKeys(2)
    v = RequestVerifier(miner.public(HOTKEY), CHAIN, SetClock(), MemoryStore())
    await v.open()
    r = sign(path="/v1/completions?x=1")

    def changed(text: str) -> str:
        i = at % len(text)
        return text[:i] + chr(byte) + text[i + 1 :]

    if part == "body":
        i = at % len(r.body)
        forged = r._replace(body=r.body[:i] + bytes([byte]) + r.body[i + 1 :])
    elif part in ("method", "path"):
        forged = r._replace(**{part: changed(getattr(r, part))})
    else:
        forged = with_header(r, part, changed(header(r, part)))
    if forged == r:
        await v.verify(forged)
    else:
        with pytest.raises(Refused):
            await v.verify(forged)


@pytest.mark.parametrize("path", ["/v1/completions?", "/v1/completions?x=1&y", "/v1/completions/", "/V1/completions"])
async def test_a_longer_target_is_refused(verifier: RequestVerifier, sign: Sign, path: str) -> None:
    with pytest.raises(Refused):
        await verifier.verify(sign()._replace(path=path))


@shared_fixtures
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*COMPONENTS[3:], "signature-input", "signature", "host", "x"]), st.text(max_size=60)
        ),
        max_size=10,
    ),
    st.text(max_size=10),
    st.text(max_size=30),
    st.binary(max_size=20),
    st.booleans(),
)
async def test_any_request_is_verified_or_refused(
    sign: Sign, headers: list[tuple[str, str]], method: str, path: str, body: bytes, keep: bool
) -> None:
    """Whatever arrives, nothing but Refused is raised."""
    v = RequestVerifier(SeededKeys(2).public(HOTKEY), CHAIN, SetClock(), MemoryStore())
    await v.open()
    good = sign()
    r = SignedRequest(method, path, tuple(headers), body)
    if keep:
        kept = dict(good.headers) | dict(headers)
        r = SignedRequest(good.method, good.path, tuple(kept.items()), good.body)
    try:
        await v.verify(r)
    except Refused:
        return
    assert {n: v for n, v in r.headers if n in COVERED} == {n: v for n, v in good.headers if n in COVERED}


async def test_too_much_is_refused_before_anything_is_parsed(verifier: RequestVerifier, sign: Sign) -> None:
    r = sign()
    for large in (
        r._replace(body=bytes(65_537)),
        r._replace(headers=(*r.headers, ("x", "y" * 8_192))),
        r._replace(headers=(*r.headers, *[("x", "")] * 64)),
        r._replace(path="/" + "x" * 8_192),
    ):
        with pytest.raises(TooLarge):
            await verifier.verify(large)


async def test_a_stranger_spends_no_nonce(verifier: RequestVerifier, sign: Sign, caller: SeededKeys) -> None:
    r = sign()
    with pytest.raises(Unauthorised):
        await verifier.verify(r, admits=lambda key: key != caller.public(HOTKEY))
    assert (await verifier.verify(r, admits=lambda key: key == caller.public(HOTKEY))).hotkey


async def test_across_a_restart_nothing_is_accepted_twice(miner: SeededKeys, sign: Sign, clock: SetClock) -> None:
    store = MemoryStore()
    first = RequestVerifier(miner.public(HOTKEY), CHAIN, clock, store)
    await first.open()
    seen = [sign(), sign(created=clock.now() + 9_000), sign(created=clock.now() - 9_000)]
    for r in seen:
        await first.verify(r)
    second = RequestVerifier(miner.public(HOTKEY), CHAIN, clock, store.copy())
    await second.open()
    for r in seen:
        with pytest.raises(RetryFresh):
            await second.verify(r)
    with pytest.raises(RetryFresh) as refused:
        await second.verify(sign())
    clock.time += refused.value.wait_ms
    await second.verify(sign())


async def test_open_comes_first(miner: SeededKeys, clock: SetClock, sign: Sign) -> None:
    with pytest.raises(RuntimeError, match="open"):
        await RequestVerifier(miner.public(HOTKEY), CHAIN, clock, MemoryStore()).verify(sign())


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/"), ("POST", "x"), ("POST", "/a b"), ("POST", "/#"), ("", "/")]
)
def test_only_what_can_be_sent_is_signed(sign: Sign, method: str, path: str) -> None:
    with pytest.raises(Malformed):
        sign(method=method, path=path)


def test_a_nonce_has_sixteen_bytes(sign: Sign) -> None:
    with pytest.raises(Malformed):
        sign(nonce=bytes(15))
