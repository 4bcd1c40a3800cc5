"""Features are the hidden states that rows of logits are made of, whoever asks how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import EvaluationError, ModelLoadError, TableModel
from tests.support import numpy_forward, precision
from tests.support.engine import open_context, rows, tokens_of
from tests.support.tiny_gguf import TinySpec
from tests.support.tiny_recurrent import RecurrentSpec, write_recurrent

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rewardshift import _core
    from tests.conftest import Files
    from tests.support.engine import History
    from tests.support.tiny_gguf import TinyModel

pytestmark = pytest.mark.numeric

ARCHITECTURES = ("llama", "qwen2", "olmo2")
RECURRENT = ("mamba2", "falcon-h1", "granitehybrid", "qwen3next", "qwen35", "rwkv7")
TOLERANCE = precision.of_logits(TinySpec())  # a feature has fewer sums than a logit


def told(context: _core.LanguageModel, *histories: History) -> NDArray[np.float32]:
    return context.features([(s, [int(t) for t in tokens], n) for s, tokens, n in histories])


def by_numpy(model: TinyModel, *histories: History) -> NDArray[np.float64]:
    weights = numpy_forward.effective_weights(model, None, 1.0)
    wanted = [
        numpy_forward.states(model, tokens, weights)[len(tokens) - n :]
        for _, tokens, n in histories
        if n > 0
    ]
    return np.concatenate([np.zeros((0, model.spec.n_embd)), *wanted])


def check(context: _core.Context, model: TinyModel, *histories: History) -> None:
    features = told(context, *histories)
    np.testing.assert_allclose(features, by_numpy(model, *histories), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_features_are_what_numpy_computes(files: Files, arch: str) -> None:
    model = files.model(arch=arch)
    context = open_context(model, features=True)
    histories = ((0, tokens_of(9, 1), 9), (2, tokens_of(11, 2), 1), (1, tokens_of(40, 3), 3))
    assert context.feature_size == model.spec.n_embd
    check(context, model, *histories)


@pytest.mark.parametrize("n_batch", [1, 3, 512])
@pytest.mark.parametrize("kv_unified", [False, True])
def test_chunks_and_kinds_of_cache_do_not_matter(
    files: Files, n_batch: int, *, kv_unified: bool
) -> None:
    model = files.model()
    context = open_context(
        model, features=True, n_batch=n_batch, kv_unified=kv_unified, n_ctx=2048, n_seq_max=3
    )
    check(context, model, (0, tokens_of(80, 1), 70), (1, tokens_of(23, 2), 23), (2, [3, 4], 1))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_histories_before_do_not_matter(files: Files, data: st.DataObject) -> None:
    """Whatever was asked before: taken back, forked, joined, freed."""
    model = files.model()
    context = open_context(model, features=True, n_seq_max=3)
    tokens = st.lists(st.integers(3, 5), max_size=12)
    for _ in range(6):
        sequences = data.draw(st.sets(st.integers(0, 2), min_size=1))
        histories = []
        for sequence in sorted(sequences):
            history = data.draw(tokens)
            histories.append((sequence, history, data.draw(st.integers(0, len(history)))))
        rows(context, *histories)
        before = context.evaluated_tokens
        check(context, model, *histories)
        assert context.evaluated_tokens == before


def test_logits_do_not_change(files: Files) -> None:
    model = files.model()
    histories = ((0, tokens_of(70, 1), 66), (1, tokens_of(9, 2), 2), (2, tokens_of(5, 3), 0))
    np.testing.assert_allclose(
        rows(open_context(model, features=True), *histories),
        rows(open_context(model), *histories),
        rtol=0,
        atol=TOLERANCE,
    )


@pytest.mark.parametrize("arch", RECURRENT)
def test_of_recurrent_states_too(tmp_path: Path, arch: str) -> None:
    """Their logits are the output layer's product with their features; drafts are taken back."""
    model = write_recurrent(tmp_path / "model.gguf", RecurrentSpec(arch=arch))
    tensors = {t.name: t.data for t in GGUFReader(model.path).tensors}
    context = open_context(model, features=True)
    for length in (8, 11, 7, 9, 9):
        history = (0, [int(t) for t in tokens_of(length, 1)], 4)
        other = (1, [int(t) for t in tokens_of(length, 2)], 1)
        logits = rows(context, history, other)
        product = told(context, history, other) @ tensors["output.weight"].T
        np.testing.assert_allclose(product, logits, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("arch", ["lfm2", "lfm2moe"])
def test_what_llama_cpp_tells_no_features_of_is_refused(tmp_path: Path, arch: str) -> None:
    model = write_recurrent(tmp_path / "model.gguf", RecurrentSpec(arch=arch))
    with pytest.raises(ModelLoadError, match=f"of {arch} llama.cpp tells logits or features"):
        open_context(model, features=True)


def test_other_histories_are_asked_for(files: Files) -> None:
    model = files.model()
    context = open_context(model, features=True)
    rows(context, (0, [3, 4, 5, 6], 2))
    check(context, model, (0, [3, 4, 5, 6], 3))
    check(context, model, (1, [3, 4, 5, 6], 1))
    check(context, model, (0, [3, 4, 5, 7], 2))


def test_a_failure_leaves_none_of_an_earlier_call(files: Files) -> None:
    model = files.model()
    context = open_context(model, features=True, n_ctx=16, n_seq_max=1)
    rows(context, (0, [3, 4, 5], 3))
    with pytest.raises(Exception, match="context"):
        rows(context, (0, tokens_of(400), 1))
    check(context, model, (0, [3, 4, 5], 3))


def test_features_cost_no_rows_that_nobody_wants(files: Files) -> None:
    """Two batches: one for what is only read, and one for the rows."""
    context = open_context(files.model(), features=True)
    told(context, (0, tokens_of(40), 4))
    assert (context.evaluated_tokens, context.evaluated_batches) == (40, 2)


def test_a_model_without_them_says_so(files: Files) -> None:
    context = open_context(files.model())
    assert context.feature_size == 0
    with pytest.raises(ValueError, match="tells no features"):
        told(context, (0, [3], 1))


def test_a_table_tells_those_of_its_rows() -> None:
    features = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    table = TableModel(np.zeros((3, 3), dtype=np.float32), order=1, features=features, fails_on={2})
    np.testing.assert_array_equal(told(table, (0, [0, 1], 2), (1, [1], 1)), features[[0, 1, 1]])
    with pytest.raises(EvaluationError):
        told(table, (0, [2], 1))
    with pytest.raises(ValueError, match="values of features"):
        TableModel(np.zeros((3, 3), dtype=np.float32), order=1, features=features[:2])
