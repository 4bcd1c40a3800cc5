"""Helpers that run the engine under test, kept apart from the oracles, which must not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import rewardshift
from rewardshift import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .tiny_gguf import TinyModel
    from .tiny_recurrent import RecurrentModel
    from .vocabularies import Toy

EXACT: dict[str, Any] = {
    "n_threads": 1,
    "n_ctx": 256,
    "type_k": "f32",
    "type_v": "f32",
    "flash_attn": False,
}
"""Loading options under which logits agree with float64 arithmetic to 1e-5."""

SANITIZED = "san.so" in os.environ.get("LD_PRELOAD", "")
"""Whether this is a build with sanitizers: address space and memory freed are theirs, then."""

THREADS_SANITIZED = "libtsan.so" in os.environ.get("LD_PRELOAD", "")
"""Whether it is ThreadSanitizer's."""

History = tuple[int, "Sequence[int]", int]


def open_context(model: TinyModel | RecurrentModel, **options: object) -> _core.Context:
    """A context of its own for a tiny model; the options are those of loading."""
    settings = _core.ContextOptions()
    for name, value in {**EXACT, **options}.items():
        setattr(settings, name, value)
    loaded = _core.Model.load(str(model.path), _core.ModelOptions(), None)
    return _core.Context(loaded, settings, _core.Threadpool(1))


def rows(context: _core.Context, *histories: History) -> NDArray[np.float32]:
    """Logits of (sequence, tokens, number of rows) histories in one call."""
    return context.logits([(s, [int(t) for t in tokens], n) for s, tokens, n in histories])


def tokens_of(length: int, seed: int = 0) -> list[int]:
    """Ordinary tokens of the tiny vocabularies, drawn at random."""
    return [int(t) for t in np.random.default_rng(seed).integers(3, 12, length)]


def alone_and_together(
    decoder: rewardshift.Decoder, prompts: Sequence[list[int]]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The answers to prompts, each with a seed: one after another, and all under way at once."""
    alone = [decoder.generate(p, max_tokens=9, seed=i).tokens for i, p in enumerate(prompts)]
    requests = [decoder.submit(p, max_tokens=9, seed=i) for i, p in enumerate(prompts)]
    done = {}
    while decoder.has_work:
        done |= {c.id: c.completion for c in decoder.step() if c.completion is not None}
    return alone, [done[request].tokens for request in requests]


def run_python(
    code: str, *, timeout: float = 120, pass_fds: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own, with the same package and test support."""
    package = Path(rewardshift.__file__).parents[1]
    tests = Path(__file__).parents[1]
    preamble = f"import sys; sys.path[:0] = [{str(package)!r}, {str(tests)!r}]\n"
    return subprocess.run(
        [sys.executable, "-c", preamble + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        pass_fds=pass_fds,
    )


def core_vocabulary(toy: Toy) -> _core.Vocabulary:
    """A toy vocabulary as the core has it."""
    roles = {token: getattr(_core.TokenRole, role) for token, role in toy.roles.items()}
    return _core.Vocabulary(list(toy.pieces), roles=roles, begin=toy.begin)
