"""lm-eval's `local-completions`: its numbers are `Decoder.score`'s."""

from __future__ import annotations

import itertools
import json
import os
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift import Decoder

from .serving import CONTEXT, NAME

os.environ["HF_HUB_OFFLINE"] = "1"  # read when lm-eval is imported; all it reads is here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT = f"lm-eval {version('lm_eval')}"

DOCUMENTS = 4

COMMON: dict[str, Any] = {
    "dataset_path": "json",
    "test_split": "test",
    "doc_to_text": "{{context}}",
    "target_delimiter": "",
    "metadata": {"version": 1},
}
CHOICES = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}", "doc_to_target": 0}
ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{context}}{{choices[0]}}",
    "metric_list": [{"metric": "word_perplexity"}],
}
GENERATED = {
    "output_type": "generate_until",
    "doc_to_target": "{{choices[0]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "temperature": 0},
    "metric_list": [{"metric": "exact_match"}],
}


@pytest.fixture(scope="module")
def decoder(flags: list[str]) -> Iterator[Decoder]:
    """The models that are served."""
    with Decoder(*flags[1:6:2], n_ctx=CONTEXT, n_threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def documents(decoder: Decoder) -> list[dict[str, Any]]:
    """Contexts with the greedy continuation among others: the first, of two tokens."""
    found: list[dict[str, Any]] = []
    for letters in itertools.product("efghijklmnop", repeat=3):
        context = "".join(letters)
        greedy = decoder.generate(context, max_tokens=2, temperature=0, deterministic=True)
        if re.fullmatch("[a-zA-Z]{2}", greedy.text):
            choices = [greedy.text, greedy.text[0] + "z", "zz", "y"]
            found.append({"context": context, "choices": choices})
        if len(found) == DOCUMENTS:
            break
    assert len(found) == DOCUMENTS
    return found


def samples_of(
    task: dict[str, Any], documents: list[dict[str, Any]], folder: Path, url: str, **how: Any
) -> list[dict[str, Any]]:
    """What lm-eval has asked and was answered, by document."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    data, cache = folder / "data.jsonl", folder / "cache"
    data.write_text("".join(json.dumps(document) + "\n" for document in documents))
    files = {"data_files": {"test": str(data)}, "cache_dir": str(cache)}
    told = {**COMMON, **task, "task": "local", "dataset_kwargs": files}
    (folder / "local.yaml").write_text(json.dumps(told))
    evaluated = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": NAME,
            "base_url": f"{url}/v1/completions",
            "max_length": CONTEXT,
            "max_retries": 1,
            **how,
        },
        tasks=["local"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    return sorted(evaluated["samples"]["local"], key=lambda sample: sample["doc_id"])


def own_score(decoder: Decoder, context: str, choice: str) -> float:
    """What `Decoder.score` says of a choice, also where it reads the whole in one as an echo does.

    Which of the two was done shows in the last digits only: batches round differently.
    """
    first, *others = decoder.tokenize(context + choice)
    read_in_one = decoder.score([first], others).goal_logprobs[len(decoder.tokenize(context)) - 1 :]
    assert decoder.score(context, choice).goal_logprobs == pytest.approx(read_in_one, abs=1e-3)
    return float(sum(read_in_one.tolist()))


@pytest.mark.parametrize("how", [{"batch_size": 1}, {"batch_size": 4}, {"num_concurrent": 4}])
def test_log_likelihoods_are_the_scores(
    how: dict[str, Any],
    documents: list[dict[str, Any]],
    decoder: Decoder,
    tmp_path: Path,
    url: str,
) -> None:
    samples = samples_of(CHOICES, documents, tmp_path, url, **how)
    assert len(samples) == len(documents)
    for document, sample in zip(documents, samples, strict=True):
        told = [answer for [answer] in sample["resps"]]
        own = [own_score(decoder, document["context"], c) for c in document["choices"]]
        assert [logprob for logprob, _ in told] == own
        greedy = document["choices"][0]
        assert [is_greedy for _, is_greedy in told] == [
            greedy.startswith(choice) for choice in document["choices"]
        ]


def test_rolling_log_likelihoods_are_the_scores(
    documents: list[dict[str, Any]], decoder: Decoder, tmp_path: Path, url: str
) -> None:
    samples = samples_of(ROLLING, documents, tmp_path, url)
    [prefix] = decoder.tokenize("<|endoftext|>", add_special=False)
    for document, sample in zip(documents, samples, strict=True):
        [[told]] = sample["resps"]
        text = document["context"] + document["choices"][0]
        own = decoder.score([prefix], decoder.tokenize(text, add_special=False))
        assert told == sum(own.goal_logprobs.tolist())


def test_greedy_texts_are_the_decoders(
    documents: list[dict[str, Any]], decoder: Decoder, tmp_path: Path, url: str
) -> None:
    samples = samples_of(GENERATED, documents, tmp_path, url)
    for document, sample in zip(documents, samples, strict=True):
        [[told]] = sample["resps"]
        own = decoder.generate(document["context"], max_tokens=8, temperature=0, stop="\n", seed=1)
        assert told == own.text
