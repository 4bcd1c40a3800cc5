"""Our server against llama.cpp's, built from the same sources: the same requests to both, in turns.

So many clients each ask one thing after another, streamed, and never twice the same, so that no
prompt is remembered. All servers run, and only the one that is asked has work; an answer that does
not count wakes what the system had put aside of it. With a draft, both speculate: llama-server with
its draft length, ours as its policy has it. With a shift, ours answers aligned too. ``Decoder`` is
the same work without HTTP, in this process.

    make peers
    python benchmarks/serve.py -m qwen2.5-1.5b-q4_0.gguf -md qwen2.5-0.5b-q4_0.gguf --shift positive
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx

from rewardshift import Decoder, _core
from rewardshift.bench import PROMPTS, Range, endless, interleave, ratios, table
from rewardshift.cli.render import stdout
from rewardshift.models import smollm2_q4_0

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BIN = Path(__file__).parents[1] / "build" / "peers" / "bin"
OURS, THEIRS, DIRECT = "ours, plain", "llama-server", "Decoder"
DRAFTS, THEIR_DRAFTS, ALIGNED = "ours, drafts", "llama-server, drafts", "ours, aligned"
COMPARED = {OURS: THEIRS, DRAFTS: THEIR_DRAFTS, ALIGNED: OURS, DIRECT: OURS}
"""What each way is divided by."""
PATIENCE = 300.0
"""Seconds to load, and to answer."""
REQUEST = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n"
)


@dataclass
class Load:
    """What a number of clients got: tokens of all, seconds of the whole, first tokens' seconds."""

    tokens: int = 0
    seconds: float = 0.0
    firsts: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Tokens a second, of all together."""
        return self.tokens / self.seconds

    @property
    def first(self) -> float:
        """Seconds to the first token, the median of the requests."""
        return median(self.firsts)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, help="SmolLM2 unless given")
    parser.add_argument("-md", "--draft", type=Path, help="of the target's vocabulary")
    parser.add_argument("--shift", help="also answers aligned")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--requests", type=int, default=2, help="of each client, one by one")
    parser.add_argument("--tokens", type=int, default=64, help="per answer")
    parser.add_argument("--draft-length", type=int, default=3, help="of llama-server")
    parser.add_argument("--temp", type=float, default=0.8)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, default=_core.usable_cores())
    parser.add_argument("--bin", type=Path, default=BIN, help="where llama-server is")
    options = parser.parse_args()
    if not (options.bin / "llama-server").exists():
        parser.error(f"{options.bin / 'llama-server'} is missing: `make peers` builds it")
    options.target = options.target or smollm2_q4_0()
    return options


def main() -> None:
    """Prints a table for each number of clients."""
    options = parse()
    places = max(options.clients)
    room = places * (options.tokens + 128)
    with ExitStack() as stack:
        ports = {
            OURS: stack.enter_context(running(our_command(options, places, room))),
            THEIRS: stack.enter_context(running(their_command(options, places, room))),
        }
        if options.draft is not None:
            drafting = their_command(options, places, room, draft=options.draft)
            ports[THEIR_DRAFTS] = stack.enter_context(running(drafting))
        decoder = stack.enter_context(
            Decoder(options.target, n_ctx=room, n_seq_max=places, n_threads=options.threads, poll=0)
        )
        for clients in options.clients:
            compare(ports, decoder, clients, options)


def our_command(options: argparse.Namespace, places: int, room: int) -> list[str]:
    """Plain, drafting and aligned is one server: requests say which."""
    command = [sys.executable, "-m", "rewardshift.cli", "serve", "-m", str(options.target)]
    if options.draft is not None:
        command += ["--base", str(options.draft)]
    if options.shift is not None:
        command += ["--shift", options.shift]
    return [
        *(*command, "-c", str(room), "--parallel", str(places), "-t", str(options.threads)),
        *("--max-queue", str(places), "--port"),
    ]


def their_command(
    options: argparse.Namespace, places: int, room: int, *, draft: Path | None = None
) -> list[str]:
    """Without its page, its templates' extras, and what it keeps of former prompts."""
    command = [
        str(options.bin / "llama-server"),
        "-m",
        str(options.target),
        "--no-ui",
        "-fit",
        "off",
    ]
    if draft is not None:
        command += ["-md", str(draft), "-td", str(options.threads), "--spec-type", "draft-simple"]
        command += ["--spec-draft-n-max", str(options.draft_length), "--spec-draft-p-min", "0"]
    return [
        *(*command, "-c", str(room), "-np", str(places), "-t", str(options.threads)),
        *("-fit", "off", "--cache-ram", "0", "--port"),
    ]


