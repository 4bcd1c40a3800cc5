"""Heads on cached states: they learn a pair's shift, or preferences, and are written as such."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from typer.testing import CliRunner

from rewardshift import Decoder, Shift
from rewardshift.cli.app import app
from tests.support import numpy_forward, precision
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinyModel, bpe_vocab
from tests.support.training import OTHERS_WARNINGS, QUESTIONS, made_up_pairs, run, write_liked

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # more would wait for each other: the models are tiny

from rewardshift.train import head_training, shift_head  # noqa: E402
from rewardshift.train.head import head_of_preferences, head_of_shift  # noqa: E402
from rewardshift.train.head_lessons import (  # noqa: E402
    LessonOptions,
    PairLesson,
    PreferenceLesson,
)
from rewardshift.train.head_texts import TextOptions, texts_of  # noqa: E402
from rewardshift.train.head_training import HeadOptions, learn_pair  # noqa: E402
from rewardshift.train.shift_head import ShiftHead, write_head  # noqa: E402
from rewardshift.train.target_states import StateOptions, States, cache_states  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.conftest import Files

pytestmark = OTHERS_WARNINGS

EVERY = StateOptions(likely=1000)
"""The whole vocabulary of tiny models."""


@pytest.fixture(scope="module")
def target(files: Files) -> TinyModel:
    return files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1)


@pytest.fixture(scope="module")
def linear(files: Files, target: TinyModel) -> Shift:
    """A pair whose log-ratio is linear in the target's state: the draft mutes a third of it."""
    muted = files.model(
        vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1, mute_outputs=tuple(range(3, 90))
    )
    return Shift(muted.path, target.path, strength=1.0)


@dataclass(frozen=True)
class Written:
    """A head's file, as anybody would read it."""

    keys: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    types: dict[str, GGMLQuantizationType]

    @classmethod
    def of(cls, path: Path) -> Written:
        reader = GGUFReader(path)
        return cls(
            {name: field.contents() for name, field in reader.fields.items()},
            {tensor.name: tensor.data for tensor in reader.tensors},
            {tensor.name: tensor.tensor_type for tensor in reader.tensors},
        )

    def says(self, states: NDArray[Any]) -> NDArray[np.float64]:
        """Lambda of the whole vocabulary, [n, v], by the law that the format states."""
        t = {name: values.astype(np.float64) for name, values in self.tensors.items()}
        codes = np.tanh(states.astype(np.float64) @ t["down.weight"].T + t["down.bias"])
        return np.asarray(codes @ t["up.weight"] * t["up.scale"])


def some_head(rank: int = 5) -> tuple[ShiftHead, NDArray[np.float32]]:
    """A head of random numbers over every other of forty tokens, and states for it."""
    rng = np.random.default_rng(1)
    states = (3 + 5 * rng.normal(size=(50, 8))).astype(np.float32)
    head = ShiftHead(states, np.arange(1, 41, 2, dtype=np.int32), rank=rank, seed=2)
    with torch.no_grad():
        head.up.copy_(torch.from_numpy(rng.normal(size=(20, rank))))
        head.up[7] = 0
    return head, states


# --- the file -----------------------------------------------------------------------------------


