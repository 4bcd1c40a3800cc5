"""Sends mutated requests to the application over a tiny model: ``make fuzz-http``.

Whatever is sent, the answer is what was asked for, whole, or OpenAI's error object with a status
that blames the request, or 503: never another 5xx, a hang, or half an answer. After each lot no
place is taken, nobody waits, and a good request is answered as ever. What fails is saved with the
command that repeats it.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import logging
import multiprocessing
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.exchange import Exchange, living, until
from support.mutate_body import ENDPOINTS, Mutant, mutant
from support.tool_models import shifted_decoder

from rewardshift.serve import Settings, build_app

if TYPE_CHECKING:
    from fastapi import FastAPI

SECONDS = 120
"""An answer that takes more hangs."""
LOT = 100
"""Requests between two looks at the server."""
AT_ONCE = 6
GOOD = {"prompt": "ab cd", "max_tokens": 6, "seed": 3, "ignore_eos": True}
"""What is asked between lots; the seed makes the answer always the same."""
INTERNAL = re.compile(
    r"object has no attribute|object is not|not subscriptable|unexpected keyword|codec can't|"
    r"NoneType|unhashable|incompatible function arguments|list index|unsupported operand|Traceback"
)
"""How Python says that we were surprised: no message for a client says so."""

TEMPLATES = "the model's chat template cannot render these messages: "
"""What follows that is what the template, a program of the model's, has run into."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: `kind` is a status, "left", or begins with "FAILED"."""

    number: int
    kind: str
    said: str
    path: str
    what: str

    @property
    def failed(self) -> bool:
        """Whether it is not what was promised."""
        return self.kind.startswith("FAILED")


class BadAnswerError(Exception):
    """An answer that is none."""


def complain(problem: str) -> None:
    """Raises."""
    raise BadAnswerError(problem)


def require_error(said: Any) -> str:
    """Of OpenAI's shape; returns its message."""
    if not isinstance(said, dict) or set(said) != {"error"}:
        complain(f"no error object: {said!r:.200}")
    error = said["error"]
    if not isinstance(error, dict) or set(error) != {"message", "type", "param", "code"}:
        complain(f"not OpenAI's error: {said!r:.200}")
    message = error["message"]
    if not (isinstance(message, str) and message and isinstance(error["type"], str)):
        complain(f"an error without words: {said!r:.200}")
    if not all(error[name] is None or isinstance(error[name], str) for name in ("param", "code")):
        complain(f"an error with odd parts: {said!r:.200}")
    if INTERNAL.search(message) and not message.startswith(TEMPLATES):
        complain(f"a message that is Python's, not ours: {message:.300}")
    return str(message)


def parsed(text: str) -> Any:
    """JSON, as strictly as browsers read it."""
    return json.loads(text, parse_constant=lambda name: complain(f"{name} is no JSON"))


def require_stream(body: str, path: str) -> str:
    """Events up to the end that the endpoint promises, or an error; returns that one's message."""
    if not body.endswith("\n\n"):
        complain(f"a stream that breaks off: {body[-200:]!r}")
    blocks = body.removesuffix("\n\n").split("\n\n")
    datas = [block.partition("data: ")[2] for block in blocks]
    events = [data if data == "[DONE]" else parsed(data) for data in datas]
    last = events[-1]
    if isinstance(last, dict) and "error" in last and set(last) == {"error"}:
        return require_error(last)
    if path == "/completion":
        whole = last["stop"] is True
    elif path == "/v1/responses":
        whole = last["type"] in ("response.completed", "response.incomplete", "response.failed")
    else:
        whole = last == "[DONE]" and all("error" not in event for event in events[:-1])
    if not whole:
        complain(f"a stream that does not end: {last!r:.200}")
    return ""


def judged(status: int, headers: dict[str, str], body: bytes, path: str) -> tuple[str, str]:
    """How a whole answer counts."""
    text = body.decode()
    if status == 200:
        if headers.get("content-type", "").startswith("text/event-stream"):
            said = require_stream(text, path)
            return ("200, and an error amid it" if said else "200"), said
        parsed(text)
        return "200", ""
    said = require_error(parsed(text))
    if not (400 <= status < 500 or status == 503):
        return f"FAILED {status}", said
    return str(status), said


async def tried(app: FastAPI, number: int, made: Mutant) -> Outcome:
    """Sends one."""

    def ended(kind: str, said: str = "") -> Outcome:
        return Outcome(number, kind, said, made.path, made.what)

    exchange = Exchange(app, made.path, made.body, headers=made.headers, seconds=SECONDS)
    try:
        if made.stays is not None:
            for _ in range(made.stays):
                await asyncio.sleep(0)
            exchange.leave()
            await exchange.ended()
            return ended("left")
        status = await exchange.status()
        return ended(*judged(status, exchange.headers, await exchange.body(), made.path))
    except TimeoutError:
        return ended("FAILED hang")
    except (BadAnswerError, ValueError, KeyError) as error:
        return ended("FAILED answer", f"{type(error).__name__}: {error}")


