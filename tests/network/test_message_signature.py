"""RFC 9421: the vectors of appendix B, canonical parsing, and nothing but Refused on any input."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA512
from hypothesis import example, given
from hypothesis import strategies as st
from nacl import bindings

from davy.network.message_signature import (
    component_values,
    content_digest,
    parse_signature,
    parse_signature_input,
    signature_base,
    write_signature_input,
)
from davy.protocol.errors import BadSignature, Malformed, Refused
from davy.protocol.ports import SignedRequest
from davy.protocol.signing import verify_raw


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# RFC 9421 B.1.4 test-key-ed25519 and B.1.2 test-key-rsa-pss (public half)
ED25519_PUBLIC = unpadded("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs")
ED25519_SEED = unpadded("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU")
RSA_MODULUS = int.from_bytes(
    unpadded(
        "r4tmm3r20Wd_PbqvP1s2-QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct-Lh1GH45x28Rw3Ry53mm-oAXjyQ86OnDkZ5N8lYbggD4O3"
        "w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL-Wokqltd11nqqzi-bJ9cvSKADYdUAAN5WUtzdpi"
        "y6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d-nb4bnNkQVklLQ3fVAvJm-xdDOp9LCNCN48V2pnDOkFV6"
        "-U9nV5oyc6XI2w"
    )
)

# B.2, the test request
REQUEST = SignedRequest(
    "POST",
    "/foo?param=Value&Pet=dog",
    (
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        (
            "content-digest",
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
        ),
        ("content-length", "18"),
    ),
    b'{"hello": "world"}',
)
B26_INPUT = (
    'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473'
    ';keyid="test-key-ed25519"'
)
B26_BASE = b"""\
"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473\
;keyid="test-key-ed25519\""""
B26_SIGNATURE = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"


def base_of(request: SignedRequest, field: str) -> bytes:
    claimed = parse_signature_input(field)
    return signature_base(component_values(request), claimed.components, claimed.text)


def test_b26_ed25519() -> None:
    assert base_of(REQUEST, B26_INPUT) == B26_BASE
    label, signature = parse_signature(B26_SIGNATURE)
    assert label == "sig-b26"
    verify_raw(ED25519_PUBLIC, B26_BASE, signature)
    public, secret = bindings.crypto_sign_seed_keypair(ED25519_SEED)
    assert public == ED25519_PUBLIC
    assert bindings.crypto_sign(B26_BASE, secret)[:64] == signature
    with pytest.raises(BadSignature):
        verify_raw(ED25519_PUBLIC, base_of(REQUEST._replace(method="GET"), B26_INPUT), signature)


def test_b23_full_coverage() -> None:
    """Signed by RSA-PSS, which davy does not speak: the base, with @query and content-digest, is what is checked."""
    field = (
        'sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length")'
        ';created=1618884473;keyid="test-key-rsa-pss"'
    )
    signature = base64.b64decode(
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38"
        "K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCo"
        "C1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FU"
        "o5fTIztsDZKEgM4cUA=="
    )
    key = rsa.RSAPublicNumbers(65537, RSA_MODULUS).public_key()
    key.verify(signature, base_of(REQUEST, field), padding.PSS(padding.MGF1(SHA512()), 64), SHA512())


B4_INPUT = 'transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"'
B4_SIGNATURE = "transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:"
B4_HOST = ("host", "example.org")
B4_GOOD = [
    ("/demo?name1=Value1&Name2=value2", (B4_HOST, ("accept", "application/json"), ("accept", "*/*"))),
    ("/demo?name1=Value1&Name2=value2&param=added", (B4_HOST, ("accept", "application/json"), ("accept", "*/*"))),
    ("/demo?name1=Value1&Name2=value2", (("referer", "x"), B4_HOST, ("accept", "application/json, */*"))),
    ("/demo", (("accept", " application/json\t"), ("accept", "*/*"), ("host", "Example.ORG"))),
]
B4_BAD = [
    ("POST", "/demo", (B4_HOST, ("accept", "application/json"), ("accept", "*/*"))),
    ("GET", "/demo", (("host", "example.com"), ("accept", "application/json"), ("accept", "*/*"))),
    ("GET", "/demo", (B4_HOST, ("accept", "*/*"), ("accept", "application/json"))),
    ("GET", "/demo/", (B4_HOST, ("accept", "application/json"), ("accept", "*/*"))),
]


@pytest.mark.parametrize(("path", "headers"), B4_GOOD)
def test_b4_allowed_transformations(path: str, headers: tuple[tuple[str, str], ...]) -> None:
    _, signature = parse_signature(B4_SIGNATURE)
    verify_raw(ED25519_PUBLIC, base_of(SignedRequest("GET", path, headers, b""), B4_INPUT), signature)


@pytest.mark.parametrize(("method", "path", "headers"), B4_BAD)
def test_b4_refused_transformations(method: str, path: str, headers: tuple[tuple[str, str], ...]) -> None:
    _, signature = parse_signature(B4_SIGNATURE)
    with pytest.raises(BadSignature):
        verify_raw(ED25519_PUBLIC, base_of(SignedRequest(method, path, headers, b""), B4_INPUT), signature)


def test_rfc9421_2_2_7_query() -> None:
    """§2.2.7: the query with its question mark; the question mark alone when there is none."""
    query = "?param=value&foo=bar&baz=bat%2Dman"
    assert component_values(SignedRequest("POST", "/path" + query, (), b""))["@query"] == query
    assert component_values(SignedRequest("POST", "/path", (), b""))["@query"] == "?"


def test_rfc9530_content_digest() -> None:
    """The sha-256 of ``{"hello": "world"}`` and a line feed, RFC 9530 appendix D's example body."""
    assert content_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


