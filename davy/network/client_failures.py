"""Why aiohttp's client failed, in the words of `failures`, which a command that needs no aiohttp imports without it."""

from __future__ import annotations

import socket
import ssl

from aiohttp import ClientConnectorDNSError, ClientResponseError, ClientSSLError, InvalidURL

from davy.network.failures import told


def told_of_client(e: BaseException) -> str:
    """Say in a few words why a request failed; they stand between brackets in a sentence."""
    match e:
        case ClientConnectorDNSError():
            return told(socket.gaierror())
        case InvalidURL():
            return told(UnicodeError())
        case ClientSSLError():
            return told(ssl.SSLError())
        case ClientResponseError():
            return told(ValueError())
        case _:
            return told(e)
