"""Heads that draft, as files: what they say of a GGUF target, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, ModelLoadError, Shift, _core
from tests.support import numpy_forward, precision
from tests.support.engine import EXACT, alone_and_together, open_context, tokens_of
from tests.support.heads import BaseHead, Head
from tests.support.tiny_gguf import TinySpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Files
    from tests.support.tiny_gguf import TinyModel

TOLERANCE = 10 * precision.of_logits(TinySpec())


def head_for(model: TinyModel, *, known: int | None = None) -> BaseHead:
    return BaseHead.random(model.spec.n_embd, model.spec.n_vocab, known=known, seed=1)


def open_drafted(model: TinyModel, file: Path, **options: Any) -> Decoder:
    return Decoder(model.path, base=file, progress=False, **{**EXACT, **options})


@pytest.mark.numeric
@pytest.mark.parametrize("arch", ["llama", "qwen2", "olmo2"])
def test_rows_are_what_numpy_makes_of_the_targets_states(
    files: Files, tmp_path: Path, arch: str
) -> None:
    """Drafts are read from what the target told of a block, whatever became of the block."""
    model = files.model(arch=arch)
    head = head_for(model, known=9)
    context = open_context(model, features=True)
    file = head.write(tmp_path / "head.gguf")
    drafting = _core.BaseHeadModel(context, _core.read_head(str(file)).head)
    weights = numpy_forward.effective_weights(model, None, 1.0)
    tokens = tokens_of(24, 1)
    before = context.evaluated_tokens
    context.logits([(0, tokens[:12], 4)])
    assert context.evaluated_tokens - before == 12
    for accepted in range(4):
        history = [*tokens[: 9 + accepted], 3]
        states = numpy_forward.states(model, history, weights)
        told = {length: states[length - 1] for length in range(1, len(history) + 1)}
        for drafts in ([], [4], [4, 2, 5]):
            row = drafting.drafted_logits([(0, history + drafts, 1)], [len(drafts)])[0]
            wanted = head.row(told, history + drafts, len(drafts))
            np.testing.assert_allclose(row, wanted, rtol=0, atol=TOLERANCE)
    assert context.evaluated_tokens - before == 12


@pytest.mark.parametrize("options", [{}, {"tree_width": 2}, {"deterministic": True}])
def test_greedy_text_is_the_targets_own(
    files: Files, tmp_path: Path, options: dict[str, Any]
) -> None:
    model, q, r = (files.model(seed=seed) for seed in (0, 1, 2))
    file = head_for(model).write(tmp_path / "head.gguf")
    asked = {"max_tokens": 14, "temperature": 0, "seed": 1}
    shifts = {"ours": Shift(q.path, r.path, strength=0.5)}
    with (
        Decoder(model.path, shifts=shifts, base=file, progress=False, **EXACT) as decoder,
        Decoder(model.path, shifts=shifts, progress=False, **EXACT) as without,
    ):
        for strength in (0.0, 0.5):
            prompt = tokens_of(6, 2)
            drafted = decoder.generate(
                prompt, num_draft_tokens=3, strength=strength, **asked, **options
            )
            plain = without.generate(prompt, num_draft_tokens=0, strength=strength, **asked)
            assert drafted.tokens == plain.tokens
            assert drafted.statistics.drafted > 0


def test_a_seed_gives_its_text_whoever_is_beside_it(files: Files, tmp_path: Path) -> None:
    file = head_for(files.model()).write(tmp_path / "head.gguf")
    with open_drafted(files.model(), file, n_ctx=1024) as decoder:
        alone, together = alone_and_together(decoder, [tokens_of(8, seed) for seed in range(5)])
        assert together == alone


def test_both_kinds_of_head_serve_one_target(files: Files, tmp_path: Path) -> None:
    model = files.model()
    shift = Head.random(model.spec.n_embd, model.spec.n_vocab).write(tmp_path / "shift.gguf")
    base = head_for(model).write(tmp_path / "base.gguf")
    asked = {"max_tokens": 12, "temperature": 0, "seed": 1}
    prompt = tokens_of(6, 2)
    with open_drafted(model, base, shift=Shift(head=shift)) as decoder:
        drafted = decoder.generate(prompt, num_draft_tokens=3, **asked)
        plain = decoder.generate(prompt, num_draft_tokens=0, **asked)
        assert drafted.tokens == plain.tokens
        assert drafted.statistics.drafted > 0
        assert "base" not in decoder.files
        with pytest.raises(ValueError, match="there is no 'base' here"):
            decoder.alone("base")


def test_a_head_reads_what_the_target_reads(files: Files, tmp_path: Path) -> None:
    file = head_for(files.model()).write(tmp_path / "head.gguf")
    with (
        open_drafted(files.model(), file) as decoder,
        pytest.raises(ValueError, match="draft_prompt needs a draft model"),
    ):
        decoder.generate([1, 2], draft_prompt=[1, 3])


def test_each_kind_says_what_it_is_for(files: Files, tmp_path: Path) -> None:
    model = files.model()
    shift = Head.random(model.spec.n_embd, model.spec.n_vocab).write(tmp_path / "shift.gguf")
    base = head_for(model).write(tmp_path / "base.gguf")
    with pytest.raises(ModelLoadError, match="shifts, and drafts nothing: give it as a shift"):
        open_drafted(model, shift)
    with pytest.raises(ModelLoadError, match="drafts, and no shift: give it as a base"):
        Decoder(model.path, shift=Shift(head=base), progress=False, **EXACT)


def without(name: str) -> dict[str, object]:
    return {name: None}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (without("hidden_length"), "no rewardshift-head.hidden_length of at least 1"),
        ({"feature_length": 3}, "no tensor output.weight of type i8"),
        ({"hidden_length": 2**31}, "no tensor mix.weight of type i8"),
        (without("tokens"), "no tensor tokens of type i32"),
        ({"tokens": np.arange(12, dtype=np.float32)}, "no tensor tokens of type i32"),
        ({"tokens": np.zeros(12, np.int32)}, "tokens ascend"),
        ({"keep": np.full(32, np.nan, np.float32)}, "keep is not finite"),
    ],
)
def test_a_damaged_head_is_refused(
    files: Files, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    model = files.model()
    file = head_for(model, known=12).write(tmp_path / "head.gguf", **changed)
    with pytest.raises(ModelLoadError, match=said):
        open_drafted(model, file)


def test_a_head_that_was_cut_short_is_refused(
    files: Files, tmp_path: Path, new_file: Callable[[bytes], Path]
) -> None:
    whole = head_for(files.model()).write(tmp_path / "head.gguf").read_bytes()
    for size in range(0, len(whole) - 32, 997):
        with pytest.raises(ModelLoadError):
            _core.read_head(str(new_file(whole[:size])))


def test_a_head_for_another_target_says_so(files: Files, tmp_path: Path) -> None:
    model = files.model()
    file = BaseHead.random(model.spec.n_embd + 1, model.spec.n_vocab).write(tmp_path / "head.gguf")
    with pytest.raises(ValueError, match="the head is for a target with features of"):
        open_drafted(model, file)
