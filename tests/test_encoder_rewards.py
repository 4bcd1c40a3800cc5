"""Encoders with a classification head are rewards, say what the model says, and nothing else."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import (
    ChatTemplateError,
    ContextOverflowError,
    Decoder,
    HeadWarning,
    ModelLoadError,
    _core,
    quantize,
)
from rewardshift.rewards import GGUFRewardModel
from tests.support import precision
from tests.support.numpy_encoder import head_outputs
from tests.support.tiny_encoder import ENCODERS, EncoderSpec, write_encoder
from tests.support.tiny_gguf import bpe_vocab, spm_vocab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tiny_encoder import Encoder, TinyEncoder

LOADING: dict[str, Any] = {"n_threads": 1}
ROBERTA = replace(spm_vocab(24, add_eos=True), model="t5", add_sep=True)
MODERN = replace(bpe_vocab(add_bos=True), eos=2, add_eos=True, add_sep=True)
EXCHANGES = [("ab cd", "a b"), ("ab", ""), ("", "cd ab"), ("a b", "ab cd"), ("a" * 20, "cd " * 15)]


def ids(model: TinyEncoder, text: str) -> list[int]:
    """What a text is in tokens, without any around it."""
    loaded = _core.Model.load(str(model.path), _core.ModelOptions(), None)
    return list(loaded.tokenize(text, False, False))


def pair(model: TinyEncoder, prompt: str, response: str) -> tuple[list[int], list[int]]:
    """The tokens of an exchange, and the segment that each belongs to."""
    begin, end = model.spec.vocab.bos, model.spec.vocab.eos
    first = [begin, *ids(model, prompt), end]
    second = [*ids(model, response), end]
    if model.spec.vocab == ROBERTA:
        return [*first, end, *second], [0] * (len(first) + 1 + len(second))
    told_apart = model.spec.vocab.model == "bert" and model.spec.segments > 1
    return [*first, *second], [0] * len(first) + [int(told_apart)] * len(second)


SPECS = {
    "BERT": EncoderSpec(classes=("no", "yes", "maybe")),
    "BERT of one segment": EncoderSpec(segments=1),
    "RoBERTa": EncoderSpec(vocab=ROBERTA, segments=1, classes=("no", "yes")),
    "RoBERTa with a spare segment": EncoderSpec(vocab=ROBERTA),
    "Jina's": EncoderSpec(arch="jina-bert-v2"),
    "Jina's of byte pairs": EncoderSpec(
        arch="jina-bert-v2", vocab=replace(MODERN, add_sep=False), n_ctx_train=256
    ),
    "ModernBERT": EncoderSpec(arch="modern-bert", vocab=MODERN, classes=("no", "yes")),
    "ModernBERT by its first token": EncoderSpec(arch="modern-bert", vocab=MODERN, mean=False),
    "ModernBERT without a dense layer": EncoderSpec(
        arch="modern-bert", vocab=MODERN, dense=False, window=6
    ),
    "NeoBERT": EncoderSpec(arch="neo-bert", classes=("no", "yes")),
}


@pytest.mark.numeric
@pytest.mark.parametrize("name", SPECS)
def test_an_encoder_scores_a_pair_as_its_head_does(tmp_path: Path, name: str) -> None:
    model = write_encoder(tmp_path / "reward.gguf", replace(SPECS[name], n_ctx_train=128))
    close = precision.of_encoder_scores(model.spec)
    expected = [
        head_outputs(model, *pair(model, prompt, response)) for prompt, response in EXCHANGES
    ]
    for label in model.spec.classes or (0,):
        reward = GGUFRewardModel(model.path, label=label, **LOADING)
        output = reward.labels.index(label) if isinstance(label, str) else label
        found = reward(EXCHANGES)
        assert found == pytest.approx([row[output] for row in expected], abs=close)
        assert max(found) - min(found) > 5 * close


def test_what_is_said_of_an_exchange_does_not_depend_on_others(tmp_path: Path) -> None:
    model = write_encoder(tmp_path / "reward.gguf", EncoderSpec(n_ctx_train=2048))
    reward = GGUFRewardModel(model.path, **LOADING)
    alone = [reward([exchange])[0] for exchange in EXCHANGES]
    long = ("ab " * 300, "cd " * 400)  # for which a larger context is made
    assert reward([*EXCHANGES, long, *EXCHANGES[::-1]]) == [*alone, reward([long])[0], *alone[::-1]]
    assert reward([]) == []


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("arch", ["bert", "jina-bert-v2"])
def test_embeddings_looked_up_for_two_segments_are_llama_cpps(
    tmp_path: Path, arch: Encoder, kind: str
) -> None:
    """Two segments of one vector are one segment, whose embeddings llama.cpp looks up itself."""
    wide = {"n_embd": 64, "n_ff": 96}  # several blocks of a quantised type
    one = write_encoder(tmp_path / "one.gguf", EncoderSpec(arch=arch, segments=1, **wide))
    weights = {**one.weights, "token_types.weight": one.weights["token_types.weight"].repeat(2, 0)}
    two = write_encoder(tmp_path / "two.gguf", replace(one.spec, segments=2), weights)
    found = []
    for model in (one, two):
        smaller = model.path.with_name(f"{kind}-{model.path.name}")
        quantize(model.path, smaller, kind)
        found.append(GGUFRewardModel(smaller, **LOADING)(EXCHANGES))
    assert found[0] == pytest.approx(found[1])
    assert found[0] != pytest.approx(GGUFRewardModel(one.path, **LOADING)(EXCHANGES))


@pytest.mark.parametrize("arch", ENCODERS)
def test_a_head_of_one_output_may_be_in_halves(tmp_path: Path, arch: Encoder) -> None:
    """A matrix of one row, which llama.cpp's converter takes for a matrix."""
    whole = write_encoder(tmp_path / "whole.gguf", EncoderSpec(arch=arch))
    weights: dict[str, Any] = dict(whole.weights)
    head = "cls.weight" if arch == "jina-bert-v2" else "cls.output.weight"
    weights[head] = weights[head].astype(np.float16)
    halves = write_encoder(tmp_path / "halves.gguf", whole.spec, weights)
    found = GGUFRewardModel(halves.path, **LOADING)(EXCHANGES)
    expected = GGUFRewardModel(whole.path, **LOADING)(EXCHANGES)
    close = precision.of_encoder_scores(whole.spec)
    assert found == pytest.approx(expected, abs=close + precision.SIGMAS * precision.FLOAT16 * 1.5)


