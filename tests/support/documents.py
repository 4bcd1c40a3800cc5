"""Documents whose code blocks run: the README and the pages in docs/."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from .tiny_gguf import CHATML_TEMPLATE, TinySpec, bpe_vocab, write_model

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


class Document:
    """A Markdown file and its fenced blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.blocks: list[tuple[str, str]] = BLOCK.findall(self.text)

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def commands(self) -> list[str]:
        """The command lines it shows."""
        shown = (block for language, block in self.blocks if language == "console")
        return [line.removeprefix("$ ") for block in shown for line in block.splitlines()]

    def run_python_blocks(self) -> None:
        """Runs each for itself, in this process and folder."""
        for language, block in self.blocks:
            if language == "python":
                exec(compile(block, self.name, "exec"), {})


def write_example_models(folder: Path) -> None:
    """The files that the examples name."""
    spec = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
    write_model(folder / "big.gguf", TinySpec(**spec))
    write_model(folder / "small.gguf", TinySpec(**spec, noise=0.1, noise_seed=2))
    write_model(folder / "small-dpo.gguf", TinySpec(**spec, noise=0.1, noise_seed=3))


def run_command_line(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `rewardshift ...` there; responses are short and seeded, a chat has one message.

    Without a seed a tiny model now and then says nothing.
    """
    words = shlex.split(command, comments=True)
    fixed = ["-n", "8", "-s", "1"] if words[1] in {"generate", "chat"} else []
    arguments = [*words[1:], *fixed]
    return subprocess.run(
        [sys.executable, "-m", "rewardshift.cli", *arguments],
        input="Hello\n" if words[1] == "chat" else None,
        stdin=None if words[1] == "chat" else subprocess.DEVNULL,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def dry_run(command: str) -> str:
    """Checks that `make ...` knows its targets; what it would do."""
    words = shlex.split(command, comments=True)
    done = subprocess.run(
        [words[0], "--dry-run", "--no-print-directory", *words[1:]],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout
