"""The routes of a keyholder's command, over sockets: a node that only the ledger names, and then only the home."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from davy.cli import ordering
from davy.cli.network import Network, write_network
from davy.cli.ordering import routes, source_of
from davy.host.home import Home
from davy.keyholders.release import Book, Delivery, release_by_all
from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network.brake_routes import BrakeRoutes
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.http_server import serve
from davy.protocol.errors import DavyError, Unreachable
from davy.protocol.ports import Response
from davy.protocol.words import KeyRole
from tests.keyholders.test_listening import Answering, Ledger
from tests.killswitch.story import Story, order_of
from tests.twins import MemoryStore, SeededEntropy, SeededKeys, WallClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def a_node(story: Story, folder: Path) -> AsyncGenerator[tuple[Guard, int]]:
    certificate, files = make_certificate(bytes(32)), CertificateFiles(folder / "certificate", folder / "key")
    files.certificate.write_bytes(certificate.certificate)
    files.key.write_bytes(certificate.key)
    guard = Guard(first_state(story.genesis), keys=SeededKeys(1), clock=WallClock(), store=MemoryStore())
    brake = BrakeRoutes(guard, Answering(Response(404, (), b"")), WallClock())
    async with serve(brake, "127.0.0.1", 0, files) as port:
        yield guard, port


async def test_an_order_reaches_a_node_of_no_book_also_when_the_ledger_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, ledger = Story(), Ledger(bytes(32))
    first, second = (order_of(story.given[story.halt(day, 1)]) for day in (0, 0.001))
    keyholder: Any = SimpleNamespace(clock=WallClock(), entropy=SeededEntropy(1), home=Home(tmp_path))
    file = tmp_path / "network.json"
    write_network(file, Network(1, story.chain.hex(), "http://127.0.0.1:1"))

    async def hand_in(*_: Any, **__: Any) -> None:
        raise Unreachable("the ledger records nothing")

    @asynccontextmanager
    async def ledger_of(_: Network) -> AsyncGenerator[Any]:
        async with ledger.open() as opened:
            yield opened

    async def release(order: Any) -> list[Delivery]:
        async with routes(keyholder, Book(), file) as every:
            return await release_by_all(every, order)

    monkeypatch.setattr(ordering, "ledger_of", ledger_of)
    monkeypatch.setattr("davy.keyholders.release.hand_in", hand_in)
    async with a_node(story, tmp_path) as (guard, port):
        ledger.chain = story.chain
        ledger.named.append([("127.0.0.1", port)])
        ledger.keys["127.0.0.1", port] = SeededKeys(1).public(KeyRole.HOTKEY)
        there = [("ledger", False), ("named", True)]
        assert [(d.route, d.reached) for d in await release(first)] == there
        ledger.is_up = False
        assert [(d.route, d.reached) for d in await release(second)] == there
        assert guard.state.orders.keys() == {first.id, second.id}


async def test_an_address_of_a_ledger_that_is_none_is_told_by_who_opens_a_client() -> None:
    assert source_of(None) is None
    for url, host in (("http://[", ""), ("http://10.0.0.1:26657", "10.0.0.1"), ("https://[::1]:7/x", "::1")):
        source = source_of(Network(1, "0" * 64, url))
        assert source is not None
        assert source.host == host
    source = source_of(Network(1, "0" * 64, "http://["))
    assert source is not None
    with pytest.raises(DavyError):
        async with source.ledger():
            pass
