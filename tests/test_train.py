"""The recipe on tiny models: what is sampled, learned, aligned and written is what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
from typer.testing import CliRunner

from rewardshift import Decoder, ModelLoadError
from rewardshift.cli.app import app
from rewardshift.dials.catalogue import dial_named
from rewardshift.dials.dial import Strengths, write_dial
from rewardshift.dials.references import reference_of
from rewardshift.prompt_files import read_preferences, read_prompts
from tests.support import precision
from tests.support.engine import open_context, rows
from tests.support.precision import BFLOAT16, FLOAT16, FLOAT32
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinyModel, TinySpec, bpe_vocab

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # more would wait for each other: the models are tiny

from rewardshift.chat.turns import end_of_turn, opening_of_user_turn  # noqa: E402
from rewardshift.train import corpus, export, loss, muon, pairs  # noqa: E402
from rewardshift.train.align import AlignOptions, align, split  # noqa: E402
from rewardshift.train.distill import (  # noqa: E402
    Batch,
    DistillOptions,
    batches,
    distill,
    distill_target,
)
from rewardshift.train.lesson import Reader  # noqa: E402
from rewardshift.train.muon import Muon  # noqa: E402
from rewardshift.train.rounding import rounded, standing_in  # noqa: E402
from rewardshift.train.student import Shape, new_student, projection, read_model  # noqa: E402
from tests.support.training import (  # noqa: E402
    OTHERS_WARNINGS,
    QUESTIONS,
    SHAPE,
    made_up_pairs,
    run,
    run_distill,
    write_liked,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

pytestmark = OTHERS_WARNINGS

EXACT: dict[str, Any] = {"type_k": "f32", "type_v": "f32", "flash_attn": False, "n_ctx": 256}
STUDENT = TinySpec(vocab=bpe_vocab(), n_embd=SHAPE.width, n_layer=SHAPE.layers, n_ff=SHAPE.hidden)
"""What the student is to the tolerances: its logits spread like a tiny model's."""
TOKENS = [5, 9, 30, 100, 7, 8, 263]


@pytest.fixture(scope="module")
def target(files: Files) -> TinyModel:
    return files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1)


@pytest.fixture(scope="module")
def student(target: TinyModel) -> Any:
    made = new_student(target.path, SHAPE, 1)
    torch.manual_seed(3)
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    return made


@pytest.fixture(scope="module")
def reference(student: Any, target: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("student") / "student.gguf"
    export.write_student(student, target.path, path, "F32")
    return path


def torch_logits(model: Any) -> np.ndarray:
    """After each of TOKENS."""
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0].double().numpy()


def torch_logprobs(model: Any) -> np.ndarray:
    """Of TOKENS after the first."""
    logprobs = torch.log_softmax(torch.from_numpy(torch_logits(model)), -1)
    return logprobs[range(len(TOKENS) - 1), TOKENS[1:]].numpy()


# --- export -------------------------------------------------------------------------------------


def test_a_written_student_has_the_logits_of_the_torch_model(
    student: Any, target: TinyModel, reference: Path
) -> None:
    wanted = torch_logprobs(student)
    with Decoder(target.path, reference, **EXACT) as decoder:  # and the target's vocabulary
        found = decoder.score(TOKENS[:1], TOKENS[1:]).draft_logprobs
    assert np.ptp(wanted) > 1
    close = 2 * precision.of_logprobs(STUDENT)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=close)


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q5_0", "Q4_0"])
def test_a_student_of_any_type_has_the_logits_of_its_rounded_weights(
    student: Any, target: TinyModel, tmp_path: Path, kind: str
) -> None:
    """But for the activations, which kernels round to 16 or 8 bits.

    That costs what weights of as many bits cost, and they are seen to.
    """

    def written(kind: str) -> Path:
        path = tmp_path / f"{kind}.gguf"
        export.write_student(student, target.path, path, kind)
        return path

    path, alike = written(kind), written("F16" if kind == "F16" else "Q8_0")
    found = rows(open_context(TinyModel(path, STUDENT, {})), (0, TOKENS, len(TOKENS)))
    off = np.square(found - torch_logits(read_model(path))).mean() ** 0.5
    cost = np.square(torch_logits(read_model(alike)) - torch_logits(student)).mean() ** 0.5
    assert off < 2 * cost


