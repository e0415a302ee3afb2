"""docs/ask.md as it stands there: a market of the README's shells, a gateway in the validator and one alone."""

from __future__ import annotations

import base64
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from davy.network.receipts import response_digest
from davy.protocol.receipt import open_receipt
from davy.protocol.signing import Domain, digest
from tests.processes.shells import ROOT, environment, shell, typed, typed_in_readme, wait_until, with_options

pytestmark = pytest.mark.slow


class Market(NamedTuple):
    """Where users ask: in the validator, and at a gateway alone."""

    home: Path
    urls: Mapping[str, str]


def blocks(language: str) -> list[str]:
    """The page's code blocks of one language; '' is what is typed into a shell."""
    text = (ROOT / "docs" / "ask.md").read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block.strip() for name, block in found if name == language]


def call(url: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    data = None if body is None else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, sent), timeout=300) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, {k.lower(): v for k, v in e.headers.items()}, e.read()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Generator[Market]:
    home = tmp_path_factory.mktemp("person")
    env, readme = environment(home), typed_in_readme()
    in_validator, alone = blocks("")
    assert (in_validator, alone) == ("davy validator --gateway 8000", "davy gateway")
    urls: dict[str, str] = {}
    with ExitStack() as opened:
        up = opened.enter_context(shell(with_options(readme["Shell 1"], "davy up", "--port 0"), env, home / "up.log"))
        up.wait_for("the faucet gives tokens")
        miner = opened.enter_context(shell(readme["Shell 2"], env, home / "miner.log"))
        both = [in_validator.replace("8000", "0") if line == "davy validator" else line for line in readme["Shell 3"]]
        validator = opened.enter_context(shell(both, env, home / "validator.log"))
        lines = [
            "export DAVY_HOME=~/.davy/gateway DAVY_PASSWORD=choose-one",
            *("davy key new --quick", "davy faucet", "davy register", "davy stake add 5", f"{alone} --port 0"),
        ]
        gateway = opened.enter_context(shell(lines, env, home / "gateway.log"))
        miner.wait_for("serving stdlib-a")
        for name, started in (("validator", validator), ("gateway", gateway)):
            started.wait_for("answering users at")
            url = re.search(r"answering users at (\S+)", started.printed)
            assert url is not None
            urls[name] = url[1]
            wait_until(lambda url=url[1]: _serves(url), validator, gateway, miner)
        yield Market(home, urls)


def _serves(url: str) -> bool:
    """A miner is known, and it knows this gateway's stake."""
    return call(f"{url}/completions", {"model": "any", "prompt": "x", "max_tokens": 1})[0] == 200


@pytest.mark.timeout(2_400)
def test_the_pages_program_gets_an_answer(market: Market) -> None:
    program = blocks("python")[0]
    for url in market.urls.values():
        changed = program.replace("http://127.0.0.1:8000/v1", url)
        assert changed != program
        printed = typed([f"{sys.executable} - <<'END'\n{changed}\nEND"], environment(market.home))
        assert printed.strip()


@pytest.mark.timeout(2_400)
def test_a_receipt_is_checked_as_the_page_says(market: Market) -> None:
    prompt = 'Return the "number" of bytes é\n'
    asked = {"model": "stdlib-a", "prompt": prompt, "max_tokens": 4, "temperature": 0}
    status, headers, body = call(f"{market.urls['gateway']}/completions", asked, davy_proof="1")
    assert status == 200, body
    scope: dict[str, Any] = {"base64": base64, "json": json, "headers": headers, "prompt": prompt}
    exec(blocks("python")[1], scope)
    receipt = open_receipt(base64.b64decode(headers["davy-receipt"]))
    assert receipt.request_body == digest(Domain.REQUEST_BODY, scope["sent"])
    assert receipt.response_body == response_digest(body)
    assert receipt.miner.hex() == headers["davy-miner"]


@pytest.mark.timeout(2_400)
def test_mistakes_of_users_get_one_sentence(market: Market) -> None:
    url = market.urls["gateway"]
    for body, status in (({"model": "none", "prompt": "x"}, 404), ({"model": "any"}, 400), ({"model": 1}, 400)):
        got, _, told = call(f"{url}/completions", body)
        assert got == status
        assert "\n" not in json.loads(told)["error"]["message"]
    assert call(f"{url}/nothing")[0] == 404
    _, _, listed = call(f"{url}/models")
    assert [m["root"] for m in json.loads(listed)["data"]] == ["stdlib-a"]
    assert json.loads(call(url.removesuffix("/v1") + "/health")[2])["status"] == "ok"