async def good_answer(app: FastAPI) -> str:
    """To the request that is always good."""
    exchange = Exchange(app, "/v1/completions", GOOD, seconds=SECONDS)
    status, body = await exchange.status(), await exchange.body()
    if status != 200:
        complain(f"a good request got {status}: {body[:300]!r}")
    return str(json.loads(body)["choices"][0]["text"])


async def require_empty(app: FastAPI) -> None:
    """That no place is taken and nobody waits, soon."""
    server = app.state.server
    try:
        await until(lambda: server.worker.under_way == 0 and server.deferred == 0)
        await until(lambda: not server.worker.decoder.has_work)
    except AssertionError:
        complain(f"{server.worker.under_way} places are lost, {server.deferred} wait")
    if server.health[0] != "ok":
        complain(f"health says {server.health}")


async def run_all(numbers: list[int], seed: int, folder: Path) -> list[Outcome]:
    """Sends these, a few at a time: one in eight to a server that is strict."""
    numbers_of = {
        is_strict: [number for number in numbers if (number % 8 == 0) == is_strict]
        for is_strict in (False, True)
    }
    return [
        outcome
        for is_strict, own in numbers_of.items()
        for outcome in (await run_lots(own, seed, folder, is_strict=is_strict))
    ]


async def run_lots(
    numbers: list[int], seed: int, folder: Path, *, is_strict: bool
) -> list[Outcome]:
    """Sends these to one server, which is looked at between them."""
    outcomes: list[Outcome] = []
    settings = Settings(max_n=4, max_body_bytes=1 << 20, drain_seconds=0, strict=is_strict)
    app = build_app(lambda: shifted_decoder(folder), settings)
    async with living(app):
        while app.state.server.health[0] == "loading":
            await asyncio.sleep(0.01)
        wanted = await good_answer(app)
        for first in range(0, len(numbers), LOT):
            waiting = numbers[first : first + LOT][::-1]

            async def sender(waiting: list[int] = waiting) -> None:
                while waiting:
                    number = waiting.pop()
                    outcomes.append(await tried(app, number, mutant(seed, number)))

            await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
            lot = f"after {numbers[first]} to {numbers[min(first + LOT, len(numbers)) - 1]}"
            try:
                await require_empty(app)
                if (said := await good_answer(app)) != wanted:
                    complain(f"a good request got {said!r}, not {wanted!r}")
            except (BadAnswerError, AssertionError, TimeoutError) as error:
                outcomes.append(Outcome(numbers[first], "FAILED server", str(error), lot, ""))
                break  # what follows would say nothing
    return outcomes


def run_share(arguments: argparse.Namespace, share: int, folder: Path) -> list[Outcome]:
    """Every jobs-th mutant; those that fail are saved."""
    logging.disable(logging.ERROR)
    folder = folder / str(share)
    folder.mkdir()
    numbers = list(range(arguments.first + share, arguments.first + arguments.n, arguments.jobs))
    outcomes = asyncio.run(run_all(numbers, arguments.seed, folder))
    for outcome in outcomes:
        if outcome.failed:
            arguments.save.mkdir(parents=True, exist_ok=True)
            body = mutant(arguments.seed, outcome.number).body
            (arguments.save / f"{arguments.seed}-{outcome.number}.json").write_bytes(body)
            print(f"{outcome.kind}: {outcome.number}: {outcome.path}: {outcome.what}")
            print(f"  {outcome.said}\n  {body[:300]!r}", flush=True)
    return outcomes


def main() -> int:
    """Sends the requests asked for, prints how they ended; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10000, help="how many requests")
    parser.add_argument("--first", type=int, default=0, help="the first one's number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--save", type=Path, default=Path("build/fuzz-http"), help="for what fails")
    parser.add_argument("--errors", action="store_true", help="print each distinct error")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shares = [(arguments, share, Path(folder)) for share in range(arguments.jobs)]
        with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
            outcomes = [outcome for part in pool.starmap(run_share, shares) for outcome in part]
    if arguments.errors:
        for said, count in collections.Counter(o.said for o in outcomes).most_common():
            print(f"{count:6}  {said[:200]}")
    for path in [endpoint.path for endpoint in ENDPOINTS]:
        counts = collections.Counter(o.kind for o in outcomes if o.path == path)
        print(f"{path:22}", ", ".join(f"{count} × {kind}" for kind, count in counts.most_common()))
    failed = sum(outcome.failed for outcome in outcomes)
    seconds = time.monotonic() - began
    print(f"{failed} of {len(outcomes)} requests failed (seed {arguments.seed}, {seconds:.0f} s)")
    if failed:
        print("repeat one: python tests/fuzz_http.py --seed SEED --first NUMBER --n 1 --jobs 1")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