def test_a_student_keeps_the_tokenizer_and_the_template(target: TinyModel, reference: Path) -> None:
    ours, theirs = gguf.GGUFReader(reference), gguf.GGUFReader(target.path)
    keys = [key for key in theirs.fields if key.startswith("tokenizer.")]
    assert "tokenizer.chat_template" in keys
    for key in keys:
        assert ours.fields[key].contents() == theirs.fields[key].contents(), key


def test_an_unknown_type_and_another_vocabulary_are_refused(
    student: Any, files: Files, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no type 'Q9'"):
        export.write_student(student, files.model().path, tmp_path / "s.gguf", "Q9")
    with pytest.raises(ValueError, match="264 tokens"):
        export.write_student(student, files.model().path, tmp_path / "s.gguf")


def test_a_gguf_read_for_training_has_its_logits(student: Any, reference: Path) -> None:
    close = 2 * precision.of_logprobs(STUDENT)
    found, wanted = torch_logprobs(read_model(reference)), torch_logprobs(student)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=close)


@pytest.mark.parametrize("arch", ["llama", "qwen2"])
def test_a_written_adapter_has_the_logits_of_the_torch_model(
    files: Files, tmp_path: Path, arch: str
) -> None:
    from peft import LoraConfig, get_peft_model

    tiny = files.model(arch=arch, vocab=bpe_vocab(), n_head=4, n_head_kv=2)
    base, model = tiny.path, read_model(tiny.path)
    torch.manual_seed(1)
    before = torch_logprobs(model)
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.copy_(0.2 * torch.randn_like(weights))
    path = tmp_path / "adapter.gguf"
    export.write_adapter(model, base, path)
    with Decoder(base, reference=base, draft_lora=path, **EXACT) as decoder:
        found = decoder.score(TOKENS[:1], TOKENS[1:])
    after = torch_logprobs(model)
    close = precision.SIGMAS * precision.of_weights(tiny.spec, "F16")  # the adapter's type
    np.testing.assert_allclose(found.draft_logprobs, after, rtol=0, atol=close)
    close = 2 * precision.of_logprobs(tiny.spec)
    np.testing.assert_allclose(found.reference_logprobs, before, rtol=0, atol=close)
    assert np.abs(after - before).max() > 0.1


def test_a_projection_keeps_what_it_can() -> None:
    left, right = np.random.default_rng(1), np.random.default_rng(2)
    low_rank = left.normal(size=(50, 3)) @ right.normal(size=(3, 8))
    kept = projection(low_rank.astype(np.float32), 3)
    wanted = low_rank @ low_rank.T
    close = precision.of_sums(2, 8) * np.abs(wanted).max()
    np.testing.assert_allclose(kept @ kept.T, wanted, rtol=0, atol=close)
    assert projection(low_rank.astype(np.float32), 12).shape == (50, 12)


# --- the loss -----------------------------------------------------------------------------------


def test_candidates_for_all_tokens_are_the_softmax() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, ids = torch.randn(6, 40, generator=generator), torch.randint(40, (6, 5))
    chosen = loss.Candidates.choose(ids, 40, 40, generator)
    found = loss.log_softmax_at(logits[:, chosen.ids], chosen.places(ids), chosen.log_weights, 0.7)
    torch.testing.assert_close(found, torch.log_softmax(logits / 0.7, 1).gather(1, ids))


@pytest.mark.statistical
def test_candidates_stand_for_the_rest_of_the_vocabulary() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, ids = torch.randn(1, 400, generator=generator), torch.tensor([[3, 7]])
    sums = []
    for _ in range(2000):
        chosen = loss.Candidates.choose(ids, 400, 20, generator)
        sums.append((logits[0, chosen.ids] + chosen.log_weights).exp().sum())
    drawn = torch.stack(sums)
    error = float((drawn.mean() - logits.exp().sum()) / (drawn.std() / len(drawn) ** 0.5))
    assert abs(error) < 5


