"""The cache that heads learn from: what the target says and is, position by position, once each."""

from __future__ import annotations

import signal
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, Shift
from rewardshift.train import target_states
from rewardshift.train.head_texts import TextOptions, sample_texts, texts_of
from rewardshift.train.target_states import (
    Cache,
    StateOptions,
    States,
    StatesReader,
    Text,
    cache_states,
)
from tests.support import precision
from tests.support.engine import open_context, rows, run_python
from tests.support.precision import FLOAT16
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinyModel, bpe_vocab, spm_vocab
from tests.support.training import QUESTIONS, made_up_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

FEW = StateOptions(likely=40, others=6, shard=2)
TEXTS = [
    Text({"target": [5, 9, 30]}, (100, 7, 8, 263, 12)),
    Text({"target": [5, 9]}, (40,)),
    Text({"target": [77]}, tuple(range(20, 110))),  # more rows than are asked for at once
    Text({"target": [5, 9, 31]}, (200, 201, 2)),
    Text({"target": [6]}, (7, 2)),
]


@pytest.fixture(scope="module")
def target(files: Files) -> TinyModel:
    return files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1)


@pytest.fixture(scope="module")
def pair(files: Files) -> Shift:
    made: dict[str, Any] = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
    return Shift(
        files.model(**made, noise=0.35, noise_seed=1).path,
        files.model(**made, noise=0.35, noise_seed=2).path,
        strength=2.0,
    )


def log_softmax(row: np.ndarray) -> np.ndarray:
    return np.asarray(row - row.max() - np.log(np.exp(row - row.max()).sum()), np.float64)


def close_to(model: TinyModel, size: float) -> float:
    """What two ways to evaluate may differ by, and what is kept of a number in 16 bits."""
    return 4 * precision.of_half_caches(model.spec) + FLOAT16 * size


def alone(model: TinyModel) -> Any:
    """A context that reads like the cache's, of a file by itself."""
    return open_context(model, type_k="f16", type_v="f16", features=True)


# --- what is kept -------------------------------------------------------------------------------


