"""Heads that draft: they learn from cached states what comes next, and are written as such."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize, quantize
from typer.testing import CliRunner

from rewardshift import Decoder
from rewardshift.cli.app import app
from rewardshift.errors import ModelLoadError
from tests.support import precision, training
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinyModel, bpe_vocab
from tests.support.training import QUESTIONS

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # more would wait for each other: the models are tiny

from rewardshift.train import base_lesson  # noqa: E402
from rewardshift.train.base_head import BaseHead, output_rows, write_base_head  # noqa: E402
from rewardshift.train.base_lesson import BaseLesson  # noqa: E402
from rewardshift.train.base_training import (  # noqa: E402
    BaseHeadOptions,
    known_tokens,
    learn_base,
)
from rewardshift.train.corpus import CorpusOptions, Response  # noqa: E402
from rewardshift.train.head import BASE_STATES, base_head_of  # noqa: E402
from rewardshift.train.target_states import Cache, States  # noqa: E402
from tests.support.chains import Chain  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.conftest import Files

pytestmark = training.OTHERS_WARNINGS

CHAIN = Chain.random(40, 12, kept=0.6)
KNOWN = np.arange(1, 40, 3, dtype=np.int32)
"""Every third of its tokens."""


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor multiplies fastest."""
    monkeypatch.setattr(base_lesson, "fast_dtype", lambda _: torch.float32)