def test_acceptance_is_one_less_the_total_variation() -> None:
    p, q = torch.log_softmax(torch.randn(2, 9, 30), -1)
    wanted = 1 - 0.5 * (p.exp() - q.exp()).abs().sum(1)
    torch.testing.assert_close(loss.acceptance(q, p), wanted)


def test_cross_entropy_counts_the_tail_as_one() -> None:
    p, q = torch.log_softmax(torch.randn(2, 9, 30), -1)
    short = loss.cross_entropy(q[:, :30], p[:, :30])
    # Nothing is left for the tail but the rounding of a sum, times the log of the least tail.
    close = precision.of_sums(1, 30)
    wanted = -(p.exp() * q).sum(1)
    torch.testing.assert_close(short, wanted, atol=-np.log(1e-4) * close, rtol=close)
    tails = [1 - x[:, :4].exp().sum(1) for x in (p, q)]
    wanted = -(p[:, :4].exp() * q[:, :4]).sum(1) - tails[0] * tails[1].log()
    torch.testing.assert_close(loss.cross_entropy(q[:, :4], p[:, :4]), wanted)


def test_positions_count_by_how_often_drafts_get_there() -> None:
    accepted = torch.tensor([0.5, 0.2, 1.0, 0.3, 0.9])
    starts = torch.tensor([True, False, False, True, False])
    # Drafts of 3: each position itself, one before accepted, two before accepted.
    wanted = torch.tensor([1, 1 + 0.5, 1 + 0.2 + 0.5 * 0.2, 1, 1 + 0.3])
    torch.testing.assert_close(loss.self_fed_weights(accepted, starts, 3), wanted / wanted.mean())
    torch.testing.assert_close(loss.self_fed_weights(accepted, starts, 1), torch.ones(5))


# --- the corpus ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled(target: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("corpus")
    options = corpus.CorpusOptions(responses=80, max_tokens=24, top_k=200, shard=40)
    corpus.sample_corpus(target.path, folder, options, prompts=QUESTIONS, progress=False)
    return folder


def responses(folder: Path) -> list[corpus.Response]:
    return [r for path in sorted(folder.glob("*.npz")) for r in corpus.load(path)]


def test_what_is_kept_is_the_target_s_law_at_temperature_1(
    target: TinyModel, sampled: Path
) -> None:
    with Decoder(target.path, **EXACT) as decoder:
        for r in responses(sampled)[:6]:
            prompt = r.tokens[: r.prompt_length].tolist()
            said = r.tokens[r.prompt_length :]
            wanted = decoder.score(prompt, said.tolist()).target_logprobs
            at = r.top_ids == said[:, None]
            assert at.any(1).mean() > 0.8
            for row, value in enumerate(wanted):
                if at[row].any():
                    close = 2 * precision.of_half_caches(target.spec) + FLOAT16 * abs(value)
                    assert r.top_logprobs[row][at[row]][0] == pytest.approx(value, abs=close)


def test_a_corpus_is_not_sampled_twice(target: TinyModel, sampled: Path) -> None:
    files = {path: path.read_bytes() for path in sorted(sampled.glob("*.npz"))}
    assert len(files) == 2
    last = max(files)
    last.unlink()
    options = corpus.CorpusOptions(responses=80, max_tokens=24, top_k=200, shard=40)
    corpus.sample_corpus(target.path, sampled, options, prompts=QUESTIONS, progress=False)
    again = {path: path.read_bytes() for path in sorted(sampled.glob("*.npz"))}
    first = min(files)
    assert again.keys() == files.keys()
    assert again[first] == files[first]
    for a, b in zip(corpus.load(last), corpus.load(last), strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)


