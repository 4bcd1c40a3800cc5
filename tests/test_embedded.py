"""The pair that ships: it is whole, it speaks the target's vocabulary, and its law is pi*."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import chisquare
from typer.testing import CliRunner

from rewardshift import Decoder, embedded
from rewardshift.bench import PROMPTS, TARGET_ONLY, THREE_MODELS, Task, measure_speed
from rewardshift.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real_model

MOST_BYTES = {"reference": 17_000_000, "draft_lora": 3_000_000}
TEMPERATURE = 0.8


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(**embedded(), n_ctx=4096) as made:
        yield made


@pytest.fixture(scope="module")
def prompt(decoder: Decoder) -> list[int]:
    asked = decoder.chat_prompts([{"role": "user", "content": "I baked my first bread."}])[0]
    return asked + decoder.tokenize("That", add_special=False)


def test_the_files_are_small() -> None:
    paths: dict[str, Path] = dict(embedded())  # type: ignore[arg-type]
    for role, most in MOST_BYTES.items():
        assert 0 < paths[role].stat().st_size <= most, role


def test_no_arguments_are_the_embedded_pair(capfd: pytest.CaptureFixture[str]) -> None:
    with Decoder(n_ctx=256) as decoder:
        answer = decoder.chat([{"role": "user", "content": "Hello"}], max_tokens=4, seed=1)
    assert answer.statistics.z is not None
    assert "no model given: SmolLM2-135M-Instruct" in capfd.readouterr().err
    with pytest.raises(ValueError, match="need a target"):
        Decoder(reference=embedded()["reference"])


@pytest.mark.statistical
def test_what_is_drafted_and_verified_follows_pi_star(decoder: Decoder, prompt: list[int]) -> None:
    """The first token of many responses, against p · q/r from the roles' own log-probabilities.

    Blocks of several rows are rounded differently from single rows (see the README), by about 0.02
    in total variation: too little to see in so few samples. The target's own law is seen not to
    fit.
    """
    count, sampling = 2_000, {"temperature": TEMPERATURE, "top_k": 12}
    shown = decoder.generate(
        prompt, max_tokens=1, num_draft_tokens=0, top_logprobs=12, seed=1, **sampling
    )
    tokens = list(shown.steps[0].top_logprobs)
    opinions = np.array([opinion(decoder, prompt, token) for token in tokens])
    goal, plain = (
        softmax((opinions @ weights) / TEMPERATURE) for weights in ([1, 1, -1], [1, 0, 0])
    )
    counts: Counter[int] = Counter()
    for start in range(0, count, 8):
        for c in decoder.generate_batch(
            [prompt] * 8,
            max_tokens=2,
            num_draft_tokens=2,
            seed=start,
            deterministic=False,
            **sampling,
        ):
            counts[c.tokens[0]] += 1
    assert set(counts) <= set(tokens)
    assert fit(counts, tokens, goal) > 1e-6
    assert fit(counts, tokens, plain) < 1e-12


def opinion(decoder: Decoder, prompt: list[int], token: int) -> list[float]:
    """Log-probabilities of target, draft and reference."""
    score = decoder.score(prompt, [token])
    assert score.draft_logprobs is not None
    assert score.reference_logprobs is not None
    return [
        float(row[0])
        for row in (score.target_logprobs, score.draft_logprobs, score.reference_logprobs)
    ]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def fit(counts: Counter[int], tokens: list[int], law: np.ndarray) -> float:
    """The p-value of a chi-squared test; what is expected less than five times counts as one."""
    total = counts.total()
    expected, seen = total * law, np.array([counts[token] for token in tokens])
    often = expected >= 5
    return float(
        chisquare(
            [*seen[often], seen[~often].sum()],
            [*expected[often], expected[~often].sum() + 1e-9],
        ).pvalue
    )


def test_its_speed_is_measured_and_printed(
    decoder: Decoder, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [
        Task(decoder.chat_prompts([{"role": "user", "content": text}])[0]) for text in PROMPTS[:2]
    ]
    report = measure_speed(
        decoder,
        tasks,
        title="pi*",
        shifted=True,
        draft_lengths=(3,),
        max_tokens=32,
        repeat=1,
        options={"temperature": TEMPERATURE},
    )
    drafted = report.total("K=3")
    assert 0 < drafted.accepted < drafted.drafted
    with capsys.disabled():
        print(
            f"\nthe embedded pair, drafts of 3: {drafted.speed:.1f} tokens/s, "
            f"{report.ratio('K=3', TARGET_ONLY).median:.2f} x target only, "
            f"{report.ratio('K=3', THREE_MODELS).median:.2f} x three models; "
            f"accepted {drafted.acceptance:.2f}"
        )


def test_the_command_line_needs_no_model() -> None:
    done = CliRunner().invoke(app, ["generate", "--chat", "-n", "4", "-s", "1", "Hello"])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip()
    assert "no model given" in done.stderr
