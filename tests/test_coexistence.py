"""What importing rewardshift does to a process: little, and nothing to its other libraries."""

from __future__ import annotations

import importlib.machinery
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rewardshift import _core
from tests.support.engine import run_python

LIBRARY = Path(_core.__file__)


@pytest.mark.skipif(sys.platform == "win32", reason="has no nm")
def test_the_extension_exports_nothing_but_its_entry() -> None:
    """llama.cpp is linked in; another copy of it in the process must not meet this one."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    flags = ["-gU"] if sys.platform == "darwin" else ["-D", "--defined-only"]
    listing = subprocess.run([nm, *flags, LIBRARY], capture_output=True, text=True, check=True)
    names = {line.split()[-1].lstrip("_") for line in listing.stdout.splitlines()}
    assert names == {"PyInit__core"}


def test_llama_cpp_is_inside_the_extension() -> None:
    """No library of llama.cpp beside it, which another program's could be taken for."""
    assert any(LIBRARY.name.endswith(suffix) for suffix in importlib.machinery.EXTENSION_SUFFIXES)
    assert b"llama_model_loader" in LIBRARY.read_bytes()
    assert not [p for p in LIBRARY.parent.iterdir() if p.name.startswith(("libllama", "libggml"))]


def test_importing_is_light() -> None:
    process = run_python(
        """
        import rewardshift
        heavy = {"rich", "typer", "jinja2", "torch", "requests", "scipy", "gguf", "huggingface_hub"}
        print(sorted(heavy & sys.modules.keys()))
        """
    )
    assert process.stdout.strip() == "[]", process.stderr


def test_importing_changes_no_signal_handler_and_starts_no_thread() -> None:
    process = run_python(
        """
        import os, signal, threading
        before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)]
        import rewardshift
        after = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)]
        print(before == after, threading.active_count())
        """
    )
    assert process.stdout.split() == ["True", "1"]


def test_a_decoder_left_open_does_not_disturb_the_end_of_the_process() -> None:
    process = run_python(
        """
        import tempfile
        from pathlib import Path
        from support.tiny_gguf import write_model
        import rewardshift
        with tempfile.TemporaryDirectory() as folder:
            path = write_model(Path(folder) / "model.gguf").path
            decoder = rewardshift.Decoder(path, path, path, n_ctx=64, n_threads=1)
            chunks = decoder.stream([1, 3], max_tokens=20)
            next(chunks)
        """
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_what_others_do_with_the_processor_s_tiles_does_not_disturb_ours() -> None:
    """Who multiplies in bfloat16 with AMX leaves the thread's tiles in other shapes, or in none."""
    pytest.importorskip("torch")
    process = run_python(
        """
        import tempfile
        from pathlib import Path
        from rewardshift import quantize
        from support.engine import open_context, rows
        from support.tiny_gguf import TinyModel, TinySpec, write_model
        import torch

        with tempfile.TemporaryDirectory() as folder:
            spec = TinySpec(n_embd=256, n_ff=512)
            model = write_model(Path(folder) / "f32.gguf", spec)
            path = quantize(model.path, Path(folder) / "q8_0.gguf", "Q8_0")
            context = open_context(TinyModel(path, spec, {}))
            torch.set_num_threads(1)  # the thread that calls us
            history = (0, [3, 4, 5] * 10, 30)
            before = rows(context, history)
            matrix = torch.ones(64, 64, dtype=torch.bfloat16)
            print((matrix @ matrix).sum().item() == 64**3)
            print((rows(context, history) == before).all())
        """
    )
    assert (process.returncode, process.stdout.split()) == (0, ["True", "True"]), process.stderr