def test_a_run_does_not_go_on_with_other_options(target: TinyModel, sampled: Path) -> None:
    options = corpus.CorpusOptions(responses=80, max_tokens=24, top_k=200, shard=40)
    others = replace(options, max_tokens=25)
    with pytest.raises(ValueError, match="begun with max_tokens = 24, not 25"):
        corpus.sample_corpus(target.path, sampled, others, prompts=QUESTIONS, progress=False)
    with pytest.raises(ValueError, match="begun with prompts = "):
        corpus.sample_corpus(target.path, sampled, options, progress=False)


def test_prompts_are_read_and_refused(tmp_path: Path) -> None:
    lines, rows = tmp_path / "p.txt", tmp_path / "p.jsonl"
    lines.write_text("one\n\ntwo\n")
    rows.write_text('{"prompt": "one"}\n{"prompt": "two", "x": 1}\n')
    assert read_prompts(lines) == read_prompts(rows) == ["one", "two"]
    rows.write_text('{"prompt": "one"}\n{"text": "two"}\n')
    with pytest.raises(ValueError, match=r"p\.jsonl:2"):
        read_prompts(rows)
    lines.write_text("\n")
    with pytest.raises(ValueError, match="no prompts"):
        read_prompts(lines)


def test_built_in_prompts_are_many_and_seeded() -> None:
    found = corpus.everyday_prompts(300, 1)
    assert found == corpus.everyday_prompts(300, 1)
    assert len(set(found)) > 250
    assert not any("{" in text for text in found)


def test_every_prompt_of_the_target_s_own_is_answered(target: TinyModel, tmp_path: Path) -> None:
    """Or one of the everyday ones in its place: this target seldom ends a user's turn."""
    options = corpus.CorpusOptions(responses=12, max_tokens=4, top_k=8, self_prompted=0.5, shard=12)
    corpus.sample_corpus(target.path, tmp_path, options, progress=False)
    found = responses(tmp_path)
    with Decoder(target.path, n_ctx=64) as decoder:
        opening = opening_of_user_turn(decoder)
    assert len(found) == 12
    assert all(r.tokens[: len(opening)].tolist() == opening for r in found)
    assert all(len(r.tokens) > r.prompt_length > len(opening) for r in found)


def test_turns_begin_and_end_as_the_template_says(target: TinyModel) -> None:
    with Decoder(target.path, n_ctx=64) as decoder:
        opening = decoder.detokenize(opening_of_user_turn(decoder), special=True)
        end = decoder.detokenize([end_of_turn(decoder)], special=True)
    assert opening == "<|im_start|>user\n"
    assert end == "<|im_end|>"


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_muon_s_steps_are_orthogonal_and_of_the_length_asked(kind: torch.dtype) -> None:
    """Where the gradient is U D V^T, the step is U S V^T with S near 1, as long as asked."""
    # Each of five iterations rounds three terms, the largest of the size of their coefficients.
    unit = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}[kind]
    close = muon._STEPS * sum(map(abs, muon._COEFFICIENTS)) * unit
    random = np.random.default_rng(1)
    for shape in ((6, 6), (20, 6), (6, 20)):
        u, v = (np.linalg.qr(random.normal(size=(n, 6)))[0] for n in shape)
        matrix = torch.nn.Parameter(torch.zeros(shape))
        matrix.grad = torch.from_numpy(u @ np.diag([1, 1.5, 2, 2.5, 3, 3]) @ v.T).float()
        Muon([matrix], lr=0.1, precision=kind).step()
        length = 0.1 * max(1, shape[0] / shape[1]) ** 0.5
        found = u.T @ -matrix.detach().double().numpy() @ v / length
        lengths = np.diagonal(found)
        assert lengths.min() > 0.68 - close
        assert lengths.max() < 1.21 + close
        np.testing.assert_allclose(found, np.diag(lengths), rtol=0, atol=close)


# --- distillation -------------------------------------------------------------------------------

QUICK = DistillOptions(
    shape=SHAPE,
    tokens=8_000,
    batch_tokens=512,
    batches=1,
    top_k=64,
    other_candidates=300,
    held_out=0.1,
    acceptance_from=0.5,
)