def test_a_written_head_says_what_the_torch_head_says(target: TinyModel, tmp_path: Path) -> None:
    head, states = some_head()
    path = tmp_path / "a.head.gguf"
    write_head(head, path, name="mine", target=target.path, vocab_size=42, strength=2.5)
    written = Written.of(path)
    assert written.keys["general.architecture"] == "rewardshift-head"
    assert written.keys["general.name"] == "mine"
    about = {k.split(".")[1]: v for k, v in written.keys.items() if k.startswith("rewardshift-")}
    assert about == {
        "kind": "shift",
        "rank": 5,
        "feature_length": 8,
        "vocab_size": 42,
        "strength": 2.5,
        "target": target.path.name,
    }
    shapes = {name: values.shape for name, values in written.tensors.items()}
    assert shapes == {
        "down.weight": (5, 8),
        "down.bias": (5,),
        "up.weight": (5, 42),
        "up.scale": (42,),
    }
    assert written.types["up.weight"] == GGMLQuantizationType.I8
    assert {written.types[n] for n in shapes if n != "up.weight"} == {GGMLQuantizationType.F32}
    found = written.says(states)
    with torch.no_grad():
        every = torch.arange(20).repeat(len(states), 1)
        wanted = head(torch.from_numpy(states), every).numpy()
    close = precision.of_sums(2, 8) * np.abs(found).max() * 4  # states are 4 spreads from 0
    np.testing.assert_allclose(found[:, 1:41:2], wanted, rtol=0, atol=close)
    assert np.abs(wanted).max() > 1
    assert not found[:, 0::2].any()  # of others it says nothing


def test_rounding_costs_half_a_step_of_each_token_s_scale() -> None:
    head, states = some_head(rank=16)
    every = torch.arange(20).repeat(len(states), 1)
    with torch.no_grad():
        up = head.up.numpy().astype(np.float64)
        codes = torch.tanh(head.down((torch.from_numpy(states) - head.mean) / head.spread))
        off = np.abs(head(torch.from_numpy(states), every).numpy() - codes.numpy() @ up.T)
    step = np.abs(up).max(1) / 127
    assert (off <= step / 2 * np.abs(codes.numpy()).sum(1)[:, None] + 1e-5).all()
    assert off.max() > step.max() / 4
    assert not off[:, 7].any()


# --- a pair's shift -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def read(
    target: TinyModel, linear: Shift, tmp_path_factory: pytest.TempPathFactory
) -> tuple[States, NDArray[np.int64]]:
    from rewardshift.train.head_texts import sample_texts

    folder: Path = tmp_path_factory.mktemp("read")
    asked = [f"{'ab'[i % 2]}{'cd' * i}" for i in range(30)]
    options = TextOptions(prompts=60, max_tokens=24, temperature=1.0)
    texts = sample_texts(target.path, linear, asked, folder / "t.jsonl", options, progress=False)
    found = cache_states(target.path, texts, folder / "states", EVERY, shift=linear, progress=False)
    return found.states, np.arange(len(texts)) // 2 % 30


QUICK = HeadOptions(
    rank=32, epochs=30, learning_rate=1e-2, lesson=LessonOptions(held_out=0.2, positions=128)
)


def test_a_head_learns_a_pair_s_shift_that_it_can_represent(
    read: tuple[States, NDArray[np.int64]], tmp_path: Path
) -> None:
    states, prompts = read
    _, found = learn_pair(states, prompts, 1.0, tmp_path, QUICK, progress=False)
    assert found["kl_without"] > 0.05
    assert found["explained"] > 0.9
    rows = [json.loads(line) for line in (tmp_path / "head.jsonl").read_text().splitlines()]
    assert abs(rows[0]["explained"]) < 1e-6  # it begins with nothing
    assert min(row["kl"] for row in rows) == found["kl"]
    assert (tmp_path / "head.svg").read_text().count("<path") > 10


def test_what_a_pair_lesson_measures_is_the_divergence_of_the_whole_vocabulary(
    read: tuple[States, NDArray[np.int64]],
) -> None:
    states, prompts = read
    head = ShiftHead(states.states, np.unique(states.ids).astype(np.int32), rank=4, seed=3)
    with torch.no_grad():
        head.up.normal_(generator=torch.Generator().manual_seed(1))
    lesson = PairLesson(states, prompts, 2.0, head, QUICK.lesson)
    found = lesson.measure(head)
    held = np.setdiff1d(np.arange(len(states.texts)), np.concatenate([*lesson.batches(0)]))
    assert (
        set(prompts[states.texts[held]])
        & set(prompts[states.texts[np.concatenate([*lesson.batches(0)])]])
        == set()
    )
    assert 0.1 < len(held) / len(states.texts) < 0.4
    log_p, ratio = (x[held].astype(np.float64) for x in (states.log_p, states.log_ratio))
    with torch.no_grad():
        places = torch.from_numpy(head.places(states.ids[held]).astype(np.int64))
        said = head(torch.from_numpy(states.states[held].astype(np.float32)), places).numpy()

    def law(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))

    goal = law(log_p + 2 * ratio)
    for name, other in (("kl", law(log_p + 2 * said)), ("kl_without", law(log_p))):
        wanted = (np.exp(goal) * (goal - other)).sum(1).mean()
        assert found[name] == pytest.approx(wanted, rel=1e-4)