def test_the_response_alone_is_read_by_a_form(tmp_path: Path) -> None:
    model = write_encoder(tmp_path / "reward.gguf", EncoderSpec())
    close = precision.of_encoder_scores(model.spec)
    tokens = [model.spec.vocab.bos, *ids(model, "cd ab"), model.spec.vocab.eos]
    expected = head_outputs(model, tokens, [0] * len(tokens))[0]
    found = GGUFRewardModel(model.path, form="{response}", **LOADING)(
        [("a", "cd ab"), ("b", "cd ab")]
    )
    assert found == pytest.approx([expected, expected], abs=close)
    written_out = GGUFRewardModel(model.path, form="[CLS]{prompt}[SEP]{response}[SEP]", **LOADING)
    paired = GGUFRewardModel(model.path, **LOADING)
    assert written_out(EXCHANGES) == paired(EXCHANGES)


def test_separators_in_a_text_are_text(tmp_path: Path) -> None:
    model = write_encoder(tmp_path / "reward.gguf", EncoderSpec())
    assert model.spec.vocab.eos not in ids(model, "a[SEP]b")
    reward = GGUFRewardModel(model.path, **LOADING)
    tokens, segments = pair(model, "a[SEP]b", "cd")
    close = precision.of_encoder_scores(model.spec)
    expected = head_outputs(model, tokens, segments)[0]
    assert reward([("a[SEP]b", "cd")]) == pytest.approx([expected], abs=close)