@pytest.mark.parametrize("kind", export.WEIGHT_TYPES)
def test_rounded_weights_are_those_that_are_written(kind: str) -> None:
    weights = torch.randn(64, 96, generator=torch.Generator().manual_seed(1))
    weights[3] = 0.0
    stored = gguf.GGMLQuantizationType[kind]
    written = gguf.dequantize(gguf.quantize(weights.numpy(), stored), stored)
    np.testing.assert_array_equal(rounded(weights, kind).numpy(), written)


def test_what_stands_in_for_a_parameter_is_used_and_the_parameter_learns() -> None:
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    with standing_in([torch.tensor([3.0])], [parameter]):
        (parameter**2).sum().backward()
    assert parameter.tolist() == [2.0]
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [6.0]
    with pytest.raises(KeyError), standing_in([torch.tensor([3.0])], [parameter]):
        raise KeyError
    assert parameter.tolist() == [2.0]


def test_batches_are_all_responses_once(sampled: Path) -> None:
    everything = [Reader().lesson(r, 8) for r in responses(sampled)]
    groups = list(batches(everything, QUICK, 0))
    assert sorted(id(x) for g in groups for x in g) == sorted(map(id, everything))
    assert all(max(len(x.tokens) for x in g) * len(g) <= QUICK.batch_tokens for g in groups)
    one = Batch.of(groups[0])
    said = np.concatenate([x.tokens[x.rows[0] + 1 :] for x in groups[0]])
    assert len(one.rows) == len(said)
    known = one.next_place < 8
    np.testing.assert_array_equal(
        one.top_ids[known, one.next_place[known]].numpy(), said[known.numpy()]
    )


@pytest.mark.slow
def test_a_student_learns_and_goes_on_where_it_stopped(
    target: TinyModel, sampled: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    distill(target.path, sampled, run, replace(QUICK, tokens=1), progress=False)
    (run / "corpus").symlink_to(sampled)
    found = distill_target(target.path, run, tmp_path / "small.gguf", QUICK, progress=False)
    rows = [json.loads(line) for line in (run / "distill.jsonl").read_text().splitlines()]
    assert rows[0]["tokens"] < 1_000
    assert rows[-1]["tokens"] >= QUICK.tokens
    assert found[1.0] == rows[-1]["held_out_acceptance_1"]
    assert found[1.0] > rows[0]["held_out_acceptance_1"] + 0.05
    assert (run / "distill.svg").read_text().count("<path") > 10
    with Decoder(target.path, tmp_path / "small.gguf", n_ctx=64) as decoder:
        assert decoder.generate("a", max_tokens=4, num_draft_tokens=2).tokens

    more, small = tmp_path / "more", tmp_path / "small.gguf"
    none = replace(QUICK, tokens=1, batches=2)  # the first step comes after two batches
    distill(target.path, sampled, more, none, start=small, progress=False)
    (row,) = map(json.loads, (more / "distill.jsonl").read_text().splitlines())
    close = 2 * precision.of_logprobs(STUDENT)
    assert row["held_out_acceptance_1"] == pytest.approx(found[1.0], abs=close)


def test_only_students_of_the_target_are_trained_on(
    files: Files, target: TinyModel, sampled: Path, tmp_path: Path
) -> None:
    other = files.model(arch="qwen2", vocab=bpe_vocab())
    with pytest.raises(ModelLoadError, match="not a student"):
        distill(target.path, sampled, tmp_path, QUICK, start=other.path, progress=False)


def test_shapes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="not 100"):
        Shape(width=100)


# --- pairs --------------------------------------------------------------------------------------


def by_length(exchanges: Any) -> list[float]:
    return [float(len(response)) for _, response in exchanges]


OPTIONS = pairs.PairOptions(prompts=16, samples=4, max_tokens=8, min_margin=2)


