"""Writing models again with other types of weights: whole, or not at all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rewardshift
from rewardshift import ModelLoadError, _core, quantize
from rewardshift.cli.app import app
from tests.support import precision
from tests.support.engine import open_context, rows
from tests.support.tiny_gguf import TinyModel, TinySpec, spm_vocab, write_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Files

TOKENS = [1, 260, 262, 265, 261, 263]
TYPES = _core.quantization_types()
WIDE: dict[str, Any] = {"n_embd": 256, "n_ff": 512}
"""Rows of 256, so that every type fits; in narrower ones llama.cpp puts others in their place."""
SPEC = TinySpec(vocab=spm_vocab(byte_tokens=True), **WIDE)


@pytest.fixture
def source(files: Files) -> Path:
    return files.model(vocab=SPEC.vocab, **WIDE).path


@pytest.fixture(scope="module")
def large_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes a while."""
    spec = TinySpec(vocab=spm_vocab(), n_embd=1024, n_ff=4096, n_layer=4, n_head=16, n_head_kv=16)
    return write_model(tmp_path_factory.mktemp("large") / "large.gguf", spec).path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def distance(path: Path, source: Path) -> float:
    """Between the logits of two models: the root of the mean square."""
    found, wanted = (
        rows(open_context(TinyModel(p, SPEC, {})), (0, TOKENS, len(TOKENS))).astype(np.float64)
        for p in (path, source)
    )
    return float(np.sqrt(np.square(found - wanted).mean()))


# --- what is written ----------------------------------------------------------------------------


@pytest.mark.numeric
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_written_and_decodes_much_like_the_original(
    source: Path, tmp_path: Path, kind: str
) -> None:
    path = quantize(source, tmp_path / "small.gguf", kind, n_threads=2)
    assert names_in(tmp_path) == ["small.gguf"]
    most = precision.of_weights(SPEC, kind)
    off = distance(path, source)
    assert off < most
    if kind != "F32":
        assert off > most / 4  # nor is it of two bits more
        assert path.stat().st_size < source.stat().st_size


@pytest.mark.parametrize("kind", TYPES)
def test_inspect_calls_every_type_by_its_name(source: Path, tmp_path: Path, kind: str) -> None:
    path = quantize(source, tmp_path / "small.gguf", kind.lower())
    shown = CliRunner().invoke(app, ["inspect", str(path)])
    assert re.search(rf"^quantisation +{kind} *$", shown.stdout, flags=re.MULTILINE)
    told = json.loads(CliRunner().invoke(app, ["inspect", "--json", str(path)]).stdout)
    assert told["files"][0]["file_type"] == kind


def test_progress_goes_from_nothing_to_all(large_source: Path, tmp_path: Path) -> None:
    monitor = _core.Monitor()
    seen = [monitor.progress]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(monitor.progress)

    watcher = threading.Thread(target=watch)
    watcher.start()
    destination = str(tmp_path / "small.gguf")
    _core.quantize(str(large_source), destination, "Q8_0", 1, False, monitor)
    done.set()
    watcher.join()
    assert seen[0] == 0
    assert monitor.progress == 1
    assert seen == sorted(seen)
    assert any(0 < progress < 1 for progress in seen)


# --- what is refused ----------------------------------------------------------------------------


def test_a_destination_is_replaced_only_when_asked(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"small\.gguf"):
        quantize(source, path, "Q8_0")
    assert path.read_bytes() == b"precious"
    assert quantize(source, path, "Q8_0", overwrite=True) == path
    assert path.read_bytes()[:4] == b"GGUF"


