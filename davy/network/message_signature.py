"""HTTP Message Signatures (RFC 9421) and Digest Fields (RFC 9530): exactly the part that davy needs.

One signature a message; components without parameters; parameters that are integers or strings. A `Signature-Input` is
taken in its canonical serialisation (RFC 9651 §4.1) only, so the text received is the text that was signed and nothing
is serialised anew. What else the RFC allows is refused, never guessed at.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from davy.protocol.errors import BadSignature, Malformed
from davy.protocol.limits import MAX_HEADER_BYTES
from davy.protocol.ports import SignedRequest

# Possessive quantifiers: nothing is tried twice, so these match in linear time.
_KEY: Final = r"[a-z*][a-z0-9_.*-]{0,31}+"
_CHARS: Final = r'[ !#-\[\]-~]*+(?:\\["\\][ !#-\[\]-~]*+)*+'
_STRING: Final = f'"{_CHARS}"'
_INTEGER: Final = r"(?:0|-?[1-9][0-9]{0,14}+)"
_VALUE: Final = f"(?:{_STRING}|{_INTEGER})"
_INPUT: Final = re.compile(rf"({_KEY})=(\(((?:{_STRING}(?: {_STRING})*+)?+)\)((?:;{_KEY}={_VALUE})*+))")
_COMPONENT: Final = re.compile(_STRING)
_PARAMETER: Final = re.compile(f';({_KEY})=(?:"({_CHARS})"|({_INTEGER}))')
_SIGNATURE: Final = re.compile(rf"({_KEY})=:([A-Za-z0-9+/]{{86}}==):")
_ESCAPED: Final = re.compile(r"\\(.)")


class SignatureInput(NamedTuple):
    """One member of a `Signature-Input` field."""

    label: str
    components: tuple[str, ...]
    parameters: dict[str, int | str]
    text: str
    """The member's value as received: what stands after ``"@signature-params": `` in the signature base."""


def parse_signature_input(value: str) -> SignatureInput:
    """Read a `Signature-Input` field that holds one signature.

    Raises
    ------
    Malformed
        Not canonical, more than one member, a component or parameter twice, or a form that davy does not do.
    """
    if len(value) > MAX_HEADER_BYTES or not (found := _INPUT.fullmatch(value)):
        raise Malformed('signature-input is not one canonical member such as davy=("@method");created=1;keyid="…"')
    label, text, components, parameters = found.groups()
    names = _component_names(components)
    found_parameters = _PARAMETER.findall(parameters)
    values: dict[str, int | str] = {
        name: int(number) if number else _ESCAPED.sub(r"\1", chars) if "\\" in chars else chars
        for name, chars, number in found_parameters
    }
    if len(set(names)) != len(names) or len(values) != len(found_parameters):
        raise Malformed("signature-input names a component or a parameter twice; name each once")
    return SignatureInput(label, names, values, text)


def write_signature_input(components: Iterable[str], parameters: Mapping[str, int | str]) -> str:
    """Serialise components and parameters, in the order given: the `text` of a `SignatureInput`."""
    return f"({_inner_list(tuple(components))})" + "".join(
        f";{name}={value if isinstance(value, int) else _quote(value)}" for name, value in parameters.items()
    )


def parse_signature(value: str) -> tuple[str, bytes]:
    """Read a `Signature` field that holds one signature of 64 bytes; return its label and the bytes.

    Raises
    ------
    BadSignature
        Another length, or a base64 that is not the canonical one.
    """
    found = _SIGNATURE.fullmatch(value)
    if not found:
        raise BadSignature("the signature field must hold one signature of 64 bytes, label=:base64:")
    label, text = found.groups()
    signature = base64.b64decode(text)
    if base64.b64encode(signature).decode() != text:
        raise BadSignature("the signature is not in canonical base64; sign again")
    return label, signature


def component_values(request: SignedRequest) -> dict[str, str]:
    """Return every component of a request that a signature may cover (RFC 9421 §2.1 and §2.2), by name.

    Fields of one name are joined by a comma and a space. ``@query`` of a target without a query is ``?``. There is
    ``@authority`` only where there is a host field; default ports are left as they are.
    """
    path, mark, query = request.path.partition("?")
    values = {"@method": request.method, "@path": path, "@query": "?" + query if mark else "?"}
    for name, raw in request.headers:
        value = raw.strip(" \t")
        values[name] = f"{values[name]}, {value}" if name in values else value
    if "host" in values:
        values["@authority"] = values["host"].lower()
    return values


def signature_base(values: Mapping[str, str], components: Iterable[str], text: str) -> bytes:
    """Return the bytes that are signed (RFC 9421 §2.5).

    Raises
    ------
    Malformed
        A component is missing, or its value is not printable ASCII; a tab, which the RFC allows, is not taken.
    """
    names = tuple(components)
    try:
        signed = (*map(values.__getitem__, names), text)
    except KeyError as e:
        raise Malformed(f"{e.args[0]} is to be signed and is not in the request; add it") from None
    flat = "".join((*names, *signed))
    if not flat.isascii() or not flat.isprintable():  # a line break would add a line to what is signed
        raise Malformed("a signed field holds what cannot be signed; use printable ASCII")
    return (_base_form(names) % signed).encode()


def content_digest(body: bytes) -> str:
    """Return the value of `Content-Digest` with sha-256 alone (RFC 9530 §2)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


@lru_cache(maxsize=64)
def _component_names(inner: str) -> tuple[str, ...]:
    """Cached, for all requests of a profile cover the same components."""
    return tuple(_unquote(c) for c in _COMPONENT.findall(inner))


@lru_cache(maxsize=64)
def _base_form(components: tuple[str, ...]) -> str:
    names = (*(name.replace("%", "%%") for name in components), "@signature-params")
    return "\n".join(f'"{name}": %s' for name in names)


@lru_cache(maxsize=64)
def _inner_list(components: tuple[str, ...]) -> str:
    return " ".join(_quote(c) for c in components)


def _quote(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _unquote(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if "\\" in text else text[1:-1]