def test_pairs_are_the_best_and_the_worst(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    found = pairs.sample_pairs(reference, QUESTIONS, by_length, path, OPTIONS, progress=False)
    assert found
    for pair in found:
        assert pair.margin == len(pair.chosen) - len(pair.rejected)
        assert pair.margin >= OPTIONS.min_margin
    more = replace(OPTIONS, min_margin=4)
    fewer = pairs.sample_pairs(
        reference, QUESTIONS, by_length, tmp_path / "fewer.jsonl", more, progress=False
    )
    assert [p.chosen for p in fewer] == [p.chosen for p in found if (p.margin or 0) >= 4]


def test_sampling_pairs_goes_on_where_it_stopped(reference: Path, tmp_path: Path) -> None:
    whole = pairs.sample_pairs(
        reference, QUESTIONS, by_length, tmp_path / "whole.jsonl", OPTIONS, progress=False
    )
    calls = 0

    def stops(exchanges: Any) -> list[float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return by_length(exchanges)

    path = tmp_path / "cut.jsonl"
    with pytest.raises(KeyboardInterrupt):
        pairs.sample_pairs(reference, QUESTIONS, stops, path, OPTIONS, progress=False)
    assert json.loads(path.read_text().splitlines()[0])["done"] == 8
    found = pairs.sample_pairs(reference, QUESTIONS, by_length, path, OPTIONS, progress=False)
    assert [p.chosen for p in found] == [p.chosen for p in whole]
    with pytest.raises(ValueError, match="other options"):
        pairs.sample_pairs(
            reference, QUESTIONS, by_length, path, replace(OPTIONS, seed=9), progress=False
        )


def test_a_user_s_preferences_become_tokens(target: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "liked.jsonl"
    path.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c d"}) + "\n")
    with Decoder(target.path, n_ctx=64) as decoder:
        (pair,) = pairs.as_tokens(read_preferences(path), decoder)
        asked = decoder.detokenize(pair.prompt_ids, special=True)
        ended = decoder.detokenize(pair.rejected_ids, special=True)
        path.write_text('{"prompt": "a", "chosen": "b"}\n')
        with pytest.raises(ValueError, match=r"liked\.jsonl:1"):
            read_preferences(path)
    assert asked == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    assert ended == "c d<|im_end|>"


# --- alignment ----------------------------------------------------------------------------------


def test_held_out_pairs_are_of_other_prompts() -> None:
    doubled = made_up_pairs(40) * 2
    learned, held = split(doubled, AlignOptions())
    assert len(held) == 8
    assert not {p.prompt for p in learned} & {p.prompt for p in held}


@pytest.mark.slow
def test_alignment_prefers_what_is_preferred(reference: Path, tmp_path: Path) -> None:
    options = AlignOptions(rank=4, batch=8, epochs=3, learning_rate=5e-3, held_out=0.2)
    everything = made_up_pairs(60)
    adapter = tmp_path / "adapter.gguf"
    accuracy = align(reference, everything, tmp_path / "run", adapter, options, progress=False)
    assert accuracy > 0.9
    _, held = split(everything, options)
    with Decoder(reference, reference=reference, draft_lora=adapter, n_ctx=256) as decoder:
        rewards = [
            [decoder.score(p.prompt_ids, ids).implicit_reward or 0 for ids in both]
            for p in held
            for both in [(p.chosen_ids, p.rejected_ids)]
        ]
    assert np.mean([better > worse for better, worse in rewards]) > 0.9
    assert (tmp_path / "run" / "align.svg").exists()
    apart = read_preferences(tmp_path / "run" / "held-out.jsonl")
    assert [p.prompt for p in apart] == [p.prompt for p in held]
    again = align(
        reference, everything, tmp_path / "run", adapter, replace(options, epochs=4), progress=False
    )
    rows = [json.loads(r) for r in (tmp_path / "run" / "align.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if "eval_loss" in row]
    assert steps == sorted(steps)  # it went on, and did not begin again
    assert again >= accuracy


def test_too_few_pairs_are_refused(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 pairs are too few"):
        align(reference, made_up_pairs(3), tmp_path, tmp_path / "a.gguf", AlignOptions())


# --- the commands -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_target_is_distilled_and_aligned_by_two_commands(
    target: TinyModel, tmp_path: Path
) -> None:
    small, liked, adapter = (
        tmp_path / name for name in ("small.gguf", "liked.jsonl", "adapter.gguf")
    )
    write_liked(liked)
    told = run_distill(target, small)
    assert "held-out acceptance at temperature 0.8: 0." in told
    assert (tmp_path / "small-run" / "distill.svg").exists()
    told = run("align", small, adapter, "--preferences", liked, "--rank", 4, "--epochs", 2)
    assert "from 12 pairs" in told
    assert "held-out preference accuracy" in told
    with Decoder(target.path, reference=small, draft_lora=adapter, n_ctx=128) as decoder:
        assert decoder.generate("ab", max_tokens=4, num_draft_tokens=2).statistics.drafted


def test_commands_refuse_what_they_cannot_do(target: TinyModel, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == 2
        return done.output

    out = tmp_path / "out.gguf"
    assert "no type 'Q9'" in refused("distill", target.path, out, "--type", "Q9")
    assert "multiple of 64" in refused("distill", target.path, out, "--width", 100)
    assert "not 'nice'" in refused("align", target.path, out, "--reward", "nice")
    assert "no_such_module" in refused("align", target.path, out, "--reward", "no_such_module:f")
    assert "for a judge" in refused("align", target.path, out, "--question", "Good?")


@pytest.mark.slow
def test_a_dial_is_made_by_one_command_and_used_by_its_name(
    target: TinyModel, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, liked = tmp_path / "dials", tmp_path / "liked.jsonl"
    monkeypatch.setenv("REWARDSHIFT_DIALS_DIR", str(root))
    rows = [{"prompt": "a" * i, "chosen": "ab cd", "rejected": "d d d"} for i in range(1, 13)]
    liked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("align", reference, "--dial", "simple", "--preferences", liked, "--rank", 4)
    told = run(*words, "--epochs", 1, "--does", "says ab", "--licence", "MIT", "--seed", 3)
    assert "the dial simple: --shift simple" in told
    dial = dial_named("simple")
    assert (dial.does, dial.licence, dial.folder) == ("says ab", "MIT", root / "simple")
    assert reference_of(dial).read_bytes() == reference.read_bytes()
    card = dial.card.read_text()
    accuracy = float(told.partition("held-out preference accuracy: ")[2].split()[0])
    assert f"prefers in {accuracy:.0%} of 1 held-out" in card
    for fact in ("| licence | MIT |", "| pairs | 12, of which 1 only", "rank 4", "| seed | 3 |"):
        assert fact in card
    assert "--dial simple --does 'says ab' --licence MIT --preferences" in card
    assert dial.reference_sha256 in card
    with Decoder(target.path, shift="simple", n_ctx=128) as decoder:
        assert decoder.chat([{"role": "user", "content": "ab"}], max_tokens=4).statistics.shifts

    # Made again, it keeps what its owner wrote.
    write_dial(replace(dial, strengths=Strengths(1.5, 3.0)))
    dial.card.write_text("mine")
    again = run(*words, "--epochs", 2, "--does", "says ab", "--licence", "MIT", "--seed", 3)
    assert dial_named("simple").strengths == Strengths(1.5, 3.0)
    assert dial.card.read_text() == "mine"
    assert "| strength | 1.5 for targets" in (dial.folder / "new-card.md").read_text()
    assert "new-card.md" in again


def test_what_cannot_be_a_dial_is_refused_before_anything_is_sampled(
    reference: Path, tmp_path: Path
) -> None:
    def refused(*arguments: object) -> str:
        done = CliRunner().invoke(app, ["align", *map(str, arguments)], env={"COLUMNS": "200"})
        assert done.exit_code == 2
        return done.output

    assert "takes REFERENCE and ADAPTER, or --dial NAME" in refused()
    assert "takes REFERENCE and ADAPTER, or --dial NAME" in refused(reference)
    assert "leave out ADAPTER" in refused(reference, tmp_path / "a.gguf", "--dial", "simple")
    assert "the package has a dial 'positive'" in refused(reference, "--dial", "positive")
    assert "lower-case letters" in refused(reference, "--dial", "My Dial")
    assert "--does is for a dial" in refused(reference, tmp_path / "a.gguf", "--does", "x")