@contextmanager
def running(command: Sequence[str]) -> Iterator[int]:
    """The port of a server that is ready; the command lacks it as its last argument."""
    port = free_port()
    process = subprocess.Popen(
        [*command, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        wait_until_ready(process, port)
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """One that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises RuntimeError where the server ends instead."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"this ended before it was ready: {process.args!r}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"this was not ready after {PATIENCE:g} s: {process.args!r}")


# --- what is asked ------------------------------------------------------------------------------


NUMBERS = count(1)


def question() -> str:
    """One that was never asked before, from its first words on."""
    number = next(NUMBERS)
    return f"Question {number}: {PROMPTS[number % len(PROMPTS)]}"


def compare(
    ports: dict[str, int], decoder: Decoder, clients: int, options: argparse.Namespace
) -> None:
    """The table of a number of clients."""
    plain: dict[str, Any] = {"num_draft_tokens": 0, "strength": 0.0}
    bodies: dict[str, tuple[int, dict[str, Any]]] = {
        OURS: (ports[OURS], plain),
        THEIRS: (ports[THEIRS], {"samplers": ["temperature"]}),
    }
    if options.draft is not None:
        bodies[DRAFTS] = (ports[OURS], {"strength": 0.0})
        bodies[THEIR_DRAFTS] = (ports[THEIR_DRAFTS], {"samplers": ["temperature"]})
    if options.shift is not None:
        bodies[ALIGNED] = (ports[OURS], {})
    runs: dict[str, Callable[[], Load]] = {
        name: partial(served, port, clients, body, options) for name, (port, body) in bodies.items()
    }
    runs[DIRECT] = partial(decoded, decoder, clients, options)
    found = interleave(runs, repeat=options.repeat, what=f"{clients} clients")
    heads = ["", "tokens/s", "÷ its peer", "first token, ms", "÷ its peer", "peer"]
    title = f"{clients} clients, {options.tokens} tokens each: {options.target.name}"
    rows = [row(name, found) for name in runs]
    stdout().print(
        table(title, heads, rows, note="Median (range); ratios repetition by repetition.")
    )
    stdout().print()


def row(name: str, found: dict[str, list[Load]]) -> list[str]:
    """A line of the table."""
    own = found[name]
    speeds = [load.speed for load in own]
    firsts = [1e3 * load.first for load in own]
    peer = COMPARED.get(name)
    if peer is None:
        return [name, f"{Range.of(speeds):.3g}", "", f"{Range.of(firsts):.0f}", "", ""]
    theirs = found[peer]
    faster = Range.of(ratios(speeds, [load.speed for load in theirs]))
    later = Range.of(ratios(firsts, [1e3 * load.first for load in theirs]))
    return [
        *(name, f"{Range.of(speeds):.3g}", f"{faster:.3f}"),
        *(f"{Range.of(firsts):.0f}", f"{later:.2f}", peer),
    ]


def served(port: int, clients: int, body: dict[str, Any], options: argparse.Namespace) -> Load:
    """What so many clients got."""
    return asyncio.run(all_clients(port, clients, body, options))


async def all_clients(
    port: int, clients: int, body: dict[str, Any], options: argparse.Namespace
) -> Load:
    """Each asks one thing after another."""
    load = Load()
    asked: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": options.tokens,
        "temperature": options.temp,
        "ignore_eos": True,
        **body,
    }

    async def client() -> None:
        for _ in range(options.requests):
            await one_answer(port, asked, load)

    await one_answer(port, asked, Load())
    start = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*(client() for _ in range(clients))), PATIENCE)
    load.seconds = time.perf_counter() - start
    return load


async def one_answer(port: int, asked: dict[str, Any], load: Load) -> None:
    """Notes when the first text came, and how many tokens there were.

    By hand: a client's own work takes from the processor that the server computes on, and that of
    well-kept libraries is as much as a small model's.
    """
    body = json.dumps({**asked, "messages": [{"role": "user", "content": question()}]}).encode()
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST.format(len(body)).encode() + body)
    has_begun = False
    last = b""
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue
        if not has_begun and has_text(line):
            load.firsts.append(time.perf_counter() - start)
            has_begun = True
        if b"completion_tokens" in line:
            last = line
    writer.close()
    if not last:
        raise RuntimeError("an answer ended without its usage")
    load.tokens += json.loads(last.removeprefix(b"data: "))["usage"]["completion_tokens"]


def has_text(line: bytes) -> bool:
    """Whether an event says something of the answer."""
    choices = json.loads(line.removeprefix(b"data: "))["choices"]
    return any(choice["delta"].get("content") for choice in choices)


def decoded(decoder: Decoder, clients: int, options: argparse.Namespace) -> Load:
    """The same without HTTP: as many requests under way."""
    load = Load()
    began: dict[int, float] = {}
    left = [options.requests] * clients
    owner: dict[int, int] = {}

    def ask(client: int) -> None:
        left[client] -= 1
        prompt = decoder.chat_prompts([{"role": "user", "content": question()}])[0]
        request = decoder.submit(
            prompt,
            max_tokens=options.tokens,
            temperature=options.temp,
            num_draft_tokens=0,
            logit_bias=endless(decoder),
        )
        owner[request], began[request] = client, time.perf_counter()

    start = time.perf_counter()
    for client in range(clients):
        ask(client)
    while decoder.has_work:
        for chunk in decoder.step():
            if chunk.text and (since := began.pop(chunk.id, None)) is not None:
                load.firsts.append(time.perf_counter() - since)
            if chunk.completion is None:
                continue
            load.tokens += len(chunk.completion.steps)
            if left[owner[chunk.id]] > 0:
                ask(owner[chunk.id])
    load.seconds = time.perf_counter() - start
    return load


if __name__ == "__main__":
    main()
