"""What a validator would see of a miner, before one looks: ``davy miner check``.

The whole path is taken on this machine: TLS, a signed request, the model, the answer, its receipt. With a ledger at
hand, its record of the miner is compared with what is served, and the address it names is tried.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import anyio
import anyio.lowlevel
import anyio.to_thread

from davy.killswitch.brake import BrakeState
from davy.killswitch.guard import Guard
from davy.killswitch.scope import Subject
from davy.miners.admission import Admission, Rules
from davy.miners.backend import identity_of
from davy.miners.chain_view import ChainView
from davy.miners.loading import load_backend, told_manifest
from davy.miners.running import LOCAL, MinerOptions
from davy.miners.server import MinerHandler
from davy.network.certificate import CertificateFiles, read_fingerprint
from davy.network.error_responses import response_error
from davy.network.http_client import HttpTransport
from davy.network.http_server import serve
from davy.network.openai import CompletionResponse, Logprobs, parse_response
from davy.network.receipts import StreamDigest, check_receipt, receipt_in, receipt_of, response_digest
from davy.network.signed import RequestVerifier, sign_request
from davy.protocol.chain import Head
from davy.protocol.errors import BadAnswer, BadSignature, DavyError
from davy.protocol.limits import NONCE_BYTES
from davy.protocol.manifest import Access, model_id
from davy.protocol.ports import Clock, Entropy, KeyStore, LedgerClient, SignedRequest
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor, Outcome, Receipt
from davy.protocol.recorded import AccessRecord
from davy.protocol.transaction import Endpoint
from davy.protocol.words import ChainId, KeyRole, ModelId, Netuid

PROMPT: Final = "def read(path, encoding=None):\n    "
TOKENS: Final = 16
TOGETHER: Final = 8
PATIENCE_MS: Final = 60_000
SLACK: Final = 1e-9
"""By which listed probabilities may sum to more than 1, for rounding."""


class Asked(NamedTuple):
    """A validator's pace: so many challenges of each miner, on average, in a round of so many seconds."""

    challenges: int
    round_s: float


class Finding(NamedTuple):
    """One thing looked at."""

    name: str
    ok: bool
    said: str


async def check_miner(
    options: MinerOptions,
    *,
    keys: KeyStore,
    chain: ChainId,
    clock: Clock,
    entropy: Entropy,
    certificate: CertificateFiles,
    pace: Asked,
    ledger: LedgerClient | None = None,
    permitted: Callable[[ModelId], Awaitable[None]] | None = None,
) -> list[Finding]:
    """Start the miner on a port of this machine, ask it as a validator does, and say what was found.

    Parameters
    ----------
    pace
        What the miner must keep up with.
    ledger
        Left out: only what needs no ledger is looked at.
    permitted
        Raises, with the reason, where the ledger does not let this model be served.

    Raises
    ------
    Misconfigured
        The backend cannot be loaded, or no port can be listened on.
    """
    backend = await anyio.to_thread.run_sync(load_backend, options.backend, options.backend_options)
    own = keys.public(KeyRole.HOTKEY)
    view = ChainView(0, PATIENCE_MS * 10)
    start = Head(1, clock.now(), bytes(32), bytes(32))
    view.see(start, clock.now())
    verifier = RequestVerifier(own, chain, clock, _Nowhere())
    await verifier.open()
    admission = Admission(Rules(open=True, burst=1_000, rate=1_000.0), clock)
    handler = MinerHandler(
        keys=keys, chain=chain, verifier=verifier, clock=clock, entropy=entropy, view=view, admission=admission,
        guard=Guard(BrakeState(chain, None), keys=keys, clock=clock, store=_Nowhere()), backend=backend,
    )  # fmt: skip
    handler.serving.subjects = (Subject(hotkey=own),)
    handler.serving.access = AccessRecord(Access.ANY, (), (), 0)  # it is only this command that asks
    manifest = told_manifest(options.backend, backend)
    identity = identity_of(manifest)
    findings = [Finding("model", True, f"{manifest.name}, id {model_id(manifest).hex()}, identity {identity.value}")]
    try:
        async with serve(handler, LOCAL, 0, certificate) as port, HttpTransport(clock) as transport:
            endpoint = Endpoint(LOCAL, port, read_fingerprint(certificate.certificate), b"")
            asker = _Asker(keys, chain, clock, entropy, transport, endpoint, model_id(manifest))
            findings += await _ask(asker, pace)
            if permitted is not None:
                findings.append(await _register(permitted, model_id(manifest)))
            if ledger is not None:
                for netuid in options.netuids:
                    findings += await _record(netuid, ledger, keys, clock, transport, model_id(manifest))
    finally:
        await backend.aclose()
    return findings


