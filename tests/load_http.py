"""Many clients at once, of all manners, at a real server of a tiny model: ``make load``.

They ask whole and streamed, leave at any moment, read slowly, send half a body, or nonsense. Every
answer must be complete or an error; its text is what the same request gets alone; and at the end
the server holds no place, nobody waits, and it has not grown. Prints a table; 1 if anything is not
so. It tells how soon health answered, too, and judges nothing by a clock.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuzz_http import BadAnswerError, judged, parsed, require_error
from support.http_server import Command
from support.mutate_body import mutant
from support.served import VOCAB
from support.tiny_gguf import CHATML_TEMPLATE, TinySpec, write_model
from support.wire_client import asked, connected, request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MIB = 1 << 20
GROWTH = 48 * MIB
"""What the server may grow by after its warm-up, in resident memory."""
SECONDS = 300
"""An answer that takes more hangs."""
WARM_UP = 1 / 3
"""Of the time: until then memory may grow as it likes."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request whose text is known, once it was asked for alone."""

    path: str
    body: dict[str, Any]

    def sent(self, *, stream: bool, **more: Any) -> bytes:
        """The request's body."""
        return json.dumps({**self.body, "stream": stream, **more}).encode()


def cases() -> list[Case]:
    """Some that are decoded apart by their seed, and some that share batches.

    Of these last ones a bias of 100 leaves one token, another for each: rounding changes nothing.
    """
    words = ("ab", "cd ab", "ab cd abc", "b", "ab " * 40)
    every = {"max_tokens": 12, "ignore_eos": True}
    found = [
        Case("/v1/completions", {"prompt": word, "seed": seed, **every})
        for word in words
        for seed in (1, 2)
    ]
    found += [
        Case(
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": word}], "seed": 3} | every,
        )
        for word in words
    ]
    tokens = [VOCAB.tokens.index(letter) for letter in "abcd"]
    found += [
        Case("/v1/completions", {"prompt": word, "logit_bias": {token: 100}, "n": 1} | every)
        for word in words
        for token in tokens
    ]
    return found


