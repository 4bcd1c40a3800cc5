"""Whichever kernels the processor is given, logits are those of the weights in the file.

llama.cpp multiplies by weights of few bits in many ways: row by row or by tiles, in the order of
the file or in one of its own, as the processor, the type of the weights and the number of rows
have it. All of them round the activations, block by block, to the precision of the weights' kind,
and nothing else: numpy does the same here, and what it costs there is what it may cost here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from rewardshift import _core, quantize
from tests.support import numpy_forward, precision
from tests.support.engine import open_context, rows
from tests.support.tiny_gguf import TinySpec, spm_vocab, write_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.tiny_gguf import TinyModel

pytestmark = pytest.mark.numeric

SPEC = TinySpec(vocab=spm_vocab(96), n_embd=256, n_ff=512)
"""Columns in blocks of 256 and rows in blocks of 32: what any kernel could ask for."""

BEFORE = 7
LENGTHS = (1, 2, 3, 4, 5, 8, 16, 33, 64)
TOKENS = [int(t) for t in np.random.default_rng(0).integers(3, 96, BEFORE + max(LENGTHS))]


@dataclass(frozen=True)
class Quantised:
    """A model with weights of one type, and what is to be expected of it after TOKENS.

    Attributes:
        model: Its weights are those that the file stands for.
        logits: Of these weights, in float64.
        most: How far off a row of logits may be: the root of the mean square.
    """

    model: TinyModel
    logits: NDArray[np.float64]
    most: float


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return write_model(tmp_path_factory.mktemp("source") / "f32.gguf", SPEC)


@pytest.fixture(scope="module", params=_core.quantization_types())
def quantised(
    request: pytest.FixtureRequest, source: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> Quantised:
    path = quantize(source.path, tmp_path_factory.mktemp("types") / "q.gguf", request.param)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    weights = {
        name: gguf.dequantize(tensor.data, tensor.tensor_type).reshape(source.weights[name].shape)
        for name, tensor in tensors.items()
    }
    model = replace(source, path=path, weights=weights)
    logits = numpy_forward.logits(model, TOKENS)
    rounded = numpy_forward.logits(
        model, TOKENS, rounded=lambda name, x: as_multiplied(x, tensors[name].tensor_type)
    )
    # Rows differ in how much rounding costs them, by up to 1.5 times the mean.
    return Quantised(
        model, logits, 2 * root_mean_square(rounded - logits) + precision.of_logits(SPEC)
    )


def as_multiplied(x: NDArray[np.float64], kind: gguf.GGMLQuantizationType) -> NDArray[np.float64]:
    """Activations as a kernel for weights of this kind has them: in 8 bits a block, or in 16."""
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    if block == 1:
        return gguf.dequantize(gguf.quantize(x.astype(np.float32), kind), kind).astype(np.float64)
    blocks = x.reshape(-1, block)
    steps = np.abs(blocks).max(axis=1, keepdims=True) / 127
    return (np.round(blocks / steps) * steps).reshape(x.shape)


def root_mean_square(x: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(x).mean()))


def worst_row(found: NDArray[np.float32], wanted: NDArray[np.float64]) -> float:
    return max(root_mean_square(row) for row in found - wanted)


@pytest.mark.parametrize("n", LENGTHS)
def test_logits_are_those_of_the_weights_in_the_file(quantised: Quantised, n: int) -> None:
    context = open_context(quantised.model)
    rows(context, (0, TOKENS[:BEFORE], 0))
    found = rows(context, (0, TOKENS[: BEFORE + n], n))
    assert context.evaluated_tokens == BEFORE + n  # all n of them at once
    assert worst_row(found, quantised.logits[BEFORE : BEFORE + n]) < quantised.most


@pytest.mark.parametrize("quantised", ["Q8_0", "Q6_K"], indirect=True)
def test_a_tile_that_is_left_out_of_any_matrix_would_be_noticed(quantised: Quantised) -> None:
    """16 rows by 32 columns, as AMX has them; activations in blocks of 32, and of 256."""
    found = rows(open_context(quantised.model), (0, TOKENS, len(TOKENS)))
    assert worst_row(found, quantised.logits) < quantised.most
    for name, weight in quantised.model.weights.items():
        if weight.ndim == 2 and name != "token_embd.weight":  # that one is only looked up
            lacking = weight.copy()
            lacking[16:32, 64:96] = 0
            other = replace(quantised.model, weights={**quantised.model.weights, name: lacking})
            wrong = numpy_forward.logits(other, TOKENS)
            assert worst_row(found, wrong) > quantised.most, name