def test_the_source_is_no_destination(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    link = tmp_path / "link.gguf"
    link.symlink_to(source)
    for destination in (source, link):
        with pytest.raises(ValueError, match="over itself"):
            quantize(source, destination, "Q8_0", overwrite=True)
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello", "not a GGUF"), (b"GGUF" + bytes(100), "damaged"), (None, "no such file")],
)
def test_a_bad_source_is_an_error_and_leaves_nothing(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    source = tmp_path / "source.gguf"
    if content is not None:
        source.write_bytes(content)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(ModelLoadError, match=message):
        quantize(source, folder / "small.gguf", "Q8_0")
    assert names_in(folder) == []


def test_a_source_that_ends_early_is_an_error(source: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    short.write_bytes(source.read_bytes()[:-1000])
    with pytest.raises(ModelLoadError, match=r"short\.gguf cannot be quantised"):
        quantize(short, tmp_path / "small.gguf", "Q8_0")
    assert names_in(tmp_path) == ["short.gguf"]


def test_unknown_types_and_folders_are_errors(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no type 'Q9'; choose one of .*Q4_0"):
        quantize(source, tmp_path / "small.gguf", "Q9")
    with pytest.raises(ValueError, match="n_threads must be at least 1, not 0"):
        quantize(source, tmp_path / "small.gguf", "Q8_0", n_threads=0)
    with pytest.raises(FileNotFoundError, match=r"no folder .*gone to write small\.gguf to"):
        quantize(source, tmp_path / "gone" / "small.gguf", "Q8_0")
    assert names_in(tmp_path) == []


def test_quantising_twice_has_to_be_allowed(source: Path, tmp_path: Path) -> None:
    once = quantize(source, tmp_path / "once.gguf", "Q8_0")
    with pytest.raises(
        ModelLoadError, match=r"Q4_0: llama_\w+: failed .* requantizing.*allow_requantize"
    ):
        quantize(once, tmp_path / "twice.gguf", "Q4_0")
    twice = quantize(once, tmp_path / "twice.gguf", "Q4_0", allow_requantize=True)
    assert distance(twice, source) < precision.of_weights(SPEC, "Q4_0")


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("room", [0.0, 0.02, 0.5, 0.999])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    large_source: Path, tmp_path: Path, room: float
) -> None:
    whole = quantize(large_source, tmp_path / "whole.gguf", "Q8_0").stat().st_size
    folder = tmp_path / "full"
    folder.mkdir()
    code = (
        "import resource, sys, rewardshift\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({int(whole * room)}, -1))\n"
        "try: rewardshift.quantize(sys.argv[1], sys.argv[2], 'Q8_0')\n"
        "except rewardshift.Error as error: print(type(error).__name__, error)\n"
    )
    done = run_python("-c", code, large_source, folder / "small.gguf")
    assert done.stdout.startswith("Error "), done.stderr
    assert "disk full" in done.stdout
    assert names_in(folder) == []


# --- cancelling ---------------------------------------------------------------------------------


def test_cancelling_ends_it_and_leaves_what_was_there(
    large_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"precious")

    def interrupted(done: threading.Event, monitor: _core.Monitor, *_: Any, **__: Any) -> None:
        while monitor.progress == 0 and not done.is_set():
            time.sleep(0.001)
        assert not done.is_set(), "quantising was done before it could be cancelled"
        raise KeyboardInterrupt

    monkeypatch.setattr("rewardshift.loading.watched._wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quantize(large_source, path, "Q4_K_M", n_threads=1, overwrite=True)
    assert path.read_bytes() == b"precious"
    assert names_in(tmp_path) == ["small.gguf"]


def test_a_cancelled_quantisation_is_a_cancelled_error(large_source: Path, tmp_path: Path) -> None:
    monitor = _core.Monitor()
    monitor.cancel()
    with pytest.raises(rewardshift.CancelledError, match="cancelled"):
        _core.quantize(str(large_source), str(tmp_path / "x.gguf"), "Q8_0", 2, False, monitor)
    _core.quantize(str(large_source), str(tmp_path / "x.gguf"), "Q8_0", 2, False, None)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_ends_the_command(large_source: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "rewardshift.cli", "quantize", "--type", "Q4_K_M", "-t", "1"),
            *(str(large_source), str(tmp_path / "small.gguf"), "--no-measure"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    while not list(tmp_path.glob(".rewardshift-*/*")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "rewardshift: interrupted\n"
    assert names_in(tmp_path) == []


# --- the command --------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(rewardshift.__file__).parents[1])}


def run_python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("REWARDSHIFT_CACHE_DIR", str(tmp_path / "cache"))

    def invoke(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["quantize", *map(str, arguments)])

    return invoke


def test_the_command_writes_and_says_what_verifying_costs(
    run: Callable[..., Any], source: Path, tmp_path: Path
) -> None:
    path = tmp_path / "small.gguf"
    result = run(source, path, "--type", "q8_0", "-t", 1)
    assert result.exit_code == 0, result.stderr
    assert path.exists()
    assert re.search(r"small\.gguf: Q8_0, [\d.]+ [kM]B", result.stdout)
    assert re.search(r"Q8_0 .* ms +(× [\d.]+ +){5}(fast|slowly)", result.stdout)
    again = run(source, path, "--type", "Q8_0")
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    forced = run(source, path, "--type", "F16", "--force", "--no-measure")
    assert forced.exit_code == 0
    assert "rows" not in forced.stdout


def test_the_command_compares_types_and_keeps_none(
    run: Callable[..., Any], source: Path, tmp_path: Path
) -> None:
    result = run(source, "--compare", "q4_0, Q8_0", "-t", 1)
    assert result.exit_code == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines() if "×" in line] == [
        *("Q4_0", "Q8_0"),
    ]
    assert re.search(r"Q\d_0 verifies 4 rows in the least time", " ".join(result.stdout.split()))
    assert names_in(tmp_path / "cache") == []
    measured = json.loads(run(source, "--compare", "Q8_0", "-t", 1, "--json").stdout)["types"]
    assert len(measured[0]["seconds_by_rows"]) == 16
    assert min(measured[0]["seconds_by_rows"]) > 0
    fast = measured[0]["seconds_by_rows"][3] < 1.6 * measured[0]["seconds_by_rows"][0]
    assert measured[0]["verifies_fast"] == fast


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no destination"),
        (("x.gguf", "--compare", "Q4_0"), "takes no destination"),
        (("--compare", "Q4_0,Q9"), "no type 'Q9'"),
        (("x.gguf", "--type", "Q9"), "no type 'Q9'"),
        (("x.gguf", "--type", ""), "no type ''"),
    ],
)
def test_the_command_explains_wrong_usage(
    run: Callable[..., Any], source: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run(source, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