@dataclass(slots=True)
class Load:
    """What is under way, and what came of it.

    Attributes:
        outcomes: Counts by manner and how it ended.
        seconds: That whole answers took, by manner.
        failures: In words.
        texts: What each case is answered alone.
    """

    url: str
    rng: random.Random
    outcomes: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    failures: list[str] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=cases)
    mutants: int = 0

    async def learn(self) -> None:
        """Asks for each case alone."""
        for number, case in enumerate(self.cases):
            answer = await asked(self.url, case.path, case.body)
            self.texts[number] = text_of(answer.json())
        forced = {self.texts[i] for i, case in enumerate(self.cases) if "logit_bias" in case.body}
        if len(forced) != 4:
            self.failures.append(f"a bias does not leave one token: {forced}")

    async def client(self, end: float) -> None:
        """One after another, until the end."""
        manners: dict[str, Callable[[], Awaitable[str]]] = {
            "whole": self.whole,
            "streamed": self.streamed,
            "slow reader": self.slow,
            "leaves": self.leaves,
            "half a body": self.half,
            "body in two": self.late,
            "bad body": self.bad,
        }
        weights = (25, 25, 10, 18, 7, 5, 12)
        while time.monotonic() < end:
            (name,) = self.rng.choices(list(manners), weights)
            began = time.monotonic()
            try:
                ended = await asyncio.wait_for(manners[name](), SECONDS)
            except (BadAnswerError, ValueError, KeyError, IndexError) as error:
                ended = "FAILED"
                self.failures.append(f"{name}: {type(error).__name__}: {error}")
            except (TimeoutError, EOFError, OSError) as error:
                ended = "FAILED"
                self.failures.append(f"{name}: broken off: {type(error).__name__}: {error}")
            self.outcomes[name, ended] += 1
            self.seconds[name].append(time.monotonic() - began)

    def _case(self) -> tuple[Case, str]:
        number = self.rng.randrange(len(self.cases))
        return self.cases[number], self.texts[number]

    async def whole(self) -> str:
        """Waits for all of it."""
        case, text = self._case()
        async with connected(self.url) as connection:
            await connection.send(request(case.path, case.sent(stream=False)))
            answer = await connection.answer()
        return self._checked(answer.status, answer.body, text, text_of)

    async def streamed(self) -> str:
        """Reads as it comes."""
        case, text = self._case()
        async with connected(self.url) as connection:
            await connection.send(request(case.path, case.sent(stream=True)))
            answer = await connection.answer()
        return self._checked(answer.status, answer.body, text, streamed_text)

    async def slow(self) -> str:
        """Reads a long answer a little at a time."""
        case, text = self._case()
        more = {"top_logprobs": 20} if "messages" in case.body else {}
        body = case.sent(stream=True, return_token_info=True, n_probs=20, **more)
        async with connected(self.url, is_small=True) as connection:
            await connection.send(request(case.path, body))
            answer = await connection.head()
            async for piece in connection.pieces(answer):
                answer.body += piece
                await asyncio.sleep(self.rng.random() * 0.1)
        return self._checked(answer.status, answer.body, text, streamed_text)

    async def leaves(self) -> str:
        """At any moment."""
        case, _ = self._case()
        is_streamed = self.rng.random() < 0.7
        body = case.sent(stream=is_streamed, max_tokens=100, n=self.rng.choice((1, 1, 2)))
        async with connected(self.url) as connection:
            await connection.send(request(case.path, body))
            if self.rng.random() < 0.5:
                await asyncio.sleep(self.rng.random() * 0.3)
                return "left"
            answer = await connection.head()
            async for _ in connection.pieces(answer):
                if self.rng.random() < 0.3:
                    return "left"
        return str(answer.status)

    async def half(self) -> str:
        """Sends half a body, and is gone."""
        case, _ = self._case()
        sent = request(case.path, case.sent(stream=False))
        async with connected(self.url) as connection:
            await connection.send(sent[: self.rng.randrange(len(sent))])
            await asyncio.sleep(self.rng.random())
        return "left"

    async def late(self) -> str:
        """Sends the second half later."""
        case, text = self._case()
        sent = request(case.path, case.sent(stream=False))
        at = self.rng.randrange(len(sent))
        async with connected(self.url) as connection:
            await connection.send(sent[:at])
            await asyncio.sleep(self.rng.random() * 0.5)
            await connection.send(sent[at:])
            answer = await connection.answer()
        return self._checked(answer.status, answer.body, text, text_of)

    async def bad(self) -> str:
        """Sends what the fuzzer sends."""
        self.mutants += 1
        made = mutant(99, self.mutants)
        if "content-length" in made.headers:
            return "left"
        async with connected(self.url) as connection:
            await connection.send(request(made.path, made.body, **made.headers))
            answer = await connection.answer()
        kind, said = judged(answer.status, answer.headers, answer.body, made.path)
        if kind.startswith("FAILED"):
            raise BadAnswerError(f"{kind}: {said} to {made.body[:200]!r}")
        return kind

    def _checked(self, status: int, body: bytes, wanted: str, read: Callable[[Any], str]) -> str:
        """How an answer counts whose text is known."""
        if status in (429, 503):
            require_error(parsed(body.decode()))
            return str(status)
        if status != 200:
            raise BadAnswerError(f"{status}: {body[:200]!r}")
        text = read(parsed(body.decode()) if read is text_of else body.decode())
        if text != wanted:
            raise BadAnswerError(f"another's text, or none: {text!r} in place of {wanted!r}")
        return "200"


def text_of(answer: Any) -> str:
    """Of a whole answer of either kind, which must be whole."""
    choice = answer["choices"][0]
    if choice["finish_reason"] != "length" or answer["usage"]["completion_tokens"] != 12:
        raise BadAnswerError(f"not whole: {choice['finish_reason']} {answer['usage']}")
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def streamed_text(body: str) -> str:
    """Of a stream of either kind, which must end as it should."""
    blocks = body.removesuffix("\n\n").split("\n\n")
    if blocks[-1] != "data: [DONE]":
        raise BadAnswerError(f"a stream that does not end: {blocks[-1][:300]}")
    choices = [parsed(block.removeprefix("data: "))["choices"][0] for block in blocks[:-1]]
    if choices[-1]["finish_reason"] != "length":
        raise BadAnswerError(f"a stream without its end: {choices[-1]}")
    return "".join(
        (c["delta"].get("content") or "") if "delta" in c else c["text"] for c in choices
    )


