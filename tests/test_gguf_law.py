"""Over GGUF files the engine samples pi* as numpy computes it from the same weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder
from tests.support import enumerate_law as oracle
from tests.support import numpy_forward, precision
from tests.support.engine import EXACT, open_context
from tests.support.tiny_gguf import TinyLora, TinyModel, spm_vocab, write_lora
from tests.support.worlds import random_table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files
    from tests.support.enumerate_law import Law, Probs, Response

ARCHITECTURES = ("llama", "qwen2")
SAMPLES = 3000
MAX_TOKENS = 5
FALSE_ALARM = 1e-8  # of one test; there are fewer than 30


@dataclass(frozen=True)
class Role:
    """A role as numpy sees it."""

    model: TinyModel
    prompt: tuple[int, ...]
    lora: TinyLora | None = None
    lora_scale: float = 1.0

    def logits(self, response: Response) -> Probs:
        """Logits after each prefix of the response, the empty one first."""
        tokens = (*self.prompt, *response)
        all_rows = numpy_forward.logits(
            self.model, tokens, lora=self.lora, lora_scale=self.lora_scale
        )
        return all_rows[len(self.prompt) - 1 :]


def law(target: Role, draft: Role, reference: Role, **shaping: Any) -> Law:
    """The law of whole responses."""

    @cache
    def next_probs(response: Response) -> Probs:
        last = [role.logits(response)[-1] for role in (target, draft, reference)]
        return oracle.goal(*last, **shaping)

    return oracle.enumerate_law(next_probs, target.model.spec.vocab.eog, MAX_TOKENS)


def sample(decoder: Decoder, prompt: tuple[int, ...], **options: Any) -> Counter[Response]:
    """Responses to many copies of a prompt, decoded together."""
    count, at_once = Counter(), 500
    options = {"max_tokens": MAX_TOKENS, "deterministic": False, **options}
    for i in range(SAMPLES // at_once):
        extra = {k: [options[k]] * at_once for k in ("draft_prompts",) if k in options}
        completions = decoder.generate_batch([prompt] * at_once, **{**options, "seed": i, **extra})
        count.update(completion.tokens for completion in completions)
    return count


def small_trio(files: Files, arch: str) -> tuple[TinyModel, TinyModel, TinyModel]:
    return files.trio(arch=arch, vocab=spm_vocab(5))


@pytest.mark.statistical
@pytest.mark.parametrize("k", [0, 1, 2, 4])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_responses_follow_the_law_that_numpy_computes(files: Files, arch: str, k: int) -> None:
    models, prompt = small_trio(files, arch), (1, 3, 4, 3)
    shaping = {"temperature": 0.9, "strength": 1.3}
    expected = law(*(Role(model, prompt) for model in models), **shaping)
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        observed = sample(decoder, prompt, num_draft_tokens=k, **shaping)
    assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.statistical
def test_requests_decoded_apart_follow_it_too(files: Files) -> None:
    models, prompt = small_trio(files, "llama"), (1, 3, 4, 3)
    expected = law(*(Role(model, prompt) for model in models), temperature=0.9, strength=1.3)
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        observed = sample(
            decoder, prompt, deterministic=True, num_draft_tokens=2, temperature=0.9, strength=1.3
        )
    assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_these_models_accept_some_drafts_and_reject_some(files: Files, arch: str) -> None:
    with Decoder(*(m.path for m in small_trio(files, arch)), **EXACT) as decoder:
        completions = decoder.generate_batch(
            [(1, 3, 4, 3)] * 200,
            max_tokens=MAX_TOKENS,
            num_draft_tokens=4,
            seed=0,
            deterministic=False,
        )
    drafted = sum(c.statistics.drafted for c in completions)
    accepted = sum(c.statistics.accepted for c in completions)
    assert 0.3 < accepted / drafted < 0.9


@pytest.mark.statistical
def test_the_sample_is_large_enough_to_notice_a_missing_shift(files: Files) -> None:
    models, prompt = small_trio(files, "llama"), (1, 3, 4, 3)
    shifted = law(*(Role(model, prompt) for model in models), strength=1.3)
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        observed = sample(decoder, prompt, num_draft_tokens=2, temperature=1.0, strength=0.0)
    assert oracle.chi_square(observed, shifted, SAMPLES) < FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_truncation_and_bias_act_on_the_goal(files: Files, arch: str) -> None:
    models, prompt = small_trio(files, arch), (1, 4)
    shaping = {
        "temperature": 1.2,
        "top_k": 4,
        "top_p": 0.95,
        "min_p": 0.05,
        "logit_bias": {3: 0.7, 2: -1.0},
    }
    expected = law(*(Role(model, prompt) for model in models), **shaping)
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        observed = sample(decoder, prompt, num_draft_tokens=3, **shaping)
    assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.statistical
def test_a_draft_without_a_reference_leaves_the_target_s_law(files: Files) -> None:
    target, draft, _ = small_trio(files, "qwen2")
    prompt = (1, 3, 3)
    expected = law(*[Role(target, prompt)] * 3, strength=0.0)
    with Decoder(target.path, draft.path, **EXACT) as decoder:
        observed = sample(decoder, prompt, temperature=1.0, num_draft_tokens=4)
    assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("k", [0, 3])
def test_shift_by_prompt_follows_its_law(files: Files, k: int) -> None:
    target, small, _ = small_trio(files, "llama")
    prompt, draft_prompt = (1, 3, 4), (1, 4, 4, 3, 4)
    expected = law(Role(target, prompt), Role(small, draft_prompt), Role(small, prompt))
    with Decoder(target.path, small.path, small.path, **EXACT) as decoder:
        observed = sample(
            decoder, prompt, draft_prompts=draft_prompt, temperature=1.0, num_draft_tokens=k
        )
    assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_shift_by_lora_follows_its_law(files: Files, tmp_path: Path, arch: str) -> None:
    target, small, _ = small_trio(files, arch)
    lora, prompt = write_lora(tmp_path / "lora.gguf", small, scale=0.8), (1, 3, 4)
    expected = law(
        Role(target, prompt), Role(small, prompt, lora, lora_scale=0.6), Role(small, prompt)
    )
    with Decoder(
        target.path,
        reference=small.path,
        draft_lora=lora.path,
        draft_lora_scale=0.6,
        **EXACT,
    ) as decoder:
        observed = sample(decoder, prompt, temperature=1.0, num_draft_tokens=2)
    assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.statistical
def test_requests_with_different_parameters_in_one_batch_keep_their_laws(files: Files) -> None:
    models = small_trio(files, "llama")
    kinds: list[dict[str, Any]] = [
        {"prompt": (1, 3, 4), "num_draft_tokens": 1, "temperature": 0.7, "strength": 2.0},
        {"prompt": (1, 4, 4, 4), "num_draft_tokens": 4, "temperature": 1.0, "strength": 1.0},
        {"prompt": (1, 3), "num_draft_tokens": 0, "temperature": 1.3, "strength": 0.5},
        {"prompt": (4, 3, 3), "num_draft_tokens": 3, "temperature": 1.0, "strength": 0.0},
    ]
    counts: list[Counter[Response]] = [Counter() for _ in kinds]
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        kind_of = {
            decoder.submit(**kind, max_tokens=MAX_TOKENS, seed=seed, deterministic=False): i
            for seed in range(SAMPLES // 2)
            for i, kind in enumerate(kinds)
        }
        while decoder.has_work:
            for chunk in decoder.step():
                if chunk.completion is not None:
                    counts[kind_of[chunk.id]][chunk.completion.tokens] += 1
    for kind, count in zip(kinds, counts, strict=True):
        shaping = {k: kind[k] for k in ("temperature", "strength")}
        expected = law(*(Role(model, kind["prompt"]) for model in models), **shaping)
        assert oracle.chi_square(count, expected, SAMPLES // 2) > FALSE_ALARM


@pytest.mark.statistical
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_trees_follow_the_law(files: Files, arch: str) -> None:
    """From a table that is made up, which the samples teach more, and from the draft."""
    models, prompt = small_trio(files, arch), (1, 3, 4, 3)
    shaping = {"temperature": 0.9, "strength": 1.3}
    expected = law(*(Role(model, prompt) for model in models), **shaping)
    tree = {"num_draft_tokens": 4, "tree_width": 3}
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        for drafter in (random_table(5, seed=1), None):
            observed = sample(decoder, prompt, drafter=drafter, **tree, **shaping)
            assert oracle.chi_square(observed, expected, SAMPLES) > FALSE_ALARM


@pytest.mark.parametrize("from_table", [True, False])
def test_a_tree_costs_each_role_one_token_a_node_and_one_a_round(
    files: Files, from_table: bool
) -> None:
    models, prompt = small_trio(files, "llama"), [1, 3, 4, 3]
    contexts = [open_context(model) for model in models]
    with Decoder.from_models(*contexts) as decoder:
        statistics = decoder.generate(
            prompt, seed=0, max_tokens=60, logit_bias={2: -100.0}, num_draft_tokens=6, tree_width=3,
            drafter=random_table(5, seed=2) if from_table else None,
        ).statistics  # fmt: skip
    cost = len(prompt) - 1 + statistics.drafted + statistics.rounds
    target, draft, reference = (c.evaluated_tokens for c in contexts)
    assert (target, reference) == (cost, cost)
    assert draft == cost if from_table else draft <= cost


# --- scores ------------------------------------------------------------------------------------


def own(rows: Probs, tokens: Response) -> Probs:
    """Log-probabilities of tokens under rows of logits."""
    return np.array([np.log(oracle.softmax(row)[t]) for row, t in zip(rows, tokens, strict=False)])


def agree(decoder: Decoder, roles: tuple[Role, Role, Role], **shaping: Any) -> None:
    """Checks `score` on a continuation of 90 tokens, more than are evaluated at once."""
    vocab = roles[0].model.spec.n_vocab
    tokens = tuple(int(t) for t in np.random.default_rng(0).integers(3, vocab, 90))
    p, q, r = (role.logits(tokens) for role in roles)
    goal = [oracle.goal(*z, **shaping)[t] for *z, t in zip(p, q, r, tokens, strict=False)]
    score = decoder.score(
        roles[0].prompt,
        tokens,
        draft_prompt=roles[1].prompt,
        reference_prompt=roles[2].prompt,
        **shaping,
    )
    spec, s, t = roles[0].model.spec, shaping.get("strength", 1.0), shaping.get("temperature", 1.0)
    close = precision.of_logprobs(spec)
    near(score.target_logprobs, own(p, tokens), close)
    near(score.draft_logprobs, own(q, tokens), close)
    near(score.reference_logprobs, own(r, tokens), close)
    with np.errstate(divide="ignore"):
        near(score.goal_logprobs, np.log(goal), precision.of_goal(spec, s, t))
    reward = np.sum(own(q, tokens) - own(r, tokens))
    assert score.implicit_reward == pytest.approx(reward, abs=90 * 2 * close)


def near(found: Any, expected: Any, close: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=close)


@pytest.mark.numeric
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("strength", [-0.5, 0.0, 1.0, 2.5])
def test_scores_are_what_numpy_computes(files: Files, arch: str, strength: float) -> None:
    models, prompt = files.trio(arch=arch), (1, 3, 4, 5, 6)
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        roles = tuple(Role(model, prompt) for model in models)
        agree(decoder, roles, strength=strength, temperature=0.8)
        agree(decoder, roles, strength=strength, top_k=5)


@pytest.mark.numeric
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("alpha", [0.0, 4.0])
def test_scores_with_lora_are_what_numpy_computes(
    files: Files, tmp_path: Path, arch: str, alpha: float
) -> None:
    target, small, _ = files.trio(arch=arch)
    lora, prompt = write_lora(tmp_path / "lora.gguf", small, scale=0.8, alpha=alpha), (1, 3, 4, 5)
    roles = Role(target, prompt), Role(small, prompt, lora, 0.7), Role(small, prompt)
    with Decoder(
        target.path, small.path, draft_lora=lora.path, draft_lora_scale=0.7, **EXACT
    ) as decoder:
        agree(decoder, roles)


@pytest.mark.numeric
def test_scores_with_a_prompt_per_role_are_what_numpy_computes(files: Files) -> None:
    models = files.trio(arch="qwen2")
    prompts = ((1, 3, 4), (1, 7, 8, 9, 3, 4), (1, 10))
    roles = tuple(Role(*pair) for pair in zip(models, prompts, strict=True))
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        agree(decoder, roles)


@pytest.mark.numeric
@pytest.mark.parametrize("k", [0, 1, 3])
def test_reported_log_probabilities_are_what_numpy_computes(files: Files, k: int) -> None:
    models, prompt = files.trio(arch="llama"), (1, 3, 4, 5, 6)
    with Decoder(*(m.path for m in models), **EXACT) as decoder:
        steps = decoder.generate(
            prompt, temperature=0.8, seed=3, max_tokens=24, num_draft_tokens=k, top_logprobs=3
        ).steps
    tokens = tuple(step.id for step in steps)
    p, q, r = (Role(model, prompt).logits(tokens) for model in models)
    close = precision.of_logprobs(models[0].spec)
    near([s.target_logprob for s in steps], own(p, tokens), close)
    near([s.draft_logprob for s in steps], own(q, tokens), close)
    near([s.reference_logprob for s in steps], own(r, tokens), close)
    close = precision.of_goal(models[0].spec, temperature=0.8)
    for step, *z in zip(steps, p, q, r, strict=False):
        goal = np.log(oracle.goal(*z, temperature=0.8))
        assert step.logprob == pytest.approx(goal[step.id], abs=close)
        best = np.argsort(-goal, kind="stable")[:3]
        assert list(step.top_logprobs) == list(best)
        near(list(step.top_logprobs.values()), goal[best], close)
        weight = oracle.shifted(*(oracle.softmax(row / 0.8) for row in z))
        assert step.log_z == pytest.approx(np.log(weight.sum()), abs=close)
