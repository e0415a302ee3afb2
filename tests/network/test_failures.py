"""A failed connection is told in words, whatever library failed and in whatever way."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from davy.network.client_failures import told_of_client
from davy.network.failures import told

KEY = ConnectionKey("h", 1, False, True, None, None, None)


def of_several(first: OSError, *others: OSError) -> OSError:
    """What anyio raises where a name has several addresses, or one."""
    e = OSError("All connection attempts failed")
    e.__cause__ = ExceptionGroup("", [first, *others]) if others else first
    return e


def connector(number: int) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, OSError(number, os.strerror(number)))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (aiohttp.ServerTimeoutError("sock_read"), "no answer in time"),
        (connector(errno.ECONNREFUSED), "nothing listens there"),
        (connector(errno.ENETUNREACH), "there is no way to that address"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "nothing listens there"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")), "no host of that"),
        (socket.gaierror(-2, "Name or service not known"), "no host of that name"),
        (aiohttp.InvalidURL("http://"), "not an address"),
        (UnicodeError("encoding with 'idna' codec failed"), "not an address"),
        (aiohttp.ClientConnectorSSLError(KEY, OSError(1, "wrong version")), "no TLS"),
        (ssl.SSLError("x"), "no TLS"),
        (aiohttp.ServerDisconnectedError(), "broke off"),
        (aiohttp.ClientPayloadError("TransferEncodingError"), "broke off"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "broke off"),
        (of_several(OSError(errno.ECONNREFUSED, "")), "nothing listens there"),
        (of_several(OSError(errno.EHOSTUNREACH, ""), OSError(errno.ECONNREFUSED, "")), "there is no way"),
        (aiohttp.ClientResponseError(None, ()), "another protocol"),  # type: ignore[arg-type]
        (ValueError("illegal header line"), "another protocol"),
    ],
    ids=repr,
)
def test_words_for_a_person(error: Exception, words: str) -> None:
    said = told_of_client(error)
    if not isinstance(error, aiohttp.ClientError):
        assert told(error) == said
    assert words in said
    assert not {"Error", "Errno", "[", "codec", type(error).__name__} & set(said.split())
