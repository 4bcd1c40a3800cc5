"""``rewardshift bench`` and the stand-ins of ``benchmarks/``: what they say holds together."""

from __future__ import annotations

import json
import math
import re
import statistics
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.stand_ins import deepened, layer_count, sliced, widened
from rewardshift import Decoder
from rewardshift.bench import Range, Sample, interleave, measure_pairs, ratios
from rewardshift.cli.app import app
from tests.support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab, spm_vocab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Files

VOCAB = spm_vocab(byte_tokens=True)
TOKENS = 12


@pytest.fixture
def model_flags(files: Files) -> list[str]:
    target, draft, reference = files.trio(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
    paths = ("-m", target.path, "-md", draft.path, "--reference", reference.path)
    return [*map(str, paths), "-t", "1"]


@pytest.fixture
def bench() -> Callable[..., tuple[int, str, Any]]:
    """Runs ``rewardshift bench`` with little to do: exit code, output, JSON."""

    def run(*arguments: object) -> tuple[int, str, Any]:
        little = ("-n", TOKENS, "--repeat", 2, "--json")
        words = ["bench", *map(str, (*little, *arguments))]
        result = CliRunner().invoke(app, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        found = json.loads(result.stdout) if result.stdout else None
        return result.exit_code, result.stdout + result.stderr, found

    return run


@pytest.mark.slow
def test_bench_measures_everything_the_models_can_do(
    bench: Callable[..., tuple[int, str, Any]], model_flags: list[str], tmp_path: Path
) -> None:
    picture = tmp_path / "speed.png"
    some = ("--draft-lengths", "1,3", "--concurrency", "1,3")
    code, out, report = bench(*model_flags, *some, "--plot", picture)
    assert code == 0, out
    assert list(report["sections"]) == ["aligned", "lossless", "concurrent", "memory"]
    for text in ("pi*", "lossless", "three models", "adaptive", "concurrent requests", "memory"):
        assert text in out
    assert picture.read_bytes().startswith(b"\x89PNG")

    for section, extra in (("aligned", ["three models"]), ("lossless", [])):
        ways = report["sections"][section]["ways"]
        assert list(ways) == ["target only", *extra, "K=1", "K=3", "adaptive"]
        for way in ways.values():
            check_speed(way, ways)

    for by_count in report["sections"]["concurrent"]["ways"].values():
        assert list(by_count) == ["1", "3"]
        for counted in by_count.values():
            assert [s["tokens"] for s in counted["samples"]] == [3 * TOKENS] * 2
        assert by_count["1"]["gain"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def check_speed(way: dict[str, Any], ways: dict[str, Any]) -> None:
    """Lengths are equal, shares are shares, and ratios are those of the samples."""
    for sample in way["samples"]:
        assert sample["tokens"] == 4 * TOKENS
        assert 0 < sample["later_tokens"] <= sample["tokens"] - 4
        assert 0 < sample["later_seconds"] < sample["seconds"]
        assert sample["accepted"] <= sample["drafted"] <= 3 * sample["rounds"]
        if way["draft_length"] is not None:
            assert sample["drafted"] <= way["draft_length"] * sample["rounds"]
    assert 0 < way["model_share"] < 1
    speeds = [s["later_tokens"] / s["later_seconds"] for s in way["samples"]]
    assert math.isclose(way["speed"]["median"], statistics.median(speeds))
    for base, ratio in way["ratios"].items():
        others = [s["later_tokens"] / s["later_seconds"] for s in ways[base]["samples"]]
        assert math.isclose(ratio["low"], min(a / b for a, b in zip(speeds, others, strict=True)))


def test_memory_counts_a_shared_file_once(
    bench: Callable[..., tuple[int, str, Any]], files: Files
) -> None:
    target, draft, _ = files.trio(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
    roles = ("-m", target.path, "-md", draft.path, "--reference", draft.path)
    code, out, report = bench(*roles, "-t", 1, "-c", 256, "--only", "memory")
    assert code == 0, out
    memory = report["sections"]["memory"]
    sizes = target.path.stat().st_size + draft.path.stat().st_size
    assert memory["files"] == sizes
    heads = target.spec.n_head_kv * target.spec.n_embd // target.spec.n_head
    cache = 3 * 2 * 2 * 256 * heads * target.spec.n_layer  # roles, K and V, bytes, cells
    assert abs(memory["needed"] - sizes - cache) < 3 * 0.01 * 2**20  # the log has two decimals
    for sample in memory["samples"]:
        assert 0 < sample["start"] < sample["peak"]


def test_a_target_alone_is_measured_too(
    bench: Callable[..., tuple[int, str, Any]], model_flags: list[str], tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ab cd\n\ncd ab\n", encoding="utf-8")
    alone = model_flags[:2]
    code, out, report = bench(*alone, "-t", 1, "--only", "concurrent", "--prompts", prompts)
    assert code == 0, out
    assert list(report["sections"]["concurrent"]["ways"]) == ["target only"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "lossless"], "needs a draft"),
        (["--only", "everything"], "none of aligned, lossless, concurrent, memory"),
        (["-md", "draft.gguf", "--draft-lengths", "1,x"], "'1,x'"),
        (["--concurrency", "0"], "above 0"),
        (["--repeat", "0"], "--repeat"),
        (["-n", "1"], "--max-tokens"),
        (["--plot", "speed.png"], "--plot needs aligned or lossless"),
        (["--only", "memory", "--draft-lengths", "1"], "--draft-lengths needs aligned or lossless"),
        (["--only", "memory", "--concurrency", "1"], "--concurrency needs concurrent"),
        (["-K", "1,3"], "--draft-lengths says which"),
        (["report.json"], "bench --json > FILE"),
    ],
)
def test_what_cannot_be_measured_is_wrong_usage(
    bench: Callable[..., tuple[int, str, Any]],
    model_flags: list[str],
    arguments: list[str],
    complaint: str,
) -> None:
    code, out, _ = bench(*model_flags[:2], *arguments)
    assert (code, complaint in out) == (2, True), out


def test_a_plot_without_matplotlib_says_what_to_install(
    bench: Callable[..., tuple[int, str, Any]],
    model_flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, report = bench(*model_flags, "--plot", tmp_path / "speed.png")
    assert (code, report) == (1, None)
    assert "rewardshift[plot]" in out


def test_interleaving_takes_turns_and_drops_the_warm_up() -> None:
    calls: list[str] = []

    def way(name: str) -> Callable[[], int]:
        return lambda: calls.append(name) or len(calls)

    results = interleave({name: way(name) for name in "abc"}, repeat=2)
    assert "".join(calls) == "abcabcbca"
    assert results == {"a": [4, 9], "b": [5, 7], "c": [6, 8]}


def test_ratios_are_taken_repetition_by_repetition() -> None:
    found = Range.of(ratios([10, 40, 12], [5, 20, 4]))
    assert (found.median, found.low, found.high) == (2, 2, 3)
    assert f"{found:.1f}" == "2.0 (2.0–3.0)"
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


# --- stand-ins ----------------------------------------------------------------------------------


def logprobs(path: Path) -> np.ndarray:
    with Decoder(path, n_ctx=64, n_threads=1) as decoder:
        return decoder.score("ab cd", " ab cd ab").target_logprobs


@pytest.mark.parametrize("arch", ["llama", "qwen2"])
def test_a_deepened_model_is_the_same_function(files: Files, tmp_path: Path, arch: str) -> None:
    original = files.model(arch=arch, vocab=VOCAB).path
    deep = deepened(original, tmp_path / "deep.gguf", 5)
    assert (layer_count(original), layer_count(deep)) == (2, 5)
    assert deep.stat().st_size > original.stat().st_size
    np.testing.assert_array_equal(logprobs(deep), logprobs(original))


def test_a_sliced_model_has_fewer_layers_and_differs(files: Files, tmp_path: Path) -> None:
    original = files.model(vocab=VOCAB, n_layer=4).path
    shallow = sliced(original, tmp_path / "shallow.gguf", 2)
    assert layer_count(shallow) == 2
    assert not np.allclose(logprobs(shallow), logprobs(original))
    whole = sliced(original, tmp_path / "whole.gguf", 4)
    np.testing.assert_array_equal(logprobs(whole), logprobs(original))


def test_layers_that_are_not_there_cannot_be_kept(files: Files, tmp_path: Path) -> None:
    original = files.model(vocab=VOCAB).path
    for make, layers in ((sliced, 3), (sliced, 0), (deepened, 1)):
        with pytest.raises(ValueError, match=re.escape(f"{layers} is")):
            make(original, tmp_path / "no.gguf", layers)


def test_new_tokens_are_as_likely_as_the_last_one(files: Files, tmp_path: Path) -> None:
    original = files.model(arch="qwen2", vocab=bpe_vocab(), n_layer=1).path
    with Decoder(original, n_ctx=64, n_threads=1) as decoder:
        size = decoder.vocab_size
    wide = widened(original, tmp_path / "wide.gguf", size + 50)
    with Decoder(wide, n_ctx=64, n_threads=1) as decoder:
        assert decoder.vocab_size == size + 50
        spelled = decoder.tokenize("ab", add_special=False)
        scores = [decoder.score(spelled, [x]).target_logprob for x in range(size - 1, size + 50)]
        assert len({decoder._engine.core.piece(x) for x in range(size + 50)}) >= 50 + 256
    assert max(scores) - min(scores) < 1e-5
    with pytest.raises(ValueError, match="tokens already"):
        widened(original, tmp_path / "no.gguf", size - 1)
    with pytest.raises(ValueError, match="byte-level BPE"):
        widened(files.model(vocab=VOCAB).path, tmp_path / "no.gguf", size + 50)


@pytest.mark.real_model
def test_a_deepened_quantised_model_is_the_same_function(
    smollm2: tuple[str, str], tmp_path: Path
) -> None:
    from pathlib import Path

    for source in map(Path, smollm2):  # Q4_1, and Q4_0, whose rows the processor repacks
        deep = deepened(source, tmp_path / "deep.gguf", 32)
        np.testing.assert_array_equal(logprobs(deep), logprobs(source))


def test_two_ways_are_compared_setting_by_setting() -> None:
    slow, fast = sample(speed=10.0), sample(speed=15.0)
    runs = {"K=3": (lambda: slow, lambda: fast), "K=7": (lambda: fast, lambda: slow)}
    report = measure_pairs("ways", ("one", "other"), runs, repeat=2)
    assert [report.gain(k).median for k in runs] == pytest.approx([1.5, 1 / 1.5])
    made = report.as_object()
    assert json.dumps(made)
    assert made["ways"] == ["one", "other"]
    (shown,) = report.tables()
    assert shown.row_count == 2


def sample(*, speed: float) -> Sample:
    return Sample(
        tokens=31,
        seconds=31 / speed,
        later_tokens=30,
        later_seconds=30 / speed,
        rounds=10,
        drafted=30,
        accepted=20,
        target=1.0,
        draft=0.5,
        reference=0.0,
        own=0.1,
    )