@dataclass(slots=True)
class Watch:
    """What the server holds, and how soon it says that it is well.

    Attributes:
        resident: Bytes, by seconds since the beginning.
        health: Seconds that it took to say so.
    """

    url: str
    pid: int
    resident: list[tuple[float, int]] = field(default_factory=list)
    health: list[float] = field(default_factory=list)

    def bytes_now(self) -> int:
        """Resident memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024

    def files_now(self) -> int:
        """Open files and sockets."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    async def go_on(self, began: float) -> None:
        """Looks twice a second."""
        while True:
            self.resident.append((time.monotonic() - began, self.bytes_now()))
            asked_at = time.monotonic()
            answer = await asked(self.url, "/health")
            if answer.status != 200:
                raise BadAnswerError(f"health under load: {answer.body!r}")
            self.health.append(time.monotonic() - asked_at)
            await asyncio.sleep(0.5)


async def until_empty(url: str) -> dict[str, Any]:
    """Health once nothing is under way, or after a minute."""
    end = time.monotonic() + 60
    while True:
        health = (await asked(url, "/health")).json()
        if health["under_way"] == 0 or time.monotonic() > end:
            return dict(health)
        await asyncio.sleep(0.1)


async def run(url: str, pid: int, clients: int, seconds: float, seed: int) -> list[str]:
    """The load; returns what was not as it should be."""
    while (await asked(url, "/health")).status != 200:
        await asyncio.sleep(0.05)
    load, watch = Load(url, random.Random(seed)), Watch(url, pid)
    await load.learn()
    files = watch.files_now()
    began = time.monotonic()
    watching = asyncio.ensure_future(watch.go_on(began))
    await asyncio.gather(*(load.client(began + seconds) for _ in range(clients)))
    if watching.done():
        load.failures.append(f"health: {watching.exception()!r}")
    watching.cancel()
    health = await until_empty(url)
    failures = load.failures
    if health["under_way"] or health["status"] != "ok":
        failures.append(f"places are lost: {health}")
    slots = (await asked(url, "/slots")).json()
    if any(slot["is_processing"] for slot in slots):
        failures.append(f"slots are taken: {slots}")
    before = dict(load.texts)
    await load.learn()
    if before != load.texts:
        failures.append("afterwards the same requests have other texts")
    warm = max(size for at, size in watch.resident if at <= max(seconds * WARM_UP, 1))
    after, most = watch.bytes_now(), max(size for _, size in watch.resident)
    if after > warm + GROWTH:
        failures.append(f"memory has grown from {warm} to {after} bytes")
    if watch.files_now() > files + 5:
        failures.append(f"{files} files were open, and {watch.files_now()} are")
    show(load, watch, (warm, most, after), files)
    return failures


def show(load: Load, watch: Watch, sizes: tuple[int, int, int], files: int) -> None:
    """The table."""
    for name in sorted({name for name, _ in load.outcomes}):
        own = [(n, kind) for (other, kind), n in load.outcomes.most_common() if other == name]
        ended = ", ".join(f"{count} × {kind}" for count, kind in own)
        print(f"{name:12} {statistics.median(load.seconds[name]):7.3f} s median  {ended}")
    warm, most, after = (size / MIB for size in sizes)
    print(f"memory       {warm:.1f} MiB warm, {most:.1f} at most, {after:.1f} afterwards")
    print(f"files        {files} before, {watch.files_now()} afterwards")
    times = sorted(watch.health)
    print(
        f"health       {times[len(times) // 2] * 1e3:.0f} ms median, "
        f"{times[int(len(times) * 0.99)] * 1e3:.0f} ms at the 99th percentile, as clients see it"
    )


def main() -> int:
    """Serves, asks, prints; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spec = TinySpec(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
        model = write_model(Path(folder) / "tiny.gguf", spec)
        words = ("-m", model.path, "-t", 1, "-c", 2048, "--port", 0)
        with Command(*words) as command:
            url = command.wait_for_url()
            failures = asyncio.run(
                run(url, command.pid, arguments.clients, arguments.seconds, arguments.seed)
            )
            surprises = [line for line in command.lines if "Traceback" in line]
    failures += surprises
    for failure, count in collections.Counter(failures).most_common(20):
        print(f"{count} × {failure[:400]}")
    print(
        f"{len(failures)} failures, {arguments.clients} clients, {arguments.seconds:.0f} s, "
        f"seed {arguments.seed}"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
