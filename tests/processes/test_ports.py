"""Oversized and malformed input at every port that davy opens: a short refusal, and the process goes on as before."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import ssl
import struct
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, suppress
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ports import free_ports
from tests.processes.shells import ROOT, Shell, environment, shell, typed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]

PATIENCE_S = 300.0
ANSWER_BYTES = 64 * 1024
"""No refusal is longer."""
MEBIBYTE = b"a" * 1024 * 1024
FLOOD = [MEBIBYTE] * 1_500
"""What an attacker would send at 50 MiB a second: he is cut off before he is through."""
ENDLESS = {"an endless target", "an endless header", "a length without end", "chunks without end"}
GROWTH_KIB = 96 * 1024
"""What a process may grow by in all of this."""


class Port(NamedTuple):
    """An open port: how it is reached, where a good request goes, and whose it is."""

    number: int
    tls: bool
    target: str
    owner: Shell

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.number), timeout=PATIENCE_S)
        if not self.tls:
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain)

    def head(self, *fields: bytes) -> bytes:
        lines = [b"POST " + self.target.encode() + b" HTTP/1.1", b"host: localhost", b"connection: close", *fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def post(self, body: bytes) -> bytes:
        return self.head(b"content-type: application/json", b"content-length: %d" % len(body)) + body


class Heard(NamedTuple):
    """What came back until the other side closed, and how much it took until then."""

    data: bytes
    taken: int
    is_cut: bool
    """The other side closed while we were sending."""
    status: int
    """0: nothing was answered, the connection was closed."""


def say(port: Port, pieces: Iterable[bytes]) -> Heard:
    """Send until all is sent or refused, then read until the other side closes."""
    taken, got, is_cut = 0, bytearray(), False
    with port.connect() as s:
        try:
            for piece in pieces:
                s.sendall(piece)
                taken += len(piece)
                time.sleep(0.02 if len(piece) >= len(MEBIBYTE) else 0)
        except (ConnectionError, ssl.SSLError):
            is_cut = True
        with suppress(ConnectionError, ssl.SSLError):
            while len(got) <= 2 * ANSWER_BYTES and (chunk := s.recv(65_536)):
                got += chunk
    found = re.match(rb"HTTP/1\.[01] (\d{3})", got)
    return Heard(bytes(got), taken, is_cut, int(found[1]) if found else 0)


def malformed(port: Port) -> dict[str, Iterable[bytes]]:
    """What may come to a port of HTTP, by what is wrong with it."""
    chunked = port.head(b"content-type: application/json", b"transfer-encoding: chunked")
    mark = b"100000\r\n" + MEBIBYTE + b"\r\n"
    return {
        "noise": [os.urandom(4096), b"\r\n\r\n"],
        "another protocol": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"],
        "an endless target": [b"POST /", *FLOOD],
        "an endless header": [port.head()[:-2], b"x: ", *FLOOD],
        "many headers": [port.head(*(b"x-%d: y" % i for i in range(20_000)))],
        "a length without end": [port.head(b"content-length: 99999999999999"), *FLOOD],
        "a length below zero": [port.head(b"content-length: -1")],
        "two lengths": [port.head(b"content-length: 2", b"content-length: 3"), b"{}{"],
        "chunks without end": [chunked, *repeat(mark, len(FLOOD))],
        "a broken chunk": [chunked, b"zz\r\n{}\r\n0\r\n\r\n"],
        "an empty body": [port.post(b"")],
        "no JSON": [port.post(b"\xff\xfe\x00")],
        "deep JSON": [port.post(b"[" * 50_000)],
        "a deep object": [port.post(b'{"a":' * 10_000)],
        "a huge number": [
            port.post(b'{"jsonrpc":"2.0","id":1,"method":"block","params":{"height":' + b"9" * 20_000 + b"}}")
        ],
        "a wrong shape": [port.post(b'{"to":7,"amount":"x","method":[],"params":7,"prompt":{}}')],
    }


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Port]]:
    """A network, a miner, a gateway and a keyholder, started as a person does, and every port they opened."""
    home = tmp_path_factory.mktemp("person")
    env = {
        **environment(home),
        "DAVY_PASSWORD": "p",
        "DAVY_HOME": f"{home}/miner",
        "DAVY_NETWORK": f"{home}/network.json",
    }
    (home / "corpus.txt").write_text("return the value of the argument.\n" * 9)
    source = ROOT / "examples" / "miner" / "src" / "trigram" / "__init__.py"
    backend = f"--backend {source}:Trigram -o corpus={home}/corpus.txt"
    with ExitStack() as opened:
        up = opened.enter_context(shell([f"davy up --home {home}/local --port 0"], env, home / "up.log"))
        up.wait_for("the faucet gives tokens")
        lines = ["davy key new --quick", "davy faucet", "davy register", f"davy model register {backend}"]
        lines.append(f"davy miner {backend} --insecure-local 0 --json | cat")
        miner = opened.enter_context(shell(lines, env, home / "miner.log"))
        miner.wait_for('"local":')
        lines = ["davy key new --quick", "davy faucet", "davy register", "davy gateway --port 0 --json | cat"]
        gateway = opened.enter_context(shell(lines, {**env, "DAVY_HOME": f"{home}/gateway"}, home / "gateway.log"))
        places = dict(zip("ab", free_ports(2), strict=True))
        lines = [
            f"davy keyholder init --quick --name {name} --address 127.0.0.1:{port} --home {home}/{name}"
            for name, port in places.items()
        ]
        lines = [f"{line} --json | grep -o '{line.split()[5]} 127[^\"]*' >> {home}/lines" for line in lines]
        lines += [f"davy keyholder circle {home}/lines", "davy keyholder serve --port 0 --json | cat"]
        keyholder = opened.enter_context(shell(lines, {**env, "DAVY_HOME": f"{home}/a"}, home / "keyholder.log"))
        gateway.wait_for('"url":')
        keyholder.wait_for('"listens":')
        network = json.loads((home / "network.json").read_text())
        served = json.loads(miner.printed.splitlines()[-1])
        users = json.loads(gateway.printed.splitlines()[-1])["url"]
        listens = json.loads(keyholder.printed.splitlines()[-1])["listens"]

        def number(address: str) -> int:
            return int(re.findall(r":(\d+)", address)[-1])

        yield {
            "ledger": Port(number(network["ledger"]), False, "/", up),
            "faucet": Port(number(network["faucet"]), False, "/faucet", up),
            "miner": Port(number(served["endpoint"]), True, "/v1/completions", miner),
            "insecure local": Port(number(served["local"]), False, "/v1/completions", miner),
            "gateway": Port(number(users), False, "/v1/completions", gateway),
            "keyholder": Port(number(listens), True, "/keyholder", keyholder),
        }


def good(name: str, port: Port) -> bool:
    """A good request is answered as ever."""
    if name == "ledger":
        return say(port, [port.post(b'{"jsonrpc":"2.0","id":1,"method":"health"}')]).status == 200
    if name == "faucet":
        return b"not a wish" in say(port, [port.post(b"{}")]).data
    if name == "keyholder":
        return b"bad_signature" in say(port, [port.post(b"{}")]).data
    health = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    return say(port, [health]).status == 200


def resident_kib(pid: int) -> int:
    """Memory of a process and of all that it started."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = re.search(r"VmRSS:\s+(\d+)", status)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(own[1] if own else 0) + sum(resident_kib(int(child)) for child in children)


