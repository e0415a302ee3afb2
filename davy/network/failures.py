"""Why a connection failed, in words for the person who reads them: no library's class, no number of an errno."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

import aiohttp

_WORDS: Final = {
    errno.ECONNREFUSED: "nothing listens there",
    errno.EHOSTUNREACH: "there is no way to that address",
    errno.ENETUNREACH: "there is no way to that address",
    errno.EINVAL: "that is no address of a node",
    errno.EADDRNOTAVAIL: "that is no address of a node",
    errno.EMFILE: "too many files are open on this machine",
}


def told(e: BaseException) -> str:
    """Say in a few words why a connection failed; they stand between brackets in a sentence."""
    if isinstance(e, TimeoutError):
        return "no answer in time"
    if isinstance(e, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return "there is no host of that name"
    if isinstance(e, aiohttp.InvalidURL | UnicodeError):
        return "that is no address of a node"
    if isinstance(e, aiohttp.ClientSSLError | ssl.SSLError):
        return "no TLS connection came about"
    if isinstance(e, OSError) and e.errno in _WORDS:
        return _WORDS[e.errno]
    if isinstance(e, aiohttp.ClientResponseError | ValueError):
        return "what answers there speaks another protocol"
    return "the connection broke off"
