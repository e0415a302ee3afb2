"""docs/engine.md as it is typed: an engine, four producers in shells of their own, and a registration among them."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ledger.driver.cometbft.engines import engine
from tests.ports import free_ports
from tests.processes.shells import ROOT, Shell, environment, shell, typed, wait_until, with_options

pytestmark = [pytest.mark.slow, pytest.mark.engine]


def blocks() -> list[list[str]]:
    text = (ROOT / "docs" / "engine.md").read_text()
    return [block.strip().splitlines() for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


@pytest.fixture
def person(tmp_path: Path) -> dict[str, str]:
    """Where the engine is built already: to build it takes two minutes."""
    program = engine()
    if program is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    place = tmp_path / ".davy/engine" / program.name
    place.parent.mkdir(parents=True)
    place.symlink_to(program)
    return environment(tmp_path)


def test_the_page_as_it_is_typed(person: dict[str, str], tmp_path: Path) -> None:
    install, make, start, use, join, seat = blocks()
    assert "0.38" in typed(install, person)
    ports = free_ports(8)
    places = " ".join(f"--at 127.0.0.1:{port}" for port in ports[:4])
    make = with_options(make, make[-1], f"{places} --block-time 100")
    told = re.findall(r"[0-9a-f]{40}@[0-9.:]+", typed(make, person))
    assert len(told) == 4
    with ExitStack() as stack:
        shells: list[Shell] = []
        for n, (line, port) in enumerate(zip(start, ports[4:], strict=True), 1):
            own = re.sub(r" --port \d+", "", line) + f" --port {port}"
            shells.append(stack.enter_context(shell([own], person, tmp_path / f"{n}.log")))
        wait_until(lambda: (tmp_path / ".davy/network.json").exists(), *shells)
        person |= {"DAVY_HOME": str(tmp_path / ".davy/me"), "DAVY_PASSWORD": "choose-one"}
        assert "subnet 1" in typed(use, person)
        shown = typed([f"{use[1]} --network ~/.davy/net/3.json"], person)
        assert re.search(r"height [1-9]", shown), shown
        assert len(shown.splitlines()) == 3, shown  # the subnet, the columns, and who has registered
        at, port = (str(p) for p in free_ports(10)[8:])
        joining, running = join[0].replace("26696", at).replace("PEER", told[0], 1).replace("PEER", told[1]), join[1]
        typed([f"{joining} --block-time 100"], person)
        line = running.replace("26697", port)
        fifth = stack.enter_context(shell([line], person, tmp_path / "5.log"))
        wait_until(lambda: (tmp_path / ".davy/net/5.json").exists(), fifth)
        assert typed(seat, person).count("has one") == 5
