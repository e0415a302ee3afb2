"""CPU of a signed request: `python -m bench.network`. 1 KB each way, 16 at a time, kept connections, both sides in one.

Four kinds take turns within one run, so that a busy machine slows all of them alike; read the ratios where it is busy.
CPU is the process's own (client + server), in milliseconds a request; the median of the rounds.

==============  ================================================================================================
plain           aiohttp to davy's server, plain HTTP, nothing signed
tls             davy's transport and server, TLS 1.3 with a pinned certificate, nothing signed
signed          the same; the request is signed and verified (nonce, durable mark), the receipt signed and checked
signatures      the four Ed25519 operations of a signed exchange alone: what no code around them can save
==============  ================================================================================================
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import anyio
from nacl import bindings

from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.store import SqliteStore
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.network.receipts import Served, check_receipt, make_receipt, receipt_header, receipt_of, response_digest
from davy.network.signed import RequestVerifier, read_request
from davy.network.signed_client import Question, SignedClient
from davy.protocol.manifest import Identity
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor, Outcome
from davy.protocol.signing import Domain, prefix
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole

GOAL_MS = 0.30
AT_ONCE = 16
HOST = "127.0.0.1"
CHAIN = bytes(32)
BODY = b"x" * 1024
DEADLINE_MS = 60_000


class Keys:
    """One hotkey, unlocked."""

    def __init__(self) -> None:
        self._public, self._secret = bindings.crypto_sign_keypair()

    def public(self, role: KeyRole) -> bytes:
        return self._public

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> bytes:
        return bindings.crypto_sign(prefix(domain) + body, self._secret)[:64]

    def sign_raw(self, role: KeyRole, message: bytes) -> bytes:
        return bindings.crypto_sign(message, self._secret)[:64]


class Unsigned:
    async def handle(self, request: SignedRequest) -> Response:
        return Response(200, (), BODY)


class Signed:
    """Verifies whoever asks and signs a receipt."""

    def __init__(self, keys: Keys, verifier: RequestVerifier, clock: SystemClock) -> None:
        self._keys = keys
        self._verifier = verifier
        self._clock = clock

    async def handle(self, request: SignedRequest) -> Response:
        caller = await self._verifier.verify(request)
        served = Served(
            response_digest(BODY), bytes(32), Identity.FILES, EMPTY_BRAKE_HEAD, 1, 1, Outcome.DONE, self._clock.now()
        )
        receipt = make_receipt(self._keys, CHAIN, caller, request.body, served)
        return Response(200, (receipt_header(receipt),), BODY)


Ask = Callable[[], Awaitable[None]]


async def cpu_ms(ask: Ask, count: int) -> float:
    """CPU a request, AT_ONCE of them at a time."""
    left = count

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask()

    began = time.process_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(work)
    return (time.process_time() - began) / count * 1000


def signatures_ms(base: bytes, receipt: bytes, count: int) -> float:
    public, secret = bindings.crypto_sign_keypair()
    began = time.process_time()
    for _ in range(count):
        for message in (base, receipt):
            bindings.crypto_sign_open(bindings.crypto_sign(message, secret), public)
    return (time.process_time() - began) / count * 1000


async def measure(rounds: int, count: int, folder: Path) -> dict[str, list[float]]:
    clock, caller, miner = SystemClock(), Keys(), Keys()
    certificate = make_certificate(OsEntropy().bytes(32))
    files = CertificateFiles(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(certificate.certificate)
    files.key.write_bytes(certificate.key)
    taken: dict[str, list[float]] = {"plain": [], "tls": [], "signed": [], "signatures": []}
    with SqliteStore(folder / "store.db") as store:
        verifier = RequestVerifier(miner.public(KeyRole.HOTKEY), CHAIN, clock, store)
        await verifier.open()
        async with (
            serve(Unsigned(), HOST, 0, None) as plain_port,
            serve(Unsigned(), HOST, 0, files) as tls_port,
            serve(Signed(miner, verifier, clock), HOST, 0, files) as signed_port,
            HttpTransport(clock) as transport,
            aiohttp.ClientSession() as session,
        ):
            client = SignedClient(caller, CHAIN, transport, clock, OsEntropy())
            bare = SignedRequest("POST", "/v1/completions", (), BODY)
            question = Question(
                Endpoint(HOST, signed_port, certificate.fingerprint, b""),
                miner.public(KeyRole.HOTKEY), "/v1/completions", BODY, Anchor(1, bytes(32)), EMPTY_BRAKE_HEAD,
            )  # fmt: skip

            async def ask_plain() -> None:
                async with session.post(f"http://{HOST}:{plain_port}/v1/completions", data=BODY) as answer:
                    assert len(await answer.read()) == len(BODY)

            async def ask_tls() -> None:
                to = Endpoint(HOST, tls_port, certificate.fingerprint, b"")
                got = await transport.call(to, bare, deadline=clock.now() + DEADLINE_MS)
                assert len(got.body) == len(BODY)

            async def ask_signed() -> None:
                got = await client.call(question, deadline=clock.now() + DEADLINE_MS)
                check_receipt(
                    receipt_of(got.response) or b"",
                    sent=got.sent,
                    miner=question.recipient,
                    response_body=response_digest(got.response.body),
                )

            one = await client.call(question, deadline=clock.now() + DEADLINE_MS)
            base, receipt = read_request(one.sent).base, receipt_of(one.response) or b""
            for _ in range(rounds + 1):  # the first warms up and is left out below
                taken["plain"].append(await cpu_ms(ask_plain, count))
                taken["tls"].append(await cpu_ms(ask_tls, count))
                taken["signed"].append(await cpu_ms(ask_signed, count))
                taken["signatures"].append(signatures_ms(base, receipt, count))
    return {name: values[1:] for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU of a signed request and its receipt over TLS.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=500, help="a round and kind")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = anyio.run(measure, asked.rounds, asked.requests, Path(folder), backend_options={"use_uvloop": True})
    figures = {name: statistics.median(values) for name, values in taken.items()}
    for name, ms in figures.items():
        times_plain = statistics.median(a / b for a, b in zip(taken[name], taken["plain"], strict=True))
        print(f"{name:12} {ms:8.3f} ms CPU a request, least {min(taken[name]):6.3f}   {times_plain:5.2f} x plain")
    print(f"goal         {GOAL_MS:8.3f} ms signed: {'reached' if figures['signed'] <= GOAL_MS else 'missed'}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