@pytest.mark.parametrize("name", ["ledger", "faucet", "miner", "insecure local", "gateway", "keyholder"])
def test_malformed_input_is_refused_and_the_process_goes_on(name: str, ports: dict[str, Port]) -> None:
    port = ports[name]
    assert good(name, port)
    before = resident_kib(port.owner.pid)
    attacks = malformed(port)
    assert attacks.keys() > ENDLESS
    for kind, pieces in attacks.items():
        heard = say(port, pieces)
        print(f"{name}: {kind}: {heard.status}, {len(heard.data)} bytes, took {heard.taken}")
        port.owner.check()
        assert len(heard.data) <= ANSWER_BYTES, kind
        assert heard.is_cut or kind not in ENDLESS, kind
        # JSON-RPC tells of a mistake in an answer of its own; everything else by its status.
        assert (
            400 <= heard.status < 500 or heard.status in (0, 501) or (name == "ledger" and b'"error"' in heard.data)
        ), kind
    assert good(name, port)
    assert resident_kib(port.owner.pid) - before < GROWTH_KIB


def test_plain_words_to_a_tls_port_and_tls_words_to_a_plain_one(ports: dict[str, Port]) -> None:
    for name, port in ports.items():
        plain = port._replace(tls=False)
        noise = [plain.post(b"{}")] if port.tls else [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(508)]
        heard = say(plain, noise)
        assert len(heard.data) <= ANSWER_BYTES
        assert heard.status in (0, 400)
        assert good(name, port)