def test_rounding_costs_a_trained_head_next_to_nothing(
    read: tuple[States, NDArray[np.int64]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, prompts = read
    head, found = learn_pair(states, prompts, 1.0, tmp_path, QUICK, progress=False)
    lesson = PairLesson(states, prompts, 1.0, head, QUICK.lesson)
    assert lesson.measure(head)["kl"] == pytest.approx(found["kl"])  # the best weights came back
    monkeypatch.setattr(shift_head, "rounded", lambda up: up.detach())
    exact = lesson.measure(head)
    assert exact["kl"] != found["kl"]
    assert abs(exact["explained"] - found["explained"]) < 0.005


def test_training_that_was_stopped_goes_on_to_the_same_head(
    read: tuple[States, NDArray[np.int64]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, prompts = read
    few = replace(QUICK, epochs=4)
    whole, wanted = learn_pair(states, prompts, 1.0, tmp_path / "whole", few, progress=False)
    measure, times = PairLesson.measure, 0

    def stops(self: PairLesson, head: ShiftHead) -> dict[str, float]:
        nonlocal times
        times += 1
        if times == 4:  # before any, and after the first and the second epoch
            raise KeyboardInterrupt
        return measure(self, head)

    monkeypatch.setattr(PairLesson, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        learn_pair(states, prompts, 1.0, tmp_path / "cut", few, progress=False)
    cut, found = learn_pair(states, prompts, 1.0, tmp_path / "cut", few, progress=False)
    assert times == 6
    for name, values in whole.state_dict().items():
        assert torch.equal(cut.state_dict()[name], values), name
    assert found["kl"] == wanted["kl"]
    # Another training, or one from other states, does not go on from there.
    turned = replace(states, log_ratio=-states.log_ratio)
    for number, (read_from, strength, options) in enumerate(
        ((states, 2.0, few), (turned, 2.0, few), (turned, 2.0, replace(few, rank=16)))
    ):
        fresh, same = (
            learn_pair(read_from, prompts, strength, tmp_path / folder, options, progress=False)[0]
            for folder in (f"fresh-{number}", "cut")
        )
        assert torch.equal(same.up, fresh.up)


def test_training_ends_with_the_weights_of_the_least_held_out_loss(tmp_path: Path) -> None:
    head, _ = some_head()
    losses = iter([3.0, 2.0, 1.0, 1.5, 4.0, 0.5])
    seen, shares = [], []

    class Lesson:
        def batches(self, epoch: int) -> Any:
            yield np.array([epoch])

        def loss(self, head: ShiftHead, batch: Any, *, done: float) -> Any:
            shares.append(done)
            return head.up.sum() * len(batch)

        def measure(self, head: ShiftHead) -> dict[str, float]:
            seen.append(head.up.detach().clone())
            return {"loss": next(losses), "accuracy": 0.0}

    options = HeadOptions(epochs=10, patience=2)
    found = head_training.train(head, Lesson(), tmp_path, options, {}, progress=False)
    assert found["loss"] == 1.0
    assert len(seen) == 5  # two epochs were no better
    assert shares == [0.0, 0.1, 0.2, 0.3]
    assert torch.equal(head.up, seen[2])
    assert not torch.equal(head.up, seen[4])


# --- preferences --------------------------------------------------------------------------------


def test_the_implicit_reward_of_a_response_is_that_of_the_law_that_a_head_makes(
    target: TinyModel, tmp_path: Path
) -> None:
    """log pi(y) − log p(y), here by numpy over whole rows of the target, and the written file."""
    pairs = made_up_pairs(12)
    cache = cache_states(
        target.path, texts_of(pairs, max_tokens=64), tmp_path / "states", EVERY, progress=False
    )
    head = ShiftHead(cache.states.states, np.arange(264, dtype=np.int32), rank=4, seed=3)
    with torch.no_grad():
        head.up.normal_(generator=torch.Generator().manual_seed(1))
    lesson = PreferenceLesson(cache.states, np.arange(12), head, LessonOptions(held_out=0.5))
    path = tmp_path / "h.gguf"
    write_head(head, path, name="h", target=target.path, vocab_size=264, strength=1.0)
    written = Written.of(path)
    weights = numpy_forward.effective_weights(target, None, 1.0)

    def reward(prompt: Any, tokens: Any) -> float:
        history = [*prompt, *tokens][:-1]
        rows = numpy_forward.logits(target, history)[-len(tokens) :]
        said = written.says(numpy_forward.states(target, history, weights)[-len(tokens) :])
        logprobs = [
            (z - np.log(np.exp(z).sum(1, keepdims=True)))[range(len(tokens)), tokens].sum()
            for z in (rows + said, rows)
        ]
        return float(logprobs[0] - logprobs[1])

    every = np.arange(12)
    with torch.no_grad():
        margins = lesson._margins(head, every)
    wanted = [
        reward(pair.prompt_ids, pair.chosen_ids) - reward(pair.prompt_ids, pair.rejected_ids)
        for pair in pairs
    ]
    assert np.std(wanted) > 1
    # A lambda and a log Z of each of 24 tokens, none of them larger than a logit.
    close = (2 * 24) ** 0.5 * precision.of_half_caches(target.spec)
    np.testing.assert_allclose(margins.numpy(), wanted, rtol=0, atol=close)


def test_a_head_prefers_what_is_preferred(target: TinyModel, tmp_path: Path) -> None:
    pairs = made_up_pairs(60)
    options = HeadOptions(
        rank=8,
        epochs=12,
        learning_rate=1e-2,
        lesson=LessonOptions(held_out=0.2),
    )
    path = tmp_path / "liked.head.gguf"
    keeping = StateOptions(likely=100, others=8)
    report = head_of_preferences(
        target.path,
        pairs,
        tmp_path,
        path,
        name="liked",
        keeping=keeping,
        options=options,
        progress=False,
    )
    measured = tmp_path / "head.jsonl"
    rows = [json.loads(line) for line in measured.read_text().splitlines()]
    assert rows[0]["accuracy"] == 0.5  # it begins without an opinion
    assert report.measured["accuracy"] > 0.9
    assert report.measured["loss"] < rows[0]["loss"] - 0.1
    assert report.positions == 60 * 24
    written = Written.of(path)
    assert written.keys["rewardshift-head.strength"] == 1.0
    assert written.tensors["up.weight"].shape == (8, 264)


def test_too_few_pairs_are_refused_before_anything_is_read(
    target: TinyModel, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="3 pairs are too few"):
        head_of_preferences(
            target.path, made_up_pairs(3), tmp_path / "run", tmp_path / "h.gguf", name="h"
        )
    assert not (tmp_path / "run").exists()


def test_decoded_with_a_head_says_what_its_pair_said_at_the_same_strength(
    target: TinyModel, linear: Shift, tmp_path: Path
) -> None:
    strong = replace(linear, strength=1.5)
    path = tmp_path / "muted.head.gguf"
    asked = [f"{'ab'[i % 2]}{'cd' * i}" for i in range(30)]
    report = head_of_shift(
        target.path,
        strong,
        asked,
        tmp_path / "run",
        path,
        name="muted",
        sampling=TextOptions(prompts=60, max_tokens=24, temperature=1.0),
        keeping=EVERY,
        options=QUICK,
        progress=False,
    )
    assert report.positions > 1000
    written = Written.of(path)
    assert written.keys["rewardshift-head.strength"] == 1.5
    assert written.keys["general.name"] == "muted"
    rng = np.random.default_rng(7)
    text = rng.integers(3, 250, 60).tolist()
    with Decoder(target.path, shift=strong, n_ctx=256) as pair:
        prompt = pair.chat_prompts([{"role": "user", "content": "dd"}])[0]
        goal, plain = (
            np.array(pair.score(prompt, text, strength=s).goal_logprobs) for s in (None, 0)
        )
    with Decoder(target.path, shift=Shift(head=path), n_ctx=256) as decoder:
        assert decoder.shifts["shift"].strength == 1.5
        found = np.array(decoder.score(prompt, text).goal_logprobs)
    assert np.square(found - goal).mean() < 0.2 * np.square(plain - goal).mean()


# --- the command --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_head_is_made_of_preferences_by_one_command(target: TinyModel, tmp_path: Path) -> None:
    liked, path = tmp_path / "liked.jsonl", tmp_path / "my.head.gguf"
    write_liked(liked)
    words = ("align", "--head", "-m", target.path, "--preferences", liked, path)
    told = run(*words, "--rank", 4, "--epochs", 2)
    assert "from" in told
    assert "held-out preference accuracy: " in told
    assert f"rewardshift chat -m {target.path} --shift mine={path}" in told.replace("\n", "")
    assert Written.of(path).tensors["down.weight"].shape == (4, 32)
    assert (tmp_path / "my.head-run" / "head.svg").exists()


@pytest.mark.slow
def test_a_head_is_made_of_a_pair_by_one_command(
    target: TinyModel, linear: Shift, tmp_path: Path
) -> None:
    path, prompts = tmp_path / "my.head.gguf", tmp_path / "prompts.txt"
    prompts.write_text("\n".join(QUESTIONS))
    pair = f"muted={linear.draft}:{linear.reference}"
    words = ("align", "--head", "--from-shift", pair, "-m", target.path, path)
    told = run(*words, "--prompts", prompts, "--num-prompts", 6, "-n", 5, "--epochs", 2)
    assert "of the shift (KL" in told
    assert "on disk" in told
    written = Written.of(path)
    assert written.keys["general.name"] == "muted"
    assert written.tensors["up.weight"].shape == (32, 264)
    texts = (tmp_path / "my.head-run" / "texts.jsonl").read_text().splitlines()
    assert len(texts) == 1 + 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--head a.gguf", "-m big.gguf"),
        ("-m a.gguf b.gguf c.gguf", "--target is for a head"),
        ("--from-shift positive a.gguf b.gguf", "--from-shift is for a head"),
        ("--head -m a.gguf", "takes one file"),
        ("--head -m a.gguf b.gguf c.gguf", "takes one file"),
        ("--head -m a.gguf --dial mine", "leave out --dial or --head"),
        ("--head -m a.gguf b.gguf --from-shift nonsense", "--from-shift takes NAME"),
        ("--head -m a.gguf b.gguf --from-shift a=c.head.gguf", "c.head.gguf is a head already"),
        ("--head -m a.gguf b.gguf --from-shift positive --reward vader", "leave out --reward"),
        ("--head -m a.gguf b.gguf --from-shift positive --samples 3", "leave out --samples"),
        ("--head -m a.gguf b.gguf --preferences no-such.jsonl", "no-such.jsonl: No such file"),
        (
            "--head -m a.gguf b.gguf --from-shift positive --preferences c.jsonl",
            "leave out --preferences",
        ),
    ],
)
def test_what_makes_no_head_is_refused_before_anything_is_read(words: str, said: str) -> None:
    done = CliRunner().invoke(app, ["align", *words.split()], env={"COLUMNS": "200"})
    assert done.exit_code == (1 if "No such file" in said else 2)
    assert said in done.output