@pytest.fixture(scope="module")
def target(files: Files) -> TinyModel:
    return files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1)


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

    def step(self, z: NDArray[Any], x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The states behind tokens and the logits there, by the law that the format states."""
        t = {
            name: v if name == "tokens" else v.astype(np.float64)
            for name, v in self.tensors.items()
        }
        output = t["output.weight"] * t["output.scale"]
        e = np.zeros(z.shape)
        for row, token in enumerate(x):
            for i in np.flatnonzero(t["tokens"] == token):
                e[row] = output[:, i]
        mixed = np.concatenate([z, e], 1) * t["input.scale"] @ t["mix.weight"] * t["mix.scale"]
        mixed += t["mix.bias"]
        a = mixed / (1 + np.exp(-mixed))
        made = t["keep"] * z + a @ t["out.weight"] * t["out.scale"] + t["out.bias"]
        return made, made @ output


def some_head(states: States, tokens: NDArray[np.int32] = KNOWN, *, seed: int = 2) -> BaseHead:
    """A head of random numbers, rounded as it will be written."""
    head = BaseHead(
        CHAIN.output[tokens],
        tokens,
        states,
        vocab_size=40,
        hidden=24,
        seed=seed,
    )
    with torch.no_grad():
        head.out.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        head.keep.uniform_(-0.2, 0.6, generator=torch.Generator().manual_seed(3))
    head.round_weights()
    return head


def written(head: BaseHead, target: TinyModel, path: Path) -> Written:
    write_base_head(head, path, name="mine", target=target.path)
    return Written.of(path)


# --- the file -----------------------------------------------------------------------------------


def test_a_written_head_says_what_the_torch_head_says_feeding_on_itself(
    target: TinyModel, tmp_path: Path
) -> None:
    states = CHAIN.says(8, 20)
    head = some_head(states)
    file = written(head, target, tmp_path / "base.head.gguf")
    assert file.keys["general.architecture"] == "rewardshift-head"
    assert file.keys["general.name"] == "mine"
    about = {k.split(".")[1]: v for k, v in file.keys.items() if k.startswith("rewardshift-")}
    assert about == {
        "kind": "base",
        "feature_length": 12,
        "vocab_size": 40,
        "hidden_length": 24,
        "target": target.path.name,
    }
    assert {
        name: (values.shape, file.types[name].name) for name, values in file.tensors.items()
    } == {
        "tokens": ((13,), "I32"),
        "output.weight": ((12, 13), "I8"),
        "output.scale": ((13,), "F32"),
        "mix.weight": ((24, 24), "I8"),
        "mix.scale": ((24,), "F32"),
        "mix.bias": ((24,), "F32"),
        "out.weight": ((24, 12), "I8"),
        "out.scale": ((12,), "F32"),
        "out.bias": ((12,), "F32"),
        "keep": ((12,), "F32"),
        "input.scale": ((24,), "F32"),
    }
    np.testing.assert_array_equal(file.tensors["tokens"], KNOWN)
    for name in ("output", "mix", "out"):
        assert np.abs(file.tensors[f"{name}.weight"].astype(int)).max(0).tolist() == (
            [127] * file.tensors[f"{name}.scale"].size
        )
    rng = np.random.default_rng(5)
    tokens = rng.integers(40, size=(4, 100))
    assert 0.2 < np.isin(tokens, KNOWN).mean() < 0.5
    z = states.states[rng.integers(160, size=100)].astype(np.float64)
    state = torch.from_numpy(z.astype(np.float32))
    for depth, read in enumerate(tokens, 1):
        z, wanted = file.step(z, read)
        with torch.no_grad():
            state, found = head(state, torch.from_numpy(read))
        # A step has three sums in a row, of 24 terms at most, and each step takes on the last.
        close = precision.of_sums(3 * depth, 24)
        for ours, theirs in ((state, z), (found, wanted)):
            np.testing.assert_allclose(
                ours.numpy(), theirs, rtol=0, atol=close * 4 * np.abs(theirs).max()
            )
        assert np.abs(wanted).max() > 1


def test_tokens_that_a_head_does_not_know_are_all_the_same_to_it() -> None:
    states = CHAIN.says(8, 20)
    head = some_head(states)
    state = torch.from_numpy(states.states[:1].astype(np.float32))
    with torch.no_grad():
        said = [head(state, torch.tensor([token]))[1] for token in (0, 2, 1, 4)]
    assert torch.equal(said[0], said[1])
    assert not torch.equal(said[0], said[2])
    assert not torch.equal(said[2], said[3])


def test_a_head_begins_with_the_target_s_own_output(target: TinyModel) -> None:
    tokens = np.array([3, 9, 200], np.int32)
    output = output_rows(target.path, tokens)
    np.testing.assert_array_equal(output, target.weights["output.weight"][tokens])
    states = CHAIN.says(8, 20)
    head = BaseHead(CHAIN.output[KNOWN], KNOWN, states, vocab_size=40, hidden=24, seed=1)
    state = states.states[:40].astype(np.float32)
    with torch.no_grad():
        _, logits = head(torch.from_numpy(state), torch.zeros(40, dtype=torch.int64))
    # Half of the state, half of what is usual: nothing else has been learned.
    usual = states.states.astype(np.float64).mean(0)
    wanted = (state + usual) / 2 @ CHAIN.output[KNOWN].T
    np.testing.assert_allclose(logits.numpy(), wanted, rtol=0, atol=1e-4)


def test_a_target_whose_output_is_its_embedding_has_that_and_one_without_is_refused(
    tmp_path: Path,
) -> None:
    rows = np.random.default_rng(1).normal(size=(10, 64)).astype(np.float32)
    kind = GGMLQuantizationType.Q4_0
    tied, neither = tmp_path / "tied.gguf", tmp_path / "neither.gguf"
    for path, name in ((tied, "token_embd.weight"), (neither, "else.weight")):
        writer = GGUFWriter(path, "llama")
        writer.add_tensor(name, quantize(rows, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    kept = np.array([2, 7], np.int32)
    np.testing.assert_array_equal(
        output_rows(tied, kept), dequantize(quantize(rows, kind), kind)[kept]
    )
    with pytest.raises(ModelLoadError, match=r"neither.gguf has no output.weight nor token_embd"):
        base_head_of(neither, None, tmp_path / "run", tmp_path / "h.gguf", name="h")
    assert not (tmp_path / "run").exists()


# --- what is learned ----------------------------------------------------------------------------


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    law = np.exp(logits - logits.max())
    return np.asarray(law / law.sum(), np.float64)


@dataclass(frozen=True)
class Met:
    """A step as the definition has it: kept laws by token, and how often a round comes there."""

    p: dict[int, float]
    b: dict[int, float]
    likely: list[int]
    reached: float
    away: NDArray[np.float64]


def walks(
    file: Written, states: States, start: int, *, steps: int, likely: int, temperature: float
) -> list[Met]:
    """A start's steps, one number at a time."""
    found = []
    z = states.states[start].astype(np.float64)
    reached = 1.0
    for at in range(start + 1, start + 1 + steps):
        if at >= len(states.texts) or states.texts[at] != states.texts[start]:
            break
        made, logits = file.step(z[None], states.following[at - 1 : at])
        z = made[0]
        law = softmax(logits[0] / temperature)
        b = dict(zip(file.tensors["tokens"].tolist(), law.tolist(), strict=True))
        ids = states.ids[at].tolist()
        kept = softmax(states.log_p[at].astype(np.float64) / temperature)
        if temperature == 1:
            kept = np.exp(states.log_p[at].astype(np.float64))
        p = dict(zip(ids, kept.tolist(), strict=True))
        away = z - states.states[at].astype(np.float64)
        found.append(Met(p, b, ids[:likely], reached, away))
        following = int(states.following[at])
        is_known = following in b and following in ids[:likely]
        reached *= min(1.0, b[following] / p[following]) if is_known else 0.0
    return found


def overlap(met: Met) -> float:
    return sum(min(met.p[x], met.b.get(x, 0.0)) for x in met.likely)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("top_k", [0, 4])
@pytest.mark.parametrize("kept", [None, 9])
def test_the_loss_is_what_its_definition_says_over_a_tiny_vocabulary(
    target: TinyModel, tmp_path: Path, steps: int, top_k: int, kept: int | None
) -> None:
    states = CHAIN.says(6, 5, likely=kept)
    head = some_head(states)
    file = written(head, target, tmp_path / "h.gguf")
    options = BaseHeadOptions(self_fed_steps=steps, top_k=top_k, positions=100)
    lesson = BaseLesson(states, np.arange(6), options, likely=kept or 64)
    starts = np.sort(np.concatenate([lesson._learned, lesson._held]))
    assert starts.tolist() == [i for i in range(30) if i % 5 < 4]  # nothing is behind the last
    sums: dict[str, list[float]] = {"entropy": [], "lk": [], "away": [], "weight": []}
    spread = head.spread.double().numpy()
    for start in starts:
        for met in walks(file, states, start, steps=steps, likely=kept or 40, temperature=1.0):
            of_known = {x: p for x, p in met.p.items() if x in met.b}
            total = sum(of_known.values())
            terms = {x: -p / total * np.log(met.b[x]) for x, p in of_known.items()}
            top = sorted((x for x in met.likely if x in terms), key=lambda x: -of_known[x])[:top_k]
            away = np.abs(met.away / spread)
            smooth = np.where(away < 1, 0.5 * away**2, away - 0.5)
            sums["entropy"].append(sum(terms.values()) + sum(terms[x] for x in top))
            sums["lk"].append(-np.log(max(overlap(met), 1e-4)))
            sums["away"].append(float(smooth.mean()))
            sums["weight"].append(met.reached)
    weights = np.array(sums["weight"])
    entropy, lk, away = (
        np.average(sums[name], weights=weights) for name in ("entropy", "lk", "away")
    )
    with torch.no_grad():
        warm, late = (float(lesson.loss(head, starts, done=done)) for done in (0.49, 0.5))
    assert warm == pytest.approx(entropy + 0.1 * away, rel=1e-4)
    assert late == pytest.approx(lk + 0.1 * entropy + 0.1 * away, rel=1e-4)
    assert (weights == 1).all() == (steps == 1)


@pytest.mark.parametrize("kept", [None, 9])
def test_what_is_measured_is_what_its_definition_says(
    target: TinyModel, tmp_path: Path, kept: int | None
) -> None:
    states = CHAIN.says(60, 8, likely=kept)
    head = some_head(states, np.arange(5, 40, dtype=np.int32))
    file = written(head, target, tmp_path / "h.gguf")
    options = BaseHeadOptions(self_fed_steps=4, held_out=0.3)
    lesson = BaseLesson(states, np.arange(60) // 2, options, likely=kept or 64)
    found = lesson.measure(head)
    held = lesson._held
    texts = set(states.texts[held].tolist())
    assert len(texts) == 18  # of nine of 30 prompts, two texts each
    assert not {t // 2 for t in texts} & set((states.texts[lesson._learned] // 2).tolist())
    accepted, reached = np.zeros(4), np.zeros(4)
    for start in held:
        steps = walks(file, states, start, steps=4, likely=kept or 40, temperature=0.8)
        for j, met in enumerate(steps):
            accepted[j] += met.reached * overlap(met)
            reached[j] += met.reached
    shares = accepted / reached
    for j, share in enumerate(shares, 1):
        assert found[f"acceptance_{j}"] == pytest.approx(share, rel=1e-4)
    brought = shares[0] + shares[0] * shares[1] + shares[0] * shares[1] * shares[2]
    assert found["tokens_a_round"] == pytest.approx(1 + brought, rel=1e-4)
    assert found["loss"] == pytest.approx(1 - brought / 3, rel=1e-4)


@pytest.mark.statistical
def test_tokens_a_round_are_those_of_rounds_that_draft_and_verify(
    chained: tuple[Path, Cache], target: TinyModel, tmp_path: Path
) -> None:
    """Rounds by the book, over laws of the chain itself, with drafts of the head's own."""
    temperature = 0.8
    states = CHAIN.says(3000, 12, temperature=temperature)
    head = learned(chained, tmp_path, replace(QUICK, epochs=3))[0]  # half of what it could
    file = written(head, target, tmp_path / "h.gguf")
    lesson = BaseLesson(states, np.arange(3000), BaseHeadOptions(held_out=0.6), likely=64)
    found = lesson.measure(head)
    rng = np.random.default_rng(3)
    # Starts that have three tokens behind them, as many as the measure has at every depth.
    starts = np.flatnonzero(np.arange(len(states.texts)) % 12 < 9)
    starts = rng.choice(starts, 20_000)
    z, x = states.states[starts].astype(np.float64), states.following[starts]
    own = z
    accepted = np.zeros((3, len(starts)), bool)
    goes_on = np.ones(len(starts), bool)
    for j in range(3):
        z, logits = file.step(z, x)
        b = np.exp(logits / temperature)
        b /= b.sum(1, keepdims=True)
        drafts = (rng.random((len(x), 1)) > b.cumsum(1)).sum(1).clip(max=39)
        own, rows = CHAIN.behind(own, x), np.arange(len(x))
        p = np.exp(CHAIN.log_p(own, temperature))
        goes_on &= rng.random(len(x)) * b[rows, drafts] < p[rows, drafts]
        accepted[j] = goes_on
        x = drafts
    brought = accepted.sum(0)
    # The measure's own error, were the starts that share a text all the same.
    texts = len(set(states.texts[lesson._held].tolist()))
    error = brought.std() * np.sqrt(1 / len(starts) + 1 / texts)
    assert found["tokens_a_round"] == pytest.approx(1 + brought.mean(), abs=5 * error)
    assert 5 * error < 0.15 * brought.mean()


def test_positions_are_met_once_an_epoch_on_average() -> None:
    states = CHAIN.says(40, 30)
    for steps in (1, 3):
        options = BaseHeadOptions(self_fed_steps=steps, positions=64)
        lesson = BaseLesson(states, np.arange(40), options, likely=64)
        batches = list(lesson.batches(0))
        starts = np.concatenate(batches)
        assert len(set(starts.tolist())) == len(starts)
        assert len(starts) == -(-len(lesson._learned) // steps)
        assert {len(batch) for batch in batches[:-1]} == {64}
        assert set(starts.tolist()) <= set(lesson._learned.tolist())
        assert not np.array_equal(starts, np.concatenate([*lesson.batches(1)]))


def test_texts_of_one_token_teach_nothing() -> None:
    with pytest.raises(ValueError, match="nothing to draft"):
        BaseLesson(CHAIN.says(20, 1), np.arange(20), BaseHeadOptions(), likely=64)


# --- training -----------------------------------------------------------------------------------

QUICK = BaseHeadOptions(width=96, epochs=20, patience=20, positions=64, learning_rate=2e-2)


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cache]:
    """A file with the chain's output, and what was cached of its texts."""
    path = tmp_path_factory.mktemp("chain") / "chain.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("output.weight", CHAIN.output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, Cache(CHAIN.says(120, 24, temperature=0.8), 40, 1.0, 0.0, 0)


def learned(
    chained: tuple[Path, Cache], run: Path, options: BaseHeadOptions
) -> tuple[BaseHead, dict[str, float]]:
    path, cache = chained
    every = np.arange(40, dtype=np.int32)
    return learn_base(path, cache, np.arange(120), every, run, options, likely=64, progress=False)


@pytest.mark.parametrize("options", [QUICK, replace(QUICK, warm=1.0), replace(QUICK, top_k=0)])
def test_a_head_learns_to_draft_where_the_next_state_can_be_known(
    chained: tuple[Path, Cache], tmp_path: Path, options: BaseHeadOptions
) -> None:
    head, found = learned(chained, tmp_path, options)
    rows = [json.loads(line) for line in (tmp_path / "head.jsonl").read_text().splitlines()]
    assert rows[0]["tokens_a_round"] < 2
    assert found["tokens_a_round"] > 3.2
    assert min(found[f"acceptance_{j}"] for j in (1, 2, 3)) > 0.8
    # What is told is told of the weights as they are written.
    lesson = BaseLesson(chained[1].states, np.arange(120), options, likely=64)
    assert lesson.measure(head)["loss"] == found["loss"]
    assert found["tokens_a_round"] != max(row["tokens_a_round"] for row in rows)
    assert (tmp_path / "head.svg").read_text().count("<path") > 10


def test_a_head_that_feeds_on_itself_in_training_drafts_further(
    chained: tuple[Path, Cache], tmp_path: Path
) -> None:
    alone, fed = (
        # The same number of steps of the optimiser: an epoch of one has fewer.
        learned(chained, tmp_path / str(n), replace(QUICK, self_fed_steps=n, epochs=6 * n))[1]
        for n in (1, 3)
    )
    assert fed["acceptance_3"] > alone["acceptance_3"]


def test_training_that_was_stopped_goes_on_to_the_same_head(
    chained: tuple[Path, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(QUICK, epochs=4)
    whole, wanted = learned(chained, tmp_path / "whole", few)
    measure, times = BaseLesson.measure, 0

    def stops(self: BaseLesson, head: BaseHead) -> dict[str, float]:
        nonlocal times
        times += 1
        if times == 4:  # before any, and after the first and the second epoch
            raise KeyboardInterrupt
        return measure(self, head)

    monkeypatch.setattr(BaseLesson, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        learned(chained, tmp_path / "cut", few)
    cut, found = learned(chained, tmp_path / "cut", few)
    assert times == 7  # two more epochs, and the rounded weights
    for name, values in whole.state_dict().items():
        assert torch.equal(cut.state_dict()[name], values), name
    assert found["loss"] == wanted["loss"]
    # Other options begin anew, in the same place.
    other = replace(few, top_k=0)
    fresh, same = (learned(chained, tmp_path / name, other)[0] for name in ("fresh", "cut"))
    assert torch.equal(same.output, fresh.output)
    assert not torch.equal(same.output, whole.output)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"self_fed_steps": 0}, "self_fed_steps must be between 1 and 4"),
        ({"self_fed_steps": 5}, "self_fed_steps must be between 1 and 4"),
        ({"vocabulary": 0}, "vocabulary must be at least 1"),
        ({"width": 0}, "width must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"warm": 1.5}, "warm must be between 0 and 1"),
        ({"held_out": -1.0}, "held_out must be between 0 and 1"),
        ({"top_k": -1}, "top_k must be at least 0"),
    ],
)
def test_options_that_train_nothing_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BaseHeadOptions(**changed)


# --- the tokens ---------------------------------------------------------------------------------


def test_a_head_knows_the_commonest_tokens_and_those_that_end_a_turn(target: TinyModel) -> None:
    ends = target.spec.vocab.eog
    tokens = np.array([5, 100, 100, 101], np.int32)
    law = np.log(np.array([[0.7, 0.3], [0.6, 0.4]], np.float16))
    response = Response(tokens, 2, np.array([[200, 201], [200, 202]], np.int32), law)
    found = known_tokens(target.path, [response], 264, 7)
    assert found.dtype == np.int32
    assert len(found) == 7
    assert (np.diff(found) > 0).all()
    assert ends & set(found.tolist())
    assert {200, 5, 100} <= set(found.tolist())  # 1.3, 1 and 1 times
    assert 101 not in found  # it was said, and hardly to be expected
    np.testing.assert_array_equal(known_tokens(target.path, [response], 264, 8192), np.arange(264))


# --- from beginning to end ----------------------------------------------------------------------

LITTLE: dict[str, Any] = {
    "sampling": CorpusOptions(responses=12, max_tokens=6, temperatures=(0.8,), shard=8),
    "keeping": replace(BASE_STATES, shard=4),
    "options": BaseHeadOptions(vocabulary=100, width=16, epochs=2),
    "progress": False,
}


def test_each_part_of_a_head_goes_on_where_it_was_stopped_and_the_target_is_read_once(
    target: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / "my.head.gguf", tmp_path / "run"
    made = base_head_of(target.path, QUESTIONS, folder, path, name="my", **LITTLE)
    file = Written.of(path)
    assert file.keys["rewardshift-head.target"] == target.path.name
    assert file.tensors["output.weight"].shape == (32, 100)
    assert file.tensors["mix.weight"].shape == (64, 16)
    assert target.spec.vocab.eog <= set(file.tensors["tokens"].tolist())
    corpus, states = (sorted((folder / name).glob("*.npz")) for name in ("corpus", "states"))
    assert (len(corpus), len(states)) == (2, 3)
    assert made.positions == sum(len(np.load(p)["following"]) for p in states) > 30
    assert made.bytes == sum(p.stat().st_size for p in states)
    # What is there is not made again, and what is missing is.
    before = {p: p.stat().st_mtime_ns for p in (*corpus, *states)}
    states[1].unlink()
    again = base_head_of(target.path, QUESTIONS, folder, path, name="my", **LITTLE)
    assert again.measured == made.measured
    after = {p: p.stat().st_mtime_ns for p in (*corpus, *states)}
    assert [p for p in before if before[p] != after[p]] == [states[1]]
    # Training alone needs no target: other options of it sample and read nothing.
    monkeypatch.setattr("rewardshift.train.target_states.StatesReader", None)
    monkeypatch.setattr("rewardshift.train.corpus.Decoder", None)
    other = {**LITTLE, "options": replace(LITTLE["options"], width=8)}
    base_head_of(target.path, QUESTIONS, folder, path, name="my", **other)
    assert Written.of(path).tensors["mix.weight"].shape == (64, 8)
    other = {**LITTLE, "sampling": replace(LITTLE["sampling"], max_tokens=7)}
    with pytest.raises(ValueError, match="was begun with max_tokens = 6, not 7"):
        base_head_of(target.path, QUESTIONS, folder, path, name="my", **other)


@pytest.mark.slow
def test_a_head_that_drafts_is_made_by_one_command(target: TinyModel, tmp_path: Path) -> None:
    path, prompts = tmp_path / "my.head.gguf", tmp_path / "prompts.txt"
    prompts.write_text("\n".join(QUESTIONS))
    words = ("distill", "--head", target.path, path, "--prompts", prompts)
    told = training.run(*words, "--responses", 12, "-n", 6, "--epochs", 2, "--self-fed-steps", 2)
    assert re.search(r"my\.head\.gguf: .*, from \d+ positions, which the target took \d+ s", told)
    assert "on disk" in told
    by_position = r"by position: 0\.\d+, 0\.\d+, 0\.\d+; with three drafts \d\.\d\d tokens a round"
    assert re.search(by_position, told)
    assert f"rewardshift chat -m {target.path} --base {path}" in told.replace("\n", "")
    with Decoder(target.path, base=path, n_ctx=128, n_threads=1, progress=False) as decoder:
        said = decoder.generate([5, 6], max_tokens=8, num_draft_tokens=3, seed=1)
        assert said.statistics.drafted > 0
    file = Written.of(path)
    assert file.keys["general.name"] == "my.head"
    assert file.tensors["output.weight"].shape == (32, 264)  # the target has no more
    assert file.tensors["mix.weight"].shape == (64, 64)
    assert (tmp_path / "my.head-run" / "head.svg").exists()
    about = json.loads((tmp_path / "my.head-run" / "head.json").read_text())
    assert (about["self_fed_steps"], about["epochs"], about["vocabulary"]) == (2, 2, 8192)
    training.run(*words, "--responses", 12, "-n", 6, "--vocabulary", 50, "--width", 8)
    assert Written.of(path).tensors["out.weight"].shape == (8, 32)
    assert len(Written.of(path).tensors["tokens"]) == 50


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--head --tokens 5", "--tokens is for a student"),
        ("--head --layers 2", "--layers is for a student"),
        ("--head --from c.gguf", "--from is for a student"),
        ("--head --type Q4_0", "--type is for a student"),
        ("--epochs 3", "--epochs is for a head"),
        ("--head --self-fed-steps 5", "--self-fed-steps must be between 1 and 4 for a head, not 5"),
        ("--head --epochs 0", "--epochs"),
        ("--head --prompts no-such.txt", "no-such.txt: No such file"),
    ],
)
def test_flags_of_the_other_kind_are_refused_before_anything_is_read(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["distill", "a.gguf", "b.gguf", *words.split()], env={"COLUMNS": "200"}
    )
    assert done.exit_code == (1 if "No such file" in said else 2)
    assert said in done.output
    assert list(tmp_path.iterdir()) == []