def test_many_silent_connections_do_not_close_a_port(ports: dict[str, Port]) -> None:
    for name, port in ports.items():
        with ExitStack() as held:
            for _ in range(150):
                held.enter_context(port._replace(tls=False).connect()).sendall(b"POST")
            assert good(name, port), name


def frame(opcode: int, payload: bytes, *, length: int | None = None, masked: bool = True) -> bytes:
    """One frame of RFC 6455, told to be `length` bytes long."""
    said = len(payload) if length is None else length
    key = b"\x00\x00\x00\x00" if masked else b""
    return struct.pack(">BBQ", 0x80 | opcode, (0x80 if masked else 0) | 127, said) + key + payload


WEBSOCKET = {
    "a frame without end": [frame(1, b"", length=2**62), *FLOOD],
    "a large text": [frame(1, b" " * (8 << 20))],
    "an unmasked frame": [frame(1, b"{}", masked=False)],
    "an unknown opcode": [frame(7, b"")],
    "a control frame too long": [frame(9, b"a" * 4096)],
    "no JSON": [frame(1, b"\xff\xff")],
    "deep JSON": [frame(1, b"[" * 50_000)],
    "many subscriptions": [
        frame(1, b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"query":"x%d"}}' % i) for i in range(500)
    ],
}


@pytest.mark.parametrize("kind", WEBSOCKET)
def test_malformed_frames_end_one_websocket_and_nothing_else(kind: str, ports: dict[str, Port]) -> None:
    port = ports["ledger"]
    key = base64.b64encode(bytes(16))
    fields = [b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-version: 13", b"sec-websocket-key: " + key]
    hello = b"\r\n".join([b"GET /websocket HTTP/1.1", b"host: localhost", *fields]) + b"\r\n\r\n"
    heard = say(port, [hello, *WEBSOCKET[kind], frame(8, b"\x03\xe8")])
    assert heard.status == 101
    assert len(heard.data) <= 2 * ANSWER_BYTES
    assert heard.is_cut or kind != "a frame without end"
    port.owner.check()
    assert good("ledger", port)


def test_after_all_of_it_the_market_goes_on(ports: dict[str, Port]) -> None:
    home = Path(re.findall(r"network file (\S+)/network.json", ports["ledger"].owner.printed)[0])
    env = {**environment(home), "DAVY_PASSWORD": "p", "DAVY_HOME": f"{home}/another"}
    words = ["davy key new --quick", "davy faucet --json | tail -1", "davy status --json"]
    answers = typed(words, {**env, "DAVY_NETWORK": f"{home}/network.json"}).splitlines()
    assert json.loads(answers[-1])["neurons"][0]["serves"]
