"""Every code block of the README runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .support.tiny_gguf import CHATML_TEMPLATE, TinySpec, bpe_vocab, write_model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
]


@pytest.fixture
def readme_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README's examples name."""
    spec = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
    write_model(tmp_path / "big.gguf", TinySpec(**spec))
    write_model(tmp_path / "small.gguf", TinySpec(**spec, noise=0.1, noise_seed=2))
    write_model(tmp_path / "small-dpo.gguf", TinySpec(**spec, noise=0.1, noise_seed=3))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_blocks_are_of_languages_that_are_tested() -> None:
    assert {language for language, _ in BLOCKS} == {"console", "python"}


@pytest.mark.usefixtures("readme_models")
def test_python_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("rewardshift ")])
def test_command_lines_run(command: str, readme_models: Path) -> None:
    words = shlex.split(command, comments=True)
    arguments = [*words[1:], "-n", "8"] if words[1] in {"generate", "chat"} else words[1:]
    done = subprocess.run(
        [sys.executable, "-m", "rewardshift.cli", *arguments],
        input="Hello\n" if words[1] == "chat" else None,
        stdin=None if words[1] == "chat" else subprocess.DEVNULL,
        cwd=readme_models,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    words = shlex.split(command, comments=True)
    subprocess.run([words[0], "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)


def test_no_other_commands_are_shown() -> None:
    assert all(command.split()[0] in {"make", "rewardshift"} for command in COMMANDS)
