"""Dockerfile and compose.yaml without a container engine: read as text, and the build's steps run in a plain shell."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

INSTRUCTIONS = set("ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN SHELL USER VOLUME WORKDIR".split())
SERVICE_KEYS = set(
    "build cap_drop command depends_on environment healthcheck image ports "
    "read_only restart security_opt tmpfs volumes".split()
)


class Step(NamedTuple):
    word: str
    rest: str


def read_dockerfile(text: str) -> list[Step]:
    """Join continued lines, leave out comments, and refuse a word that is no instruction."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    steps: list[Step] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        if word not in INSTRUCTIONS:
            raise ValueError(f"not an instruction: {line}")
        steps.append(Step(word, rest.strip()))
    if not steps or steps[0].word not in ("FROM", "ARG"):
        raise ValueError("a Dockerfile begins with FROM")
    return steps


@pytest.fixture(scope="session")
def stages(root: Path) -> list[list[Step]]:
    found: list[list[Step]] = []
    for step in read_dockerfile((root / "Dockerfile").read_text(encoding="utf-8")):
        if step.word == "FROM":
            found.append([])
        found[-1].append(step)
    return found


def last(stage: list[Step], word: str) -> str:
    return [step.rest for step in stage if step.word == word][-1]


@pytest.mark.parametrize("text", ["FROM a\nINSTALL b", "RUN true", "", "FROM a\nuser root"])
def test_a_bad_dockerfile_is_seen(text: str) -> None:
    with pytest.raises(ValueError, match=r"instruction|begins"):
        read_dockerfile(text)


def test_the_image_runs_without_rights_and_says_how_it_is(stages: list[list[Step]]) -> None:
    assert len(stages) == 2
    image = stages[-1]
    uid, _, gid = last(image, "USER").partition(":")
    assert f"UID={uid}" == last(image, "ARG")
    assert int(uid) == int(gid) >= 1000
    words = [step.word for step in image]
    assert "RUN" not in words[words.index("USER") :]
    check = last(image, "HEALTHCHECK")
    assert isinstance(json.loads(check[check.index("[") :]), list)
    assert json.loads(last(image, "ENTRYPOINT")) == ["davy"]
    assert isinstance(json.loads(last(image, "CMD")), list)
    environment = variables(image)
    assert json.loads(last(image, "VOLUME")) == [environment["DAVY_HOME"]] == [last(image, "WORKDIR")]
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1", "the root is read-only"


def test_everything_is_installed_by_hash(stages: list[list[Step]]) -> None:
    runs = [step.rest for stage in stages for step in stage if step.word == "RUN"]
    installs = [part for run in runs for part in run.split("&&") if " pip install " in part]
    assert len(installs) == 4
    for part in installs:
        assert "--require-hashes" in part or "--no-deps dist/*.whl" in part


def variables(stage: list[Step]) -> dict[str, str]:
    pairs = [pair for step in stage if step.word in ("ARG", "ENV") for pair in step.rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


class Shell:
    """Runs a Dockerfile's steps below a directory instead of /: what ARG, ENV, WORKDIR and COPY name is moved there."""

    def __init__(self, sandbox: Path, context: list[Path], root: Path) -> None:
        self.sandbox, self.context, self.root = sandbox, context, root
        # the caches of whoever runs the tests are used, and the interpreter of the tests stands for the image's
        self.environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self.path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        self.environment["PATH"] = self.path
        self.directory = sandbox

    def within(self, path: str) -> Path:
        return self.sandbox / path.lstrip("/") if path.startswith("/") else self.directory / path

    def run(self, step: Step) -> None:
        match step.word:
            case "ARG" | "ENV":
                for name, value in variables([step]).items():
                    self.set(name, value)
            case "WORKDIR":
                self.directory = self.within(step.rest)
                self.directory.mkdir(parents=True, exist_ok=True)
            case "COPY":
                self.copy(step.rest)
            case "RUN":
                assert not re.search(r"(?<![\w$}\"*.])/(?!bin/)\w", step.rest), "a path that no variable names"
                self.shell(["sh", "-euc", step.rest])
            case _:
                pass

    def set(self, name: str, value: str) -> None:
        if name in ("UV_NO_CACHE", "PIP_NO_CACHE_DIR", "UV_COMPILE_BYTECODE"):
            return
        if name == "UID":  # only root may give a directory away
            value = str(os.getuid())
        elif name == "PATH":
            value = f"{self.within(value.split(':')[0])}:{self.path}"
        elif value.startswith("/"):
            value = str(self.within(value))
        self.environment[name] = value

    def copy(self, rest: str) -> None:
        words = rest.split()
        if words[0].startswith("--from="):
            assert words[1] == words[2]
            assert self.within(words[1]).is_dir()
            return
        target = self.within(words[-1])
        for pattern in words[:-1]:
            for source in self.context:
                name = source.relative_to(self.root)
                if Path(name.parts[0]).match(pattern):
                    # a folder's content is copied, not the folder; a file goes into the folder
                    aim = target / (Path(*name.parts[1:]) if len(name.parts) > 1 else name)
                    aim.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, aim)

    def shell(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.directory, env={**self.environment, **more}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="module")
def built(stages: list[list[Step]], root: Path, context: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("image"), context, root)
    for stage in stages:
        for step in stage:
            shell.run(step)
    return shell


def test_the_steps_build_a_davy_that_runs(built: Shell) -> None:
    before = set(built.sandbox.rglob("*"))
    assert built.shell(["davy", "--version"]).stdout.startswith("davy")
    assert Path(built.shell(["sh", "-c", "command -v davy"]).stdout).is_relative_to(built.sandbox)
    assert set(built.sandbox.rglob("*")) == before, "the root is read-only: nothing may be written there"
    home = built.within("/home/davy")
    assert home.stat().st_mode & 0o777 == 0o700
    absent = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('torch', 'pip', 'uv', 'hatchling'))))"
    built.shell(["python", "-c", absent])


@pytest.fixture
def health() -> Iterator[HTTPServer]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_health_check_tells_well_from_ill(built: Shell, stages: list[list[Step]], health: HTTPServer) -> None:
    check = last(stages[-1], "HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    url = f"http://127.0.0.1:{health.server_port}"
    built.shell(command, DAVY_HEALTH=f"{url}/health")
    for ill in (f"{url}/ill", "http://127.0.0.1:1/health"):
        with pytest.raises(AssertionError, match=r"urlopen|HTTPError"):
            built.shell(command, DAVY_HEALTH=ill)


def faults(compose: dict[str, Any]) -> Iterator[str]:
    """What a container engine would refuse, and what would give a node more than it needs."""
    services: dict[str, Any] = compose.get("services") or {}
    if unknown := {k for k in compose if not k.startswith("x-")} - {"services", "volumes"}:
        yield f"unknown: {sorted(unknown)}"
    used: list[str] = []
    for name, service in services.items():
        if unknown := set(service) - SERVICE_KEYS:
            yield f"{name}: unknown {sorted(unknown)}"
        if not isinstance(service.get("command"), list) or service["command"][:1] not in (
            ["ledger"],
            ["miner"],
            ["validator"],
        ):
            yield f"{name}: its command is none of davy's"
        if not (service.get("read_only") is True and service.get("cap_drop") == ["ALL"]):
            yield f"{name}: may write to its root or has capabilities"
        yield from (f"{name}: waits for {other}" for other in service.get("depends_on", {}) if other not in services)
        yield from (
            f"{name}: {port} is open to all" for port in service.get("ports", []) if not port.startswith("127.0.0.1:")
        )
        homes = [volume.split(":")[0] for volume in service.get("volumes", []) if volume.endswith(":/home/davy")]
        if len(homes) != 1:
            yield f"{name}: has {len(homes)} homes"
        used += homes
    if sorted(used) != sorted(compose.get("volumes") or {}):
        yield "volumes: each node has one home, declared once"


@pytest.fixture
def compose(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "compose.yaml").read_text(encoding="utf-8"))


def test_the_compose_file_is_sound(compose: dict[str, Any]) -> None:
    assert list(faults(compose)) == []
    commands = [" ".join(service["command"]) for service in compose["services"].values()]
    assert {c: commands.count(c) for c in commands} == {"ledger serve": 1, "validator": 2, "miner": 3}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ports": ["26657:26657"]}, "open to all"),
        ({"depends_on": {"nobody": {}}}, "waits for nobody"),
        ({"volumes": ["ledger:/home/davy"]}, "one home"),
        ({"read_only": False}, "may write"),
        ({"command": ["sh"]}, "none of davy's"),
        ({"privileged": True}, "unknown"),
    ],
)
def test_a_bad_compose_file_is_seen(compose: dict[str, Any], change: dict[str, Any], fault: str) -> None:
    compose["services"]["miner-1"].update(change)
    assert fault in " ".join(faults(compose))


def test_the_build_s_context_holds_what_the_build_copies(root: Path, stages: list[list[Step]]) -> None:
    admitted = {
        line[1:] for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    copies = [step.rest.split() for stage in stages for step in stage if step.word == "COPY"]
    wanted = {word for words in copies if not words[0].startswith("--from=") for word in words[:-1]}
    assert wanted == admitted