@pytest.mark.parametrize("arch", ENCODERS)
def test_a_text_longer_than_an_encoder_was_trained_for_is_refused(
    tmp_path: Path, arch: Encoder
) -> None:
    model = write_encoder(tmp_path / "reward.gguf", EncoderSpec(arch=arch))
    reward = GGUFRewardModel(model.path, **LOADING)
    assert len(reward([("ab", "cd " * 58)])) == 1
    with pytest.raises(
        ContextOverflowError, match=r'has 65 tokens; .* trained for 64 .*"{response}"'
    ):
        reward([("a", "b"), ("ab cd", "cd " * 60)])
    less = GGUFRewardModel(model.path, n_ctx=16, **LOADING)
    with pytest.raises(ContextOverflowError, match=r"the context holds 16 \(raise n_ctx\)"):
        less([("ab", "cd " * 20)])


def test_an_encoder_with_a_table_of_positions_has_no_more_of_them(tmp_path: Path) -> None:
    table = write_encoder(tmp_path / "bert.gguf", EncoderSpec())
    with pytest.raises(ValueError, match=r"n_ctx must be at most 64, .* not 65"):
        GGUFRewardModel(table.path, n_ctx=65, **LOADING)
    computed = write_encoder(tmp_path / "neo.gguf", EncoderSpec(arch="neo-bert"))
    assert GGUFRewardModel(computed.path, n_ctx=512, **LOADING)([("ab", "cd " * 400)])


def test_a_head_whose_dense_layer_may_have_been_left_out_is_a_warning(tmp_path: Path) -> None:
    model = write_encoder(tmp_path / "reward.gguf", EncoderSpec(dense=False))
    with pytest.warns(HeadWarning, match=r"no dense layer \(cls.weight\) .*left it out"):
        reward = GGUFRewardModel(model.path, **LOADING)
    expected = head_outputs(model, *pair(model, *EXCHANGES[0]))
    close = precision.of_encoder_scores(model.spec)
    assert reward(EXCHANGES[:1]) == pytest.approx(expected, abs=close)
    for arch in ENCODERS[1:]:
        other = write_encoder(tmp_path / f"{arch}.gguf", EncoderSpec(arch=arch, dense=False))
        with warnings.catch_warnings(action="error"):
            GGUFRewardModel(other.path, **LOADING)


def test_an_encoder_without_a_separator_needs_a_form(tmp_path: Path) -> None:
    vocab = bpe_vocab(add_bos=True)
    model = write_encoder(tmp_path / "reward.gguf", EncoderSpec(arch="modern-bert", vocab=vocab))
    with pytest.raises(ChatTemplateError, match=r"no token that separates two texts; .* form="):
        GGUFRewardModel(model.path, **LOADING)
    assert GGUFRewardModel(model.path, form="{prompt} {response}", **LOADING)([("ab", "cd")])


def test_an_encoder_is_no_target_and_no_draft(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "reward.gguf", EncoderSpec()).path
    with pytest.raises(ModelLoadError, match=r"is an encoder .* it is a reward \(classifier:FILE"):
        Decoder(path)


def test_an_encoder_without_a_head_is_refused(tmp_path: Path) -> None:
    model = write_encoder(tmp_path / "reward.gguf", EncoderSpec())
    weights = {name: value for name, value in model.weights.items() if "cls" not in name}
    headless = write_encoder(tmp_path / "embeddings.gguf", model.spec, weights)
    with pytest.raises(
        ModelLoadError, match=r"without a classification head \(cls.output.weight\)"
    ):
        GGUFRewardModel(headless.path, **LOADING)


# --- against transformers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["BERT", "BERT of one segment", "RoBERTa", "ModernBERT", "ModernBERT by its first token"],
)
def test_scores_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    pytest.importorskip("transformers")
    from tests.support.torch_encoders import TorchEncoder

    model = write_encoder(tmp_path / "reward.gguf", replace(SPECS[name], n_ctx_train=128))
    theirs = TorchEncoder(model)
    expected = [theirs(*pair(model, *exchange)) for exchange in EXCHANGES]
    close = precision.of_encoder_scores(model.spec)
    for output in range(model.spec.outputs):
        found = GGUFRewardModel(model.path, label=output, **LOADING)(EXCHANGES)
        assert found == pytest.approx([row[output] for row in expected], abs=close)