def test_the_cache_holds_what_rows_say_that_are_asked_for_one_by_one(
    target: TinyModel, pair: Shift, tmp_path: Path
) -> None:
    found = cache_states(target.path, TEXTS, tmp_path, FEW, shift=pair, progress=False)
    p, q, r = (
        alone(TinyModel(path, target.spec, {}))
        for path in (target.path, pair.draft, pair.reference)
    )
    states = found.states
    position = 0
    for number, text in enumerate(TEXTS):
        for i, token in enumerate(text.tokens):
            asked = (0, [*text.prompts["target"], *text.tokens[:i]], 1)
            for context in (p, q, r):
                context.forget()
            said, aligned, before = (log_softmax(rows(c, asked)[0]) for c in (p, q, r))
            ids = states.ids[position]
            assert (states.texts[position], states.following[position]) == (number, token)
            np.testing.assert_allclose(
                states.states[position], p.features([asked])[0], atol=close_to(target, 4)
            )
            likely, others = np.split(ids, [FEW.likely])
            close = close_to(target, float(-said.min()))
            np.testing.assert_allclose(
                states.log_p[position][: FEW.likely], said[likely], rtol=0, atol=close
            )
            np.testing.assert_allclose(
                states.log_ratio[position], (aligned - before)[ids], rtol=0, atol=2 * close
            )
            # The most probable tokens of either law are there, and the rest is stood for by others.
            goal = said + 2.0 * (aligned - before)
            for law in (said, goal):  # less two that may be a rounding away from others
                assert set(np.argsort(-law)[: FEW.likely // 2 - 2]) <= set(likely.tolist())
            assert not set(likely.tolist()) & set(others.tolist())
            assert np.exp(states.log_p[position].astype(float)).sum() == pytest.approx(1, abs=0.01)
            assert len(set(states.log_p[position][FEW.likely :].tolist())) == 1
            position += 1
    assert position == len(states.texts)
    # Texts that are alike draw others, each its own.
    twice = StatesReader(target.path, pair, FEW, longest=64, progress=False)
    first, second = (twice.read(TEXTS[0], number).ids for number in (0, 9))
    np.testing.assert_array_equal(first[:, : FEW.likely], second[:, : FEW.likely])
    assert (first[:, FEW.likely :] != second[:, FEW.likely :]).mean() > 0.5
    assert (found.vocab_size, found.strength) == (target.spec.n_vocab, 2.0)


def test_a_cache_of_the_whole_vocabulary_has_all_of_it(target: TinyModel, tmp_path: Path) -> None:
    every = StateOptions(likely=1000)
    states = cache_states(target.path, TEXTS[:1], tmp_path, every, progress=False).states
    assert states.ids.shape == (5, target.spec.n_vocab)
    np.testing.assert_array_equal(np.sort(states.ids, 1)[0], np.arange(target.spec.n_vocab))
    assert not states.log_ratio.any()  # there is no pair


@pytest.mark.statistical
def test_what_stands_for_the_rest_is_right_on_average() -> None:
    rng = np.random.default_rng(1)
    log_p = np.stack([log_softmax(3 * rng.normal(size=400))] * 2)
    moved = rng.normal(size=400)
    options = StateOptions(likely=10, others=4000)
    ids, shares = target_states._sample(log_p, log_p, options, rng)
    assert set(ids[0, :10].tolist()) == set(np.argsort(-log_p[0])[:10].tolist())
    exact = float(np.exp(log_p[0] + moved).sum())
    for row in range(2):
        found = np.exp(shares[row]) * np.exp(moved[ids[row]])
        error = found[10:].std() * 4000**0.5
        assert abs(found.sum() - exact) < 5 * error
        assert error < 0.05 * exact
    assert ids[0, 10:].tolist() != ids[1, 10:].tolist()


def test_a_pair_of_another_vocabulary_says_what_it_says_when_decoding(
    files: Files, tmp_path: Path
) -> None:
    """Also of tokens that it lacks, of which it weighs all pieces where they are likely."""
    vocab = bpe_vocab()
    target = files.model(vocab=vocab, chat_template=CHATML_TEMPLATE, scale=1.0)
    other: dict[str, Any] = {"vocab": spm_vocab(18, byte_tokens=True), "noise": 0.35}
    pair = Shift(*(files.model(**other, noise_seed=i).path for i in (1, 2)), strength=1.5)
    rng = np.random.default_rng(3)
    letters = [i for i, text in enumerate(vocab.tokens) if text.isascii() and text.isalpha()]
    tokens = tuple(int(x) for x in rng.choice(letters, 60))
    text = Text({"target": [letters[0]]}, tokens)
    every = StateOptions(likely=1000)
    states = cache_states(target.path, [text], tmp_path, every, shift=pair, progress=False).states
    merged = [vocab.tokens.index(name) for name in ("ab", "abcd", "Ġa", "Ġb", "cd")]
    compared = 0
    with Decoder(target.path, shifts={"its": pair}, n_ctx=256) as decoder:
        for i in range(len(tokens)):
            order = states.ids[i].tolist()
            said = states.log_p[i].astype(float)[[order.index(t) for t in range(len(order))]]
            likely = set(np.argsort(-said)[:12].tolist())
            for token in [*(likely & set(merged)), tokens[i]]:
                score = decoder.score([letters[0], *tokens[:i]], [token])
                kept = states.log_ratio[i][order.index(token)]
                wanted = score.shifts["its"][0]
                assert kept == pytest.approx(wanted, abs=2 * close_to(target, abs(wanted)))
                compared += token in merged
    assert compared >= 5


# --- going on -----------------------------------------------------------------------------------


def same(a: Cache, b: Cache) -> None:
    for field in fields(States):
        np.testing.assert_array_equal(getattr(a.states, field.name), getattr(b.states, field.name))


def test_a_cache_that_was_killed_goes_on_without_loss_or_repetition(
    target: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cache_states(target.path, TEXTS, tmp_path / "whole", FEW, progress=False)
    folder = tmp_path / "cut"
    killed = run_python(
        f"""
        import os, signal
        from pathlib import Path
        from rewardshift.train.target_states import *

        read = StatesReader.read

        def dies(self, text, number):
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return read(self, text, number)

        StatesReader.read = dies
        texts = [Text(*parts) for parts in {[(t.prompts, t.tokens) for t in TEXTS]}]
        options = StateOptions(likely=40, others=6, shard=2)
        cache_states(Path({str(target.path)!r}), texts, Path({str(folder)!r}), options)
        """
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in sorted(folder.glob("*.npz"))] == ["states-000000.npz"]
    read, numbers = StatesReader.read, []

    def noted(self: StatesReader, text: Text, number: int) -> States:
        numbers.append(number)
        return read(self, text, number)

    monkeypatch.setattr(StatesReader, "read", noted)
    found = cache_states(target.path, TEXTS, folder, FEW, progress=False)
    assert numbers == [2, 3, 4]  # what was saved is not read again
    same(found, whole)
    again = cache_states(target.path, TEXTS, folder, FEW, progress=False)
    assert len(numbers) == 3
    same(again, whole)
    assert again.seconds == found.seconds > 0
    assert found.bytes == sum(path.stat().st_size for path in folder.glob("*.npz"))


def test_more_texts_are_added_to_a_cache_and_others_replace_those_that_are_there(
    target: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, numbers = StatesReader.read, []

    def noted(self: StatesReader, text: Text, number: int) -> States:
        numbers.append(number)
        return read(self, text, number)

    monkeypatch.setattr(StatesReader, "read", noted)
    cache_states(target.path, TEXTS[:3], tmp_path, FEW, progress=False)
    longer = cache_states(target.path, TEXTS, tmp_path, FEW, progress=False)
    assert numbers == [0, 1, 2, 2, 3, 4]  # the second shard had one text only
    other = [TEXTS[1], *TEXTS[1:]]
    changed = cache_states(target.path, other, tmp_path, FEW, progress=False)
    assert numbers[6:] == [0, 1]
    assert changed.states.following[0] == TEXTS[1].tokens[0]
    monkeypatch.undo()
    same(longer, cache_states(target.path, TEXTS, tmp_path / "anew", FEW, progress=False))
    assert longer.states.digest() != changed.states.digest()


def test_a_cache_does_not_go_on_with_other_options_or_targets(
    files: Files, target: TinyModel, tmp_path: Path
) -> None:
    cache_states(target.path, TEXTS, tmp_path, FEW, progress=False)
    for options, path, named in (
        (replace(FEW, likely=41), target.path, "likely"),
        (FEW, files.model(vocab=bpe_vocab(), seed=2).path, "target"),
    ):
        with pytest.raises(ValueError, match=f"begun with {named} = "):
            cache_states(path, TEXTS, tmp_path, options, progress=False)
    with pytest.raises(ValueError, match="no texts"):
        cache_states(target.path, [], tmp_path / "none", FEW, progress=False)


# --- the texts ----------------------------------------------------------------------------------


def test_texts_are_of_the_target_and_of_the_shifted_target(
    target: TinyModel, pair: Shift, tmp_path: Path
) -> None:
    options = TextOptions(prompts=40, max_tokens=6)
    path = tmp_path / "texts.jsonl"
    texts = sample_texts(target.path, pair, QUESTIONS, path, options, progress=False)
    assert len(texts) == 80
    with Decoder(target.path, pair.draft, pair.reference, n_ctx=128) as decoder:
        asked = decoder.chat_prompts([{"role": "user", "content": QUESTIONS[0]}])[0]
        assert list(texts[0].prompts["target"]) == list(texts[1].prompts["target"]) == list(asked)

        def raised(text: Text) -> float:
            score = decoder.score(text.prompts["target"], text.tokens)
            return (score.implicit_reward or 0.0) / len(text.tokens)

        plain, aligned = (np.array([raised(t) for t in texts[i::2]]) for i in (0, 1))
    error = (plain.var() + aligned.var()) ** 0.5 / len(plain) ** 0.5
    assert aligned.mean() - plain.mean() > 4 * error


def test_sampling_texts_goes_on_where_it_stopped(
    target: TinyModel, pair: Shift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TextOptions(prompts=70, max_tokens=3)
    path = tmp_path / "texts.jsonl"
    batches = 0
    generate = Decoder.generate_batch

    def stops(self: Decoder, *arguments: Any, **more: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 4:  # amid the second group: a batch for each law
            raise KeyboardInterrupt
        return generate(self, *arguments, **more)

    monkeypatch.setattr(Decoder, "generate_batch", stops)
    with pytest.raises(KeyboardInterrupt):
        sample_texts(target.path, pair, QUESTIONS, path, options, progress=False)
    first = path.read_text().splitlines()
    texts = sample_texts(target.path, pair, QUESTIONS, path, options, progress=False)
    assert len(texts) == 140
    assert path.read_text().splitlines()[: len(first)] == first
    assert batches == 8
    again = sample_texts(target.path, pair, QUESTIONS, path, options, progress=False)
    assert again == [Text(t.prompts, list(t.tokens)) for t in texts]
    assert batches == 8
    with pytest.raises(ValueError, match="begun with max_tokens = 3, not 4"):
        sample_texts(target.path, pair, QUESTIONS, path, replace(options, max_tokens=4))
    with pytest.raises(ValueError, match="begun with prompt = cd, not dd"):
        sample_texts(target.path, pair, [QUESTIONS[0], "dd"], path, options)
    more = replace(options, prompts=72)
    longer = sample_texts(target.path, pair, QUESTIONS, path, more, progress=False)
    assert longer[:140] == again
    assert len(longer) == 144
    fewer = replace(options, prompts=2)
    assert sample_texts(target.path, pair, QUESTIONS, path, fewer, progress=False) == again[:4]


def test_a_pair_of_another_vocabulary_reads_conversations_in_its_own_template(
    files: Files, target: TinyModel, tmp_path: Path
) -> None:
    template = "{% for m in messages %}{{ m.content }}:{% endfor %}"
    other: dict[str, Any] = {"vocab": spm_vocab(18, byte_tokens=True), "chat_template": template}
    pair = Shift(*(files.model(**other, noise=0.35, noise_seed=i).path for i in (1, 2)))
    options = TextOptions(prompts=1, max_tokens=4)
    text, _ = sample_texts(target.path, pair, ["cd"], tmp_path / "t.jsonl", options, progress=False)
    assert text.prompts["draft"] == text.prompts["reference"]
    assert min(text.prompts["draft"]) >= target.spec.n_vocab  # ids of its own
    reader = StatesReader(target.path, pair, FEW, longest=64, progress=False)
    own = reader.read(text, 0)
    as_target = reader.read(Text({"target": text.prompts["target"]}, text.tokens), 0)
    assert np.abs(own.log_ratio.astype(float) - as_target.log_ratio).max() > 0.1


def test_responses_that_are_too_long_lose_their_end() -> None:
    (one,) = made_up_pairs(1)
    better, worse = texts_of([one], max_tokens=10)
    assert list(better.tokens) == list(one.chosen_ids)[:4]
    assert list(worse.tokens) == list(one.rejected_ids)[:4]
    with pytest.raises(ValueError, match="prompt of pair 1 has 6 tokens"):
        texts_of([one], max_tokens=6)
