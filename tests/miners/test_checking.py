"""`davy miner check` sees what a validator would see; a miner that lies about its argmax, or its mass, is found out."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from davy.miners.backend import Piece, Tally
from davy.miners.checking import Asked, Finding, check_miner, kept_up
from davy.miners.running import MinerOptions
from davy.network.certificate import CertificateFiles, make_certificate
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.miners import tiny
from tests.miners.stage import CHAIN, MINER, Letters, neuron
from tests.miners.test_node import Ledger
from tests.twins import SeededEntropy, WallClock

pytestmark = pytest.mark.anyio

LEISURE = Asked(1, 600.0)
"""A pace that a miner keeps up with on any machine."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def certificate(tmp_path: Path) -> CertificateFiles:
    made = make_certificate(bytes(32))
    files = CertificateFiles(tmp_path / "certificate.pem", tmp_path / "key.pem")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    return files


async def check(
    certificate: CertificateFiles, backend: str, ledger: Any = None, pace: Asked = LEISURE, **options: str
) -> dict[str, Finding]:
    found = await check_miner(
        MinerOptions(backend, options), keys=MINER, chain=CHAIN, clock=WallClock(), entropy=SeededEntropy(),
        certificate=certificate, pace=pace, ledger=ledger,
    )  # fmt: skip
    assert len({f.name for f in found}) == len(found)
    return {f.name: f for f in found}


async def test_a_good_miner_passes(certificate: CertificateFiles, tmp_path: Path) -> None:
    found = await check(certificate, "huggingface", folder=str(tiny.write(tmp_path / "m")))
    assert [f for f in found.values() if not f.ok] == []
    assert found.keys() == {
        "model", "answer", "receipt", "log-probabilities", "token ids", "repeatable", "stream", "speed"
    }  # fmt: skip
    assert "identity files" in found["model"].said


class SecondBest(Letters):
    """Says the second likeliest token, and reports the distribution unchanged."""

    async def _pieces(self, prompt: Any, request: Any, stopped: Any) -> AsyncGenerator[Piece | Tally, None]:
        async for item in super()._pieces(prompt, request, stopped):
            if isinstance(item, Piece) and len(item.top) > 1:
                token, logprob = item.top[1]
                yield item._replace(token=token, text=item.texts[1], logprob=logprob)
            else:
                yield item


class Boastful(Letters):
    """Probabilities that sum to more than 1."""

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        return {97: 0.9, 98: 0.8}


class Moody(Letters):
    """Never says the same twice."""

    asked = 0

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        self.asked += 1
        return {97 + self.asked % 7: 0.9}


class Mute(Letters):
    """Fails whatever it is asked."""

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        raise OSError("gone")


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        ("Letters", set[str]()),
        ("SecondBest", {"log-probabilities"}),
        ("Boastful", {"log-probabilities"}),
        ("Moody", {"repeatable"}),
        ("Mute", {"answer"}),
    ],
)
async def test_what_a_validator_would_not_accept_is_found(
    certificate: CertificateFiles, kind: str, failing: set[str]
) -> None:
    found = await check(certificate, f"tests.miners.test_checking:{kind}")
    assert {f.name for f in found.values() if not f.ok} == failing


async def test_the_ledger_s_record_is_compared(certificate: CertificateFiles) -> None:
    backend = "tests.miners.stage:Letters"
    found = await check(certificate, backend, Ledger())
    assert not found["registered"].ok
    own = MINER.public(KeyRole.HOTKEY)
    found = await check(certificate, backend, Ledger(neuron(3, own)))
    assert found["registered"].ok
    assert found["endpoint"].ok, "a miner that was never started has nothing wrong with it"
    with anyio.fail_after(30):
        nobody = Endpoint("127.0.0.1", 9, bytes(32), b"")
        found = await check(certificate, backend, Ledger(neuron(3, own, endpoint=(nobody,))))
    assert not found["endpoint"].ok
    assert not found["model on the ledger"].ok


@pytest.mark.parametrize(
    ("seconds", "pace", "ok", "said"),
    [
        (4.0, Asked(16, 30.0), True, "60 answers of 16 tokens in 30 s, enough for 3 validators that each ask for 16"),
        (4.0, Asked(64, 15.0), False, "30 answers of 16 tokens in 15 s, and a validator asks for 64: what is late"),
        (15.0, Asked(16, 30.0), True, "16 answers of 16 tokens in 30 s, enough for one validator that asks for 16"),
        (15.1, Asked(16, 30.0), False, "15 answers of 16 tokens in 30 s, and a validator asks for 16"),
    ],
)
def test_it_is_said_which_pace_a_miner_keeps_up_with(seconds: float, pace: Asked, ok: bool, said: str) -> None:
    found = kept_up(8, 128, seconds, pace)
    assert found.ok is ok
    assert f"{128 / seconds:.0f} tokens/s over 8 requests at once: " in found.said
    assert said in found.said


async def test_a_miner_too_slow_for_a_validator_s_pace_is_told_so(certificate: CertificateFiles) -> None:
    found = await check(certificate, "tests.miners.stage:Letters", pace=Asked(512, 0.001))
    assert [f.name for f in found.values() if not f.ok] == ["speed"]
    assert "a validator asks for 512" in found["speed"].said