BAD_INPUTS = [
    "",
    "davy",
    "davy=",
    "davy=()x",
    'davy=("@method"',
    'davy=("@method");created=1, other=("@path")',
    ' davy=("@method");created=1',
    'davy=("@method");created=1 ',
    'davy=("@method")\n',
    'davy=("@method"  "@path");created=1',
    'davy=("@method" "@method");created=1',
    'davy=("@method";req);created=1',
    'davy=("@query-param";name="a");created=1',
    'davy=("@method"); created=1',
    'davy=("@method");created=01',
    'davy=("@method");created=-0',
    'davy=("@method");created=1.5',
    'davy=("@method");created=1;created=2',
    'davy=("@method");created=9999999999999999',
    'davy=("@method");created',
    'davy=("@method");alg=ed25519',
    'davy=("@method");nonce=:AAAA:',
    'davy=("@method");keyid="a\\b"',
    'davy=("@method");keyid="é"',
    'DAVY=("@method");created=1',
    "davy=(@method);created=1",
    'davy=("' + "x" * 9_000 + '")',
    'davy=("' + '\\"' * 4_000,
]


@pytest.mark.parametrize("field", BAD_INPUTS)
def test_what_is_not_canonical_is_refused(field: str) -> None:
    with pytest.raises(Malformed):
        parse_signature_input(field)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "davy=::",
        "davy=:AAAA:",
        B26_SIGNATURE.replace("Cw==", "Cx=="),  # the same bytes in another base64
        B26_SIGNATURE.replace("==", ""),
        B26_SIGNATURE + ", other=:AAAA:",
        B26_SIGNATURE + " ",
        B26_SIGNATURE[:-1],
    ],
)
def test_a_signature_in_any_other_form_is_refused(field: str) -> None:
    with pytest.raises(BadSignature):
        parse_signature(field)


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.*", max_size=20).map(lambda s: "k" + s)
STRINGS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


@given(
    st.lists(STRINGS, unique=True, max_size=5),
    st.dictionaries(NAMES, st.integers(-(10**15) + 1, 10**15 - 1) | STRINGS, max_size=5),
)
def test_what_is_written_is_read(components: list[str], parameters: dict[str, int | str]) -> None:
    text = write_signature_input(components, parameters)
    read = parse_signature_input("davy=" + text)
    assert (list(read.components), read.parameters, read.text) == (components, parameters, text)


@given(st.text(st.sampled_from('davy=()";:\\ @metho,1-é\n'), max_size=80) | st.text(max_size=80))
@example('davy=("' + "\\\\" * 4_000 + "x")
def test_any_text_is_read_or_refused(field: str) -> None:
    try:
        read = parse_signature_input(field)
    except Refused:
        return
    assert field == f"{read.label}={write_signature_input(read.components, read.parameters)}"


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "é", "\x00"])
def test_a_value_cannot_add_a_line_to_the_base(value: str) -> None:
    request = SignedRequest("GET", "/", (("x", value),), b"")
    with pytest.raises(Malformed):
        signature_base(component_values(request), ["x"], '("x")')


def test_a_missing_component_is_refused() -> None:
    with pytest.raises(Malformed, match="x is to be signed"):
        signature_base(component_values(SignedRequest("GET", "/", (), b"")), ["x"], '("x")')
