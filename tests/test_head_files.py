"""Heads as files: what they do to a GGUF target, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, ModelLoadError, Shift, _core
from rewardshift.rewards import ImplicitReward
from tests.support import numpy_forward, precision
from tests.support.engine import EXACT, alone_and_together, tokens_of
from tests.support.enumerate_law import goal
from tests.support.heads import Head
from tests.support.tiny_gguf import TinySpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Files
    from tests.support.tiny_gguf import TinyModel

TOLERANCE = precision.of_logits(TinySpec())


def head_for(model: TinyModel, *, seed: int = 1) -> Head:
    return Head.random(model.spec.n_embd, model.spec.n_vocab, seed=seed)


def open_headed(model: TinyModel, file: Path, **options: Any) -> Decoder:
    return Decoder(model.path, shift=Shift(head=file), progress=False, **{**EXACT, **options})


def pi_star(model: TinyModel, head: Head, tokens: list[int], strength: float) -> np.ndarray:
    """The goal's logits after each token, from scratch."""
    weights = numpy_forward.effective_weights(model, None, 1.0)
    lambdas = head.rows(numpy_forward.states(model, tokens, weights))
    return numpy_forward.logits(model, tokens) + strength * lambdas


@pytest.mark.numeric
@pytest.mark.parametrize("arch", ["llama", "qwen2", "olmo2"])
@pytest.mark.parametrize("strength", [1.0, -2.0])
def test_scores_are_those_of_the_target_times_the_head(
    files: Files, tmp_path: Path, arch: str, strength: float
) -> None:
    model = files.model(arch=arch)
    head = head_for(model)
    tokens = tokens_of(30, 1)
    with open_headed(model, head.write(tmp_path / "head.gguf")) as decoder:
        score = decoder.score(tokens[:5], tokens[5:], strength=strength)
    z = pi_star(model, head, tokens, strength)
    wanted = [np.log(goal(z[i - 1])[tokens[i]]) for i in range(5, 30)]
    np.testing.assert_allclose(score.goal_logprobs, wanted, rtol=0, atol=10 * TOLERANCE)


@pytest.mark.parametrize("apart", [True, False])
def test_greedy_text_is_the_argmax_with_and_without_drafts(
    files: Files, tmp_path: Path, *, apart: bool
) -> None:
    """Decoded apart, too, on contexts of its own."""
    model = files.model()
    head = head_for(model)
    prompt = tokens_of(6, 2)
    tokens = list(prompt)
    ends = sorted(model.spec.vocab.eog)
    for _ in range(12):
        z = pi_star(model, head, tokens, 2.0)[-1]
        z[ends] = -np.inf
        tokens.append(int(z.argmax()))
    with Decoder(
        model.path,
        shift=Shift(head=head.write(tmp_path / "head.gguf"), strength=2.0),
        base=files.model(seed=5).path,
        progress=False,
        **EXACT,
    ) as decoder:
        for drafts in (0, 3):
            completion = decoder.generate(
                prompt,
                max_tokens=12,
                temperature=0,
                num_draft_tokens=drafts,
                deterministic=apart,
                seed=1,
                logit_bias=dict.fromkeys(ends, -np.inf),
            )
            assert list(completion.tokens) == tokens[len(prompt) :]


def test_a_seed_gives_its_text_whoever_is_beside_it(files: Files, tmp_path: Path) -> None:
    file = head_for(files.model()).write(tmp_path / "head.gguf")
    with open_headed(files.model(), file, n_ctx=1024) as decoder:
        alone, together = alone_and_together(decoder, [tokens_of(8, seed) for seed in range(5)])
        assert together == alone


def test_a_head_beside_a_pair_of_the_same_target(files: Files, tmp_path: Path) -> None:
    model, q, r = (files.model(seed=seed) for seed in (0, 1, 2))
    head = head_for(model)
    shifts = {
        "ours": Shift(head=head.write(tmp_path / "head.gguf"), strength=0.7),
        "theirs": Shift(q.path, r.path, strength=-0.5),
    }
    tokens = tokens_of(12, 3)
    with Decoder(model.path, shifts=shifts, progress=False, **EXACT) as decoder:
        score = decoder.score(tokens[:4], tokens[4:])
    z = pi_star(model, head, tokens, 0.7)
    z += -0.5 * (numpy_forward.logits(q, tokens) - numpy_forward.logits(r, tokens))
    wanted = [np.log(goal(z[i - 1])[tokens[i]]) for i in range(4, 12)]
    np.testing.assert_allclose(score.goal_logprobs, wanted, rtol=0, atol=10 * TOLERANCE)
    assert set(score.shifts) == {"ours", "theirs"}


