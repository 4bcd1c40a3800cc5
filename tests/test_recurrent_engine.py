"""The engine over recurrent and hybrid models: the same law, the same text, the same scores."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder
from tests.support import enumerate_law as oracle
from tests.support import precision
from tests.support.engine import EXACT, open_context, tokens_of
from tests.support.one_by_one import Oracles
from tests.support.tiny_gguf import spm_vocab
from tests.support.tiny_recurrent import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift import Completion
    from tests.conftest import Files
    from tests.support.enumerate_law import Law, Probs, Response
    from tests.support.tiny_recurrent import RecurrentModel

KINDS = ("mamba2", "falcon-h1", "lfm2", "qwen35")
"""A state alone; beside attention in one layer; of a convolution; of a delta net."""

Trio = tuple["RecurrentModel", "RecurrentModel", "RecurrentModel"]
NO_END: dict[str, Any] = {"logit_bias": {2: -50.0}}


def logits_of(
    oracles: Oracles, models: Trio, prompt: Sequence[int], response: Sequence[int]
) -> list[Probs]:
    """Logits of target, draft and reference after each prefix of the response."""
    history = [*prompt, *response]
    return [oracles.of(model).rows(history, len(response) + 1) for model in models]


@pytest.fixture(scope="module")
def oracles() -> Oracles:
    """They know what they were asked before."""
    return Oracles()


# --- the text ----------------------------------------------------------------------------------


def greedy_by_oracle(
    oracles: Oracles, models: Trio, prompt: Sequence[int], count: int
) -> tuple[int, ...]:
    response: list[int] = []
    for _ in range(count):
        p, q, r = (rows[-1] for rows in logits_of(oracles, models, prompt, response))
        goal = p + q - r
        goal[2] -= 50.0
        response.append(int(np.argmax(goal)))
    return tuple(response)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_greedy_text_is_that_of_one_token_at_a_time(
    files: Files, oracles: Oracles, arch: str
) -> None:
    """Whatever the draft length, the chunks, the neighbours and what was decoded before."""
    models = files.recurrent_trio(arch, vocab=spm_vocab(30), scale=3.0)
    prompts = [tokens_of(40), tokens_of(40)[:25], [*tokens_of(40), 8, 8], tokens_of(9, 5)]
    wanted = [greedy_by_oracle(oracles, models, prompt, 12) for prompt in prompts]
    options = {"temperature": 0.0, "max_tokens": 12, **NO_END}
    for n_batch in (7, 512):
        with Decoder(*(m.path for m in models), **{**EXACT, "n_ctx": 512}, n_batch=n_batch) as d:
            for k in (3, 0, 1, 7):
                batch = d.generate_batch(prompts, num_draft_tokens=k, **options)
                assert [c.tokens for c in batch] == wanted
            for prompt, text in zip(reversed(prompts), reversed(wanted), strict=True):
                assert d.generate(prompt, num_draft_tokens=2, **options).tokens == text


@pytest.mark.parametrize("pair", ["attention", "recurrent"])
def test_recurrent_and_other_models_go_together(files: Files, pair: str) -> None:
    """A recurrent target with a pair that has attention, and the other way round."""
    spec: dict[str, Any] = {"vocab": spm_vocab(30), "scale": 3.0}
    others, states = files.trio(**spec), files.recurrent_trio("mamba2", **spec)
    paths = [m.path for m in (states[0], *others[1:])]
    if pair == "recurrent":
        paths = [m.path for m in (others[0], *states[1:])]
    prompts = [tokens_of(30), tokens_of(12, 3)]
    options = {"temperature": 0.0, "max_tokens": 20, **NO_END}
    with Decoder(*paths, **EXACT) as decoder:
        plain = [c.tokens for c in decoder.generate_batch(prompts, num_draft_tokens=0, **options)]
        for k in (1, 4):
            batch = decoder.generate_batch(prompts, num_draft_tokens=k, **options)
            assert [c.tokens for c in batch] == plain


# --- the law -----------------------------------------------------------------------------------

SAMPLES, MAX_TOKENS, FALSE_ALARM = 2000, 4, 1e-8


def law(oracles: Oracles, models: Trio, prompt: tuple[int, ...], **shaping: Any) -> Law:
    @cache
    def next_probs(response: Response) -> Probs:
        last = [rows[-1] for rows in logits_of(oracles, models, prompt, response)]
        return oracle.goal(*last, **shaping)

    return oracle.enumerate_law(next_probs, models[0].spec.vocab.eog, MAX_TOKENS)


@pytest.mark.statistical
@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("arch", KINDS)
def test_samples_follow_the_law_of_one_token_at_a_time(
    files: Files, oracles: Oracles, arch: str, k: int
) -> None:
    models, prompt = files.recurrent_trio(arch, vocab=spm_vocab(5)), (1, 3, 4, 3)
    shaping = {"temperature": 0.9, "strength": 1.3}
    expected = law(oracles, models, prompt, **shaping)
    observed: Counter[Response] = Counter()
    options = {"max_tokens": MAX_TOKENS, "num_draft_tokens": k, "deterministic": False, **shaping}
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        for seed in range(4):
            batch = decoder.generate_batch([prompt] * (SAMPLES // 4), seed=seed, **options)
            observed.update(completion.tokens for completion in batch)
    assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.numeric
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_scores_are_those_of_one_token_at_a_time(files: Files, oracles: Oracles, arch: str) -> None:
    models, prompt = files.recurrent_trio(arch), tokens_of(20)
    close = 2 * precision.of_recurrent_logits(1.5, 110) + precision.of_normaliser(12)
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        for seed in (1, 2, 1):
            tokens = tokens_of(90, seed)  # more than are evaluated at once
            score = decoder.score(prompt, tokens)
            rows = logits_of(oracles, models, prompt, tokens)
            found = (score.target_logprobs, score.draft_logprobs, score.reference_logprobs)
            for logprobs, logits in zip(found, rows, strict=True):
                steps = zip(logits, tokens, strict=False)
                own = [np.log(oracle.softmax(row)[token]) for row, token in steps]
                np.testing.assert_allclose(logprobs, own, rtol=0, atol=close)


# --- seeds -------------------------------------------------------------------------------------


def fingerprint(completion: Completion) -> tuple[Any, ...]:
    """All that a user can see of how a text came about, unrounded."""
    steps = completion.steps
    return completion.tokens, tuple((s.origin, s.logprob, s.target_logprob, s.log_z) for s in steps)


def disturb(decoder: Decoder, draws: random.Random) -> None:
    """What may have gone before."""
    prompt = tokens_of(draws.randrange(2, 300), draws.randrange(2))
    act = draws.choice(("one", "batch", "score", "seeded", "cancelled"))
    if act == "one":
        decoder.generate(prompt, max_tokens=9)
    elif act == "batch":
        decoder.generate_batch([prompt[: 2 + i] for i in range(4)], max_tokens=9)
    elif act == "score":
        decoder.score(prompt[:1], prompt[1:])
    elif act == "seeded":
        decoder.generate(prompt, seed=draws.randrange(9), max_tokens=9)
    else:
        request = decoder.submit(prompt, seed=5, max_tokens=9)
        for _ in range(draws.randrange(5)):
            decoder.step()
        decoder.cancel(request)
        while decoder.has_work:
            decoder.step()


@pytest.mark.parametrize("length", [40, 2 * 128 + 37])
@pytest.mark.parametrize("arch", KINDS)
def test_a_seed_gives_the_same_bits_whatever_came_before(
    files: Files, arch: str, length: int
) -> None:
    paths = [m.path for m in files.recurrent_trio(arch, vocab=spm_vocab(30), n_ctx_train=1024)]
    prompt, options = tokens_of(length), {"max_tokens": 24, "temperature": 1.0, **NO_END}
    with Decoder(*paths) as fresh:
        wanted = fingerprint(fresh.generate(prompt, seed=3, **options))
    draws = random.Random(length)
    with Decoder(*paths) as decoder:
        for _ in range(5):
            disturb(decoder, draws)
            assert fingerprint(decoder.generate(prompt, seed=3, **options)) == wanted


# --- what it costs -----------------------------------------------------------------------------


@pytest.mark.parametrize("arch", KINDS)
def test_samples_of_one_prompt_evaluate_it_once(files: Files, arch: str) -> None:
    context, prompt = open_context(files.recurrent(arch), n_ctx=1024), tokens_of(100)
    options = {"max_tokens": 5, "deterministic": False, "prompt_lookup": False, **NO_END}
    with Decoder.from_models(context) as decoder:
        decoder.generate_batch([prompt] * 8, **options)
        assert context.evaluated_tokens == 99 + 8 * 5
        decoder.generate_batch([prompt] * 8, **options)
        assert context.evaluated_tokens == 99 + 16 * 5


@pytest.mark.parametrize("arch", KINDS)
def test_rejected_drafts_cost_what_was_drafted_and_no_more(files: Files, arch: str) -> None:
    models = files.recurrent_trio(arch, vocab=spm_vocab(30))
    contexts = [open_context(model, n_ctx=1024) for model in models]
    prompt = tokens_of(100)
    with Decoder.from_models(*contexts) as decoder:
        statistics = decoder.generate(
            prompt, seed=0, max_tokens=60, num_draft_tokens=4, deterministic=False, **NO_END
        ).statistics
    asked = len(prompt) - 1 + statistics.drafted + statistics.rounds
    assert statistics.drafted - statistics.accepted > 15
    for context in contexts:
        again = context.evaluated_tokens - asked
        assert again <= 2 * 60  # every token of the response read again, and once more


def test_trees_are_refused_with_the_reason(files: Files) -> None:
    target, draft, _ = files.recurrent_trio("lfm2")
    with (
        Decoder(target.path, draft.path, **EXACT) as decoder,
        pytest.raises(ValueError, match=r"tree_width 2 .* target has a recurrent state"),
    ):
        decoder.generate([1, 3], tree_width=2)


@pytest.mark.parametrize("arch", KINDS)
def test_a_request_that_makes_a_model_say_nan_fails_alone(files: Files, arch: str) -> None:
    good, bad = files.recurrent(arch), files.recurrent(arch, nan_embedding=9)
    options = {"temperature": 0.0, "max_tokens": 6, "logit_bias": {9: -1e9, 2: -1e9}}
    prompts = [[3, 4, 5], [5, 4, 9, 5], [4, 5, 3]]
    with Decoder(good.path, **EXACT) as decoder:
        wanted = [decoder.generate(prompts[i], **options).tokens for i in (0, 2)]
    with Decoder(bad.path, bad.path, **EXACT) as decoder:
        ids = [decoder.submit(p, **options, num_draft_tokens=2) for p in prompts]
        last = {}
        while decoder.has_work:
            last |= {chunk.id: chunk for chunk in decoder.step() if chunk.is_last}
        first, failed, second = (last[i] for i in ids)
        assert failed.error is not None
        assert "position" in failed.error
        assert [first.completion.tokens, second.completion.tokens] == wanted