async def _register(permitted: Callable[[ModelId], Awaitable[None]], model: ModelId) -> Finding:
    try:
        await permitted(model)
    except DavyError as e:
        return Finding("model register", False, str(e))
    return Finding("model register", True, "the ledger lets this model be served")


class _Nowhere:
    """A store for a verifier that lives as long as this check."""

    async def put(self, key: bytes, value: bytes) -> None:
        await anyio.lowlevel.checkpoint()

    async def get(self, key: bytes) -> bytes | None:
        await anyio.lowlevel.checkpoint()


class _Asker(NamedTuple):
    keys: KeyStore
    chain: ChainId
    clock: Clock
    entropy: Entropy
    transport: HttpTransport
    endpoint: Endpoint
    model: bytes

    def request(self, prompt: str, *, stream: bool = False, ids: bool = True) -> SignedRequest:
        body = {
            "model": self.model.hex(), "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "logprobs": 20,
            "return_tokens_as_token_ids": ids, "stream": stream,
        }  # fmt: skip
        return sign_request(
            self.keys,
            method="POST",
            path="/v1/completions",
            body=json.dumps(body).encode(),
            recipient=self.keys.public(KeyRole.HOTKEY),
            chain=self.chain,
            anchor=Anchor(1, bytes(32)),
            brake_head=EMPTY_BRAKE_HEAD,
            created=self.clock.now(),
            nonce=self.entropy.bytes(NONCE_BYTES),
        )

    def deadline(self) -> int:
        return self.clock.now() + PATIENCE_MS

    async def whole(self, prompt: str, *, ids: bool = True) -> tuple[CompletionResponse, Receipt]:
        sent = self.request(prompt, ids=ids)
        response = await self.transport.call(self.endpoint, sent, deadline=self.deadline())
        if response.status != 200:
            raise response_error(response)
        raw = receipt_of(response)
        if raw is None:
            raise BadAnswer("the answer came without a receipt")
        miner = self.keys.public(KeyRole.HOTKEY)
        receipt = check_receipt(raw, sent=sent, miner=miner, response_body=response_digest(response.body))
        return parse_response(response.body), receipt

    async def streamed(self, prompt: str) -> Receipt:
        sent = self.request(prompt, stream=True, ids=False)
        said, raw = StreamDigest(), None
        async with self.transport.stream(self.endpoint, sent, deadline=self.deadline()) as incoming:
            async for frame in incoming.frames:
                said.add(frame)
                raw = receipt_in(frame) or raw
        if raw is None:
            raise BadAnswer("the stream came without a receipt")
        miner = self.keys.public(KeyRole.HOTKEY)
        return check_receipt(raw, sent=sent, miner=miner, response_body=said.value())


async def _ask(asker: _Asker, pace: Asked) -> list[Finding]:
    try:
        answer, receipt = await asker.whole(PROMPT, ids=False)
    except DavyError as e:
        return [Finding("answer", False, str(e))]
    findings = [Finding("answer", True, f"{answer.choices[0].text!r}, {receipt.completion_tokens} tokens")]
    findings.append(Finding("receipt", True, f"signed by our hotkey, outcome {receipt.outcome.value}"))
    findings.append(_sane(answer.choices[0].logprobs))
    findings.append(await _ids_named(asker))
    again, _ = await asker.whole(PROMPT, ids=False)
    same = again.choices[0].text == answer.choices[0].text
    said = "the same request gave the same answer twice" if same else "the same request gave two answers"
    findings.append(Finding("repeatable", same, said))
    try:
        outcome = (await asker.streamed(PROMPT)).outcome
        findings.append(Finding("stream", outcome is Outcome.DONE, f"its receipt covers it, outcome {outcome.value}"))
    except (BadAnswer, BadSignature) as e:
        findings.append(Finding("stream", False, str(e)))
    findings.append(await _speed(asker, pace))
    return findings


async def _ids_named(asker: _Asker) -> Finding:
    try:
        await asker.whole(PROMPT)
    except BadAnswer as e:
        return Finding("token ids", False, f"{e}; tasks that pin a tokenizer cannot score this model")
    return Finding("token ids", True, "tokens are named by id, as tasks that pin a tokenizer need it")