def test_a_head_has_a_strength_of_its_own(files: Files, tmp_path: Path) -> None:
    model = files.model()
    head = head_for(model)
    usual, silent = head.write(tmp_path / "a", strength=2.5), head.write(tmp_path / "b")
    for file, given, expected in (
        (usual, {}, 2.5),
        (usual, {"strength": 0.5}, 0.5),
        (silent, {}, 1),
    ):
        shift = Shift(head=file, **given)
        with Decoder(model.path, shift=shift, progress=False, **EXACT) as decoder:
            assert decoder.shifts["shift"].strength == expected
            tokens = tokens_of(9, 4)
            score = decoder.score(tokens[:4], tokens[4:])
            wanted = decoder.score(tokens[:4], tokens[4:], strength=expected)
            np.testing.assert_array_equal(score.goal_logprobs, wanted.goal_logprobs)


def test_whose_reward_it_is_must_be_said_of_a_head_beside_a_pair(
    files: Files, tmp_path: Path
) -> None:
    model, q, r = (files.model(seed=seed) for seed in (0, 1, 2))
    ours = Shift(head=head_for(model).write(tmp_path / "head.gguf"))
    shifts = {"ours": ours, "theirs": Shift(q.path, r.path)}
    with Decoder(model.path, shifts=shifts, progress=False, **EXACT) as decoder:
        with pytest.raises(ValueError, match="there is no 'draft' here"):
            ImplicitReward(decoder)
        both = [ImplicitReward(decoder, shift=name)([("a", "b a")]) for name in shifts]
    with Decoder(model.path, shift=ours, progress=False, **EXACT) as alone:
        assert ImplicitReward(alone)([("a", "b a")]) == pytest.approx(both[0], abs=1e-4)


def without(name: str) -> dict[str, object]:
    return {name: None}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "mood"}, "a head of a kind that is not known here: 'mood'"),
        (without("rank"), "no rewardshift-head.rank of at least 1"),
        ({"rank": 0}, "no rewardshift-head.rank of at least 1"),
        ({"rank": 7}, "no tensor down.weight of type f32"),
        (without("up.weight"), "no tensor up.weight of type i8"),
        ({"up.weight": np.zeros((3, 12), np.float32)}, "no tensor up.weight of type i8"),
        ({"up.scale": np.full(12, np.nan, np.float32)}, "up is not finite everywhere"),
        ({"vocab_size": 2**31}, "no tensor up.weight"),
        ({"strength": float("inf")}, "strength is not finite"),
    ],
)
def test_a_damaged_head_is_refused(
    files: Files, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    file = head_for(files.model()).write(tmp_path / "head.gguf", **changed)
    with pytest.raises(ModelLoadError, match=said):
        open_headed(files.model(), file)


def test_a_head_that_was_cut_short_is_refused(
    files: Files, tmp_path: Path, new_file: Callable[[bytes], Path]
) -> None:
    whole = head_for(files.model()).write(tmp_path / "head.gguf").read_bytes()
    for size in range(0, len(whole) - 32, 97):
        with pytest.raises(ModelLoadError):
            _core.read_head(str(new_file(whole[:size])))


def test_a_model_is_no_head_and_a_head_is_no_model(files: Files, tmp_path: Path) -> None:
    model = files.model()
    with pytest.raises(ModelLoadError, match="is no head, but a model of the architecture 'llama'"):
        open_headed(model, model.path)
    file = head_for(model).write(tmp_path / "head.gguf")
    with pytest.raises(ModelLoadError, match="is a head, which shifts a target"):
        Decoder(file, progress=False)


def test_a_head_for_another_target_says_so(files: Files, tmp_path: Path) -> None:
    model = files.model()
    file = Head.random(model.spec.n_embd + 1, model.spec.n_vocab).write(tmp_path / "head.gguf")
    with pytest.raises(ValueError, match="the head is for a target with features of"):
        open_headed(model, file)
