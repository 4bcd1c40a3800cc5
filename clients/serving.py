"""`rewardshift serve` as a program of its own, over tiny models, for as long as a test needs it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from rewardshift.serve.tools.formats import HERMES
from tests.support.tiny_gguf import TinySpec, write_model
from tests.support.tool_models import VOCAB, template_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "tiny"
"""What the model is called."""

CONTEXT = 4096

NO_SPACES = {str(VOCAB.tokens.index(letter)): -100 for letter in "ĉĊčĠ"}
"""A bias for JSON: weights that are random put tabs, newlines and spaces wherever they may."""


def write_tiny_trio(folder: Path) -> list[str]:
    """Flags of a target and its pair: random weights over bytes, with a template that has tools."""
    flags = []
    for flag, noise in (("-m", {}), ("-md", {"noise_seed": 1}), ("--reference", {"noise_seed": 2})):
        path = folder / f"{flag.strip('-')}.gguf"
        spec = {"vocab": VOCAB, "chat_template": template_of(HERMES), "n_ctx_train": CONTEXT}
        write_model(path, TinySpec(**spec, scale=2.0, noise=0.35 if noise else 0.0, **noise))
        flags += [flag, str(path)]
    return [*flags, "-c", str(CONTEXT), "-t", "1", "--alias", NAME]


@contextmanager
def running(flags: list[str], log: Path, *, seconds: float = 300) -> Iterator[str]:
    """The URL of a server that answers requests, until the block ends.

    Args:
        flags: Of `rewardshift serve`.
        log: Where its stderr goes.
        seconds: How long it may take to load its models.
    """
    command = [sys.executable, "-m", "rewardshift.cli", "serve", "--port", "0", *flags]
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            yield _url_of(process, log, time.monotonic() + seconds)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _url_of(process: subprocess.Popen[bytes], log: Path, end: float) -> str:
    while process.poll() is None and time.monotonic() < end:
        found = re.search(r"listening at (\S+),", log.read_text())
        if found and httpx.get(f"{found[1]}/health").status_code == httpx.codes.OK:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"no server: {log.read_text()}")