def _sane(said: Logprobs | None) -> Finding:
    """What a proper score needs: a listed distribution for each token, of mass at most 1, whose argmax was chosen."""
    if said is None or not said.tokens:
        return Finding("log-probabilities", False, "none came; a validator cannot score this model")
    problems = [p for i in range(len(said.tokens)) for p in _faults(said, i)]
    if problems:
        return Finding("log-probabilities", False, problems[0])
    mass = max(sum(map(math.exp, top.values())) for top in said.top_logprobs)
    return Finding(
        "log-probabilities", True, f"{len(said.tokens)} tokens, listed mass at most {mass:.6f}, argmax chosen"
    )


def _faults(said: Logprobs, i: int) -> Sequence[str]:
    top, chosen = said.top_logprobs[i], said.token_logprobs[i]
    if not top or any(not math.isfinite(p) or p > 0 for p in (*top.values(), chosen)):
        return [f"token {i}: a log-probability is missing, above 0 or not finite"]
    if sum(map(math.exp, top.values())) > 1 + SLACK:
        return [f"token {i}: the listed probabilities sum to more than 1"]
    if chosen < max(top.values()) - SLACK:
        return [f"token {i}: at temperature 0 another token than the reported argmax was chosen"]
    return []


async def _speed(asker: _Asker, pace: Asked) -> Finding:
    counts: list[int] = []
    failures: list[str] = []

    async def one(i: int) -> None:
        try:
            _, receipt = await asker.whole(f"{PROMPT}# {i}\n    ", ids=False)
            counts.append(receipt.completion_tokens)
        except DavyError as e:
            failures.append(str(e))

    begin = anyio.current_time()
    async with anyio.create_task_group() as askers:
        for i in range(TOGETHER):
            askers.start_soon(one, i)
    if failures:
        failed = f"{len(failures)} of {TOGETHER} requests at once failed"
        return Finding("speed", False, f"{failed}, perhaps because this machine is too slow or too busy: {failures[0]}")
    return kept_up(TOGETHER, sum(counts), max(1e-9, anyio.current_time() - begin), pace)


def kept_up(answers: int, tokens: int, seconds: float, pace: Asked) -> Finding:
    """Say what a miner that gave so many answers in so many seconds can give in a round, and whether that is enough."""
    can, asked = int(answers * pace.round_s / seconds), pace.challenges
    rate, size = f"{tokens / seconds:.0f} tokens/s over {answers} requests at once", tokens // answers
    said = f"{rate}: {can} answers of {size} tokens in {pace.round_s:g} s"
    if can < asked:
        late = "what is late counts as no answer; take a smaller model, or a faster machine"
        return Finding("speed", False, f"{said}, and a validator asks for {asked}: {late}")
    several = can // asked > 1
    served = f"{can // asked} validators that each ask" if several else "one validator that asks"
    return Finding("speed", True, f"{said}, enough for {served} for {asked}")


async def _record(
    netuid: Netuid,
    ledger: LedgerClient,
    keys: KeyStore,
    clock: Clock,
    transport: HttpTransport,
    model: bytes,
) -> list[Finding]:
    """Compare the ledger's record with what would be served, and knock at the address it names."""
    metagraph = await ledger.metagraph(netuid)
    own = keys.public(KeyRole.HOTKEY)
    neuron = next((n for n in metagraph.neurons if n.hotkey == own), None)
    if neuron is None:
        return [Finding("registered", False, f"this hotkey has no UID on subnet {netuid}: davy register")]
    findings = [Finding("registered", True, f"UID {neuron.uid} on subnet {netuid}")]
    if not neuron.endpoint:
        return [*findings, Finding("endpoint", True, "the ledger names none yet: start the miner, and it will")]
    if [m.model_id for m in neuron.model] != [model]:
        named = neuron.model[0].model_id.hex() if neuron.model else "no model"
        findings.append(Finding("model on the ledger", False, f"{named}: a running miner corrects it"))
    to = neuron.endpoint[0]
    try:
        health = SignedRequest("GET", "/health", (), b"")
        answer = await transport.call(to, health, deadline=clock.now() + 10_000)
        said = f"{to.host}:{to.port} answers with status {answer.status}"
        findings.append(Finding("endpoint", answer.status == 200, said))
    except DavyError as e:
        findings.append(Finding("endpoint", False, str(e)))
    return findings
