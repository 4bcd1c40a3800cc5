"""Students of a part of the target's vocabulary: which part, what they learn, what they are for."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import TokenType
from typer.testing import CliRunner

from rewardshift import Decoder, ModelLoadError, Shift, _core
from rewardshift.cli.app import app
from rewardshift.loading.vocabularies import map_between
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinyModel, bpe_vocab, spm_vocab

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # more would wait for each other: the models are tiny

from rewardshift.train import corpus, export  # noqa: E402
from rewardshift.train.corpus import Response  # noqa: E402
from rewardshift.train.distill import (  # noqa: E402
    DistillOptions,
    begin,
    begun_with,
    distill,
    distill_target,
    held_out_acceptance,
    require_vocabulary,
)
from rewardshift.train.lesson import PartReader, Reader  # noqa: E402
from rewardshift.train.student import new_student, read_model  # noqa: E402
from rewardshift.train.vocabulary import GgufVocabulary, counts_of, merged  # noqa: E402
from tests.support.training import (  # noqa: E402
    OTHERS_WARNINGS,
    QUESTIONS,
    SHAPE,
    run,
    run_distill,
    write_liked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rewardshift.train.lesson import Lesson
    from tests.conftest import Files

pytestmark = OTHERS_WARNINGS

PROMPT = "<|im_start|>user\nab cd<|im_end|>\n<|im_start|>assistant\n"
HALVES = np.array([0.5, 0.25, 0.125, 0.125])
SIZE = 272  # of the part: 259 are necessary


def trained_merges(count: int) -> tuple[str, ...]:
    """As BPE learns them from words of chance: the commonest pair, again and again."""
    rng = np.random.default_rng(1)
    words = Counter(
        "Ġ" * int(rng.integers(2)) + "".join(rng.choice(list("aabbcde"), rng.integers(1, 7)))
        for _ in range(800)
    )
    cut = {word: list(word) for word in words}
    merges = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in cut.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(" ".join(best))
        cut = {word: joined(parts, best) for word, parts in cut.items()}
    return tuple(merges)


def joined(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """All places where the pair stands, from the left."""
    found: list[str] = []
    for part in parts:
        if found and (found[-1], part) == pair:
            found[-1] += part
        else:
            found.append(part)
    return found


def cut_by(merges: Sequence[str], word: str) -> list[str]:
    """What BPE makes of a word: the oracle, merge by merge."""
    parts = list(word)
    while True:
        pairs = set(itertools.pairwise(parts))
        first = next((p for m in merges if (p := tuple(m.split(" "))) in pairs), None)
        if first is None:
            return parts
        parts = joined(parts, first)  # type: ignore[arg-type]


MERGES = trained_merges(60)
VOCAB = bpe_vocab(merges=MERGES)


@pytest.fixture(scope="module")
def target(files: Files) -> TinyModel:
    return files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE, seed=1)


@pytest.fixture(scope="module")
def whole(target: TinyModel) -> GgufVocabulary:
    return GgufVocabulary.of(target.path)


@pytest.fixture(scope="module")
def kept(whole: GgufVocabulary) -> NDArray[np.int32]:
    counts = np.random.default_rng(5).exponential(size=len(whole.tokens))
    return whole.commonest(counts, SIZE)


@pytest.fixture(scope="module")
def student(
    target: TinyModel, kept: NDArray[np.int32], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A student of a part, that has learned nothing."""
    path: Path = tmp_path_factory.mktemp("student") / "student.gguf"
    made = new_student(target.path, SHAPE, 1, kept)
    export.write_student(made, target.path, path, "F32", kept=kept)
    return path


def loaded(path: Path) -> _core.Model:
    return _core.Model.load(str(path), _core.ModelOptions(), None)


# --- which part -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [260, 261, 270, 290, 318])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_part_is_closed_under_its_merges(whole: GgufVocabulary, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = whole.commonest(rng.exponential(size=len(VOCAB.tokens)), size)
    assert len(kept) == size
    assert kept[:259].tolist() == list(range(259))  # control tokens and bytes
    part = whole.part(kept)
    assert part.tokens == [VOCAB.tokens[i] for i in kept]
    merges = part.keys["tokenizer.ggml.merges"][0]
    assert merges == [m for m in MERGES if m.replace(" ", "") in part.tokens]
    for text in part.tokens[3:]:
        assert cut_by(merges, text) == [text]
        assert merged(text, {tuple(m.split(" ")): i for i, m in enumerate(merges)}) <= set(
            part.tokens
        )


def test_the_commonest_tokens_are_kept_with_what_they_are_merged_from(
    whole: GgufVocabulary,
) -> None:
    counts = np.zeros(len(VOCAB.tokens))
    common = max(range(259, len(VOCAB.tokens)), key=lambda i: len(VOCAB.tokens[i]))
    counts[common] = 1
    needed = {text for text in cut_in_steps(VOCAB.tokens[common]) if len(text) > 1}
    kept = whole.commonest(counts, 259 + len(needed))
    assert {VOCAB.tokens[i] for i in kept[259:]} == needed
    rest = whole.commonest(np.zeros(len(VOCAB.tokens)), 300)
    assert rest.tolist() == list(range(300))  # in the order of the merges
    short = whole.commonest(counts, 259 + len(needed) - 1)
    assert VOCAB.tokens[common] not in {VOCAB.tokens[i] for i in short}
    assert len(short) == 259 + len(needed) - 1


def cut_in_steps(word: str) -> Iterator[str]:
    for count in range(len(MERGES) + 1):
        yield from cut_by(MERGES[:count], word)


def test_a_token_that_no_text_is_cut_into_is_left_out(files: Files) -> None:
    """ "abc" is never made: a and b are joined before b and c can be."""
    vocab = bpe_vocab(merges=("Ġ a", "a b", "b c", "a bc"))
    model = files.model(vocab=vocab)
    counts = np.zeros(len(vocab.tokens))
    counts[vocab.tokens.index("abc")] = 9
    whole = GgufVocabulary.of(model.path)
    for size, words in ((260, ["Ġa"]), (262, ["Ġa", "ab", "bc"])):
        assert [vocab.tokens[i] for i in whole.commonest(counts, size)[259:]] == words


def test_counts_are_of_prompts_and_of_what_the_target_would_say() -> None:
    response = Response(
        tokens=np.array([4, 4, 5, 6], np.int32),
        prompt_length=3,
        top_ids=np.array([[7, 5]], np.int32),
        top_logprobs=np.log([[0.75, 0.25]]).astype(np.float16),
    )
    np.testing.assert_allclose(
        counts_of([response, response], 9), [0, 0, 0, 0, 4, 2.5, 0, 1.5, 0], atol=1e-3
    )


def test_special_tokens_and_the_template_are_those_of_the_target(
    target: TinyModel, student: Path
) -> None:
    ours, theirs = (loaded(path) for path in (student, target.path))
    assert ours.chat_template == theirs.chat_template
    for model in (ours, theirs):
        ends = {model.detokenize([t], True) for t in model.facts.end_of_generation}
        assert ends == {b"<|endoftext|>", b"<|im_end|>"}
    assert GgufVocabulary.of(student).keys["tokenizer.ggml.pre"][0] == "gpt-2"


def test_special_ids_follow_their_tokens(files: Files) -> None:
    """Also where the tokens before them are not kept."""
    vocab = replace(VOCAB.extended(["<|tool|>"]), eos=len(VOCAB.tokens))
    whole = GgufVocabulary.of(files.model(vocab=vocab).path)
    kept = whole.commonest(np.zeros(len(vocab.tokens)), 270)
    part = whole.part(kept)
    assert part.tokens[-1] == "<|tool|>"
    assert part.keys["tokenizer.ggml.eos_token_id"][0] == 269
    assert part.keys["tokenizer.ggml.token_type"][0][-1] == TokenType.CONTROL


# --- how a part reads text ------------------------------------------------------------------------


def test_llama_cpp_cuts_words_as_the_merges_say(student: Path) -> None:
    model, part = loaded(student), GgufVocabulary.of(student)
    merges, rng = part.keys["tokenizer.ggml.merges"][0], np.random.default_rng(2)
    longest = 0
    for _ in range(300):
        word = " " * int(rng.integers(2)) + "".join(rng.choice(list("abcde"), rng.integers(1, 9)))
        found = model.tokenize(word, False, False)
        assert [part.tokens[i] for i in found] == cut_by(merges, word.replace(" ", "Ġ"))
        longest = max(longest, *(len(part.tokens[i]) for i in found))
    assert longest > 2


def test_llama_cpp_cuts_text_as_students_read_it(student: Path) -> None:
    model = loaded(student)
    tokenizer = _core.CanonicalTokenizer(_core.Vocabulary.of_model(model))
    rng = np.random.default_rng(3)
    letters = [*"abcde" * 8, *"    \n\t", "é", "字", "🙂", "1", "'", "."]
    for _ in range(200):
        text = "".join(rng.choice(letters, rng.integers(1, 60)))
        assert tokenizer.tokens_of(text.encode()) == model.tokenize(text, False, False)
    for _ in range(200):
        raw = rng.bytes(int(rng.integers(1, 40)))
        assert model.detokenize(tokenizer.tokens_of(raw), True) == raw


def test_every_text_token_of_a_part_is_the_target_s_twin_of_itself(
    target: TinyModel, student: Path, kept: NDArray[np.int32]
) -> None:
    known = map_between(loaded(target.path), loaded(student))
    for own, token in enumerate(kept.tolist()):
        if token != VOCAB.tokens.index("<|im_start|>"):  # which adds nothing to a text
            assert known.has_twin(token)
            assert known.pieces(token) == [own]


# --- what a student of a part learns --------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(target: TinyModel, student: Path, kept: NDArray[np.int32]) -> PartReader:
    return PartReader(target.path, student, kept)


@pytest.fixture(scope="module")
def sampled(target: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("corpus")
    options = corpus.CorpusOptions(responses=60, max_tokens=24, top_k=200, shard=60)
    corpus.sample_corpus(target.path, folder, options, prompts=QUESTIONS, progress=False)
    return folder


def responses(folder: Path) -> list[Response]:
    return [r for path in sorted(folder.glob("*.npz")) for r in corpus.load(path)]


def worded(target: TinyModel, count: int, top_k: int) -> list[Response]:
    """Responses in words; at each position the token that is there and others of chance."""
    model, rng = loaded(target.path), np.random.default_rng(4)
    plain = np.array([i for i, t in enumerate(VOCAB.tokens) if set(t) <= set("Ġabcde") or i == 2])
    found = []
    for _ in range(count):
        prompt = model.tokenize(PROMPT, False, True)
        words = "".join(rng.choice(list("aabbcde "), 40))
        said = [*model.tokenize(words, False, False), VOCAB.tokens.index("<|im_end|>")]
        others = [rng.permutation(plain[plain != token])[: top_k - 1] for token in said]
        logits = -np.sort(rng.exponential(2, size=(len(said), top_k)), axis=1)
        law = logits - np.log(np.exp(logits).sum(1, keepdims=True)) - 0.05
        found.append(
            Response(
                tokens=np.array([*prompt, *said], np.int32),
                prompt_length=len(prompt),
                top_ids=np.array([[x, *y] for x, y in zip(said, others, strict=True)], np.int32),
                top_logprobs=law.astype(np.float16),
            )
        )
    return found


def law_of(lesson: Lesson, row: int) -> dict[int, float]:
    """What a row says, without what only fills it."""
    pairs = zip(lesson.top_ids[row].tolist(), np.exp(lesson.top_logprobs[row]), strict=True)
    return {token: float(p) for token, p in pairs if p > 0}


@dataclass(frozen=True)
class Oracle:
    """Labels by hand: what the student's own tokenizer makes of bytes, counted one by one."""

    target: _core.Model
    own: _core.Model

    def pieces(self, token: int) -> list[int]:
        text = self.target.detokenize([token], True).decode()
        return self.own.tokenize(text, False, text.startswith("<|"))

    def places(self, response: Response) -> tuple[list[int], list[tuple[int, int | None, int]]]:
        """The pieces of a response; of each token, its number, the piece that begins with it, and
        how many pieces begin in it."""
        said = response.tokens[response.prompt_length :].tolist()
        text = self.target.detokenize(said[:-1], True).decode()
        read = [*self.own.tokenize(text, False, False), *self.pieces(said[-1])]
        begins, at = {}, 0
        for j, piece in enumerate(read):
            begins[at] = j
            at += len(self.own.detokenize([piece], True))
        found, at = [], 0
        for i, token in enumerate(said):
            end = at + len(self.target.detokenize([token], True))
            found.append((i, begins.get(at), sum(at <= offset < end for offset in begins)))
            at = end
        return read, found

    def labels(self, response: Response) -> dict[int, dict[int, float]]:
        """By number of the piece in the response."""
        read, places = self.places(response)
        found = {j: {piece: 1.0} for j, piece in enumerate(read)}  # unless more is known
        for i, first, count in places:
            for depth in range(count if first is not None else 0):
                so_far = read[first : first + depth]
                law: dict[int, float] = defaultdict(float)
                for x, logprob in zip(response.top_ids[i], response.top_logprobs[i], strict=True):
                    pieces = self.pieces(x)
                    if pieces[:depth] == so_far and len(pieces) > depth:
                        law[pieces[depth]] += np.exp(float(logprob))
                total = sum(law.values()) if depth else 1.0
                if law:
                    found[first + depth] = {piece: p / total for piece, p in law.items()}
        return found


@pytest.fixture(scope="module")
def oracle(target: TinyModel, student: Path) -> Oracle:
    return Oracle(loaded(target.path), loaded(student))


def test_a_prompt_keeps_its_control_tokens(
    reader: PartReader, target: TinyModel, oracle: Oracle
) -> None:
    (response,) = worded(target, 1, 8)
    lesson, prompt = reader.lesson(response, 8), oracle.own.tokenize(PROMPT, False, True)
    assert lesson.tokens[: len(prompt)].tolist() == prompt
    assert lesson.rows[0] == len(prompt) - 1


def test_labels_are_the_sums_that_one_gets_by_hand(
    reader: PartReader, target: TinyModel, oracle: Oracle
) -> None:
    inside, samples = 0, 0
    for response in worded(target, 30, 24):
        lesson, wanted = reader.lesson(response, 24), oracle.labels(response)
        assert lesson.rows.tolist() == [lesson.rows[0] + j for j in wanted]
        for row, law in wanted.items():
            assert law_of(lesson, row) == pytest.approx(law, abs=1e-6)
            inside += abs(sum(law.values()) - 1) < 1e-6
            samples += len(law) == 1
        assert all(len(set(ids)) == len(ids) for ids in lesson.top_ids.tolist())
        assert (lesson.top_logprobs[:, :-1] >= lesson.top_logprobs[:, 1:]).all()
    assert inside > samples + 20
    assert samples > 20


def test_over_a_corpus_pieces_are_learned_with_their_marginal_probabilities(
    target: TinyModel, whole: GgufVocabulary, tmp_path: Path
) -> None:
    """A target that says tokens of chance, and a student that reads its bytes."""
    path, counts = tmp_path / "bytes.gguf", np.zeros(len(whole.tokens))
    counts[next(i for i, t in enumerate(VOCAB.tokens) if len(t) == 2 and set(t) <= set("cde"))] = 1
    kept = whole.commonest(counts, 260)  # llama.cpp wants a merge, whichever it is
    made = new_student(target.path, SHAPE, 1, kept)
    export.write_student(made, target.path, path, "F32", kept=kept)
    reader, model = PartReader(target.path, path, kept), loaded(target.path)
    tokens, law = [model.tokenize(text, False, False) for text in ("a", "b", "ab", "aa")], HALVES
    assert all(len(ids) == 1 for ids in tokens)
    ids, prompt = np.array(tokens, np.int32)[:, 0], model.tokenize(PROMPT, False, True)
    texts: dict[tuple[int, ...], float] = defaultdict(float)
    labels: dict[tuple[int, ...], list[tuple[float, dict[int, float]]]] = defaultdict(list)
    for said in itertools.product(range(4), repeat=3):
        weight = float(law[list(said)].prod())
        response = Response(
            tokens=np.array([*prompt, *ids[list(said)]], np.int32),
            prompt_length=len(prompt),
            top_ids=np.tile(ids, (3, 1)),
            top_logprobs=np.tile(np.log(law).astype(np.float16), (3, 1)),
        )
        lesson = reader.lesson(response, 4)
        begin = lesson.rows[0] + 1
        for n in range(4):  # every text has as many bytes
            texts[tuple(lesson.tokens[begin : begin + n])] += weight
        for n in range(3):
            label = law_of(lesson, n)
            assert sum(label.values()) == pytest.approx(1, abs=2e-3)
            labels[tuple(lesson.tokens[begin : begin + n])].append((weight, label))
    assert len(labels) == 1 + 2 + 4
    for read, told in labels.items():
        for piece in (model.tokenize(text, False, False)[0] for text in "ab"):
            learned = sum(weight * label.get(piece, 0.0) for weight, label in told)
            assert learned == pytest.approx(texts[(*read, piece)], abs=2e-3)


def test_a_part_that_is_all_has_the_lessons_of_the_whole(target: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "all.gguf"
    export.write_student(new_student(target.path, SHAPE, 1), target.path, path, "F32")
    reader = PartReader(target.path, path, np.arange(len(VOCAB.tokens)))
    for response in worded(target, 5, 24):
        for made in (lambda r, x: r.lesson(x, 16), lambda r, x: r.test(x)):
            ours, theirs = made(reader, response), made(Reader(), response)
            for name in ("tokens", "rows", "top_ids", "top_logprobs"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)


def test_whatever_a_target_says_is_read_as_a_decoder_reads_it(
    reader: PartReader, sampled: Path, oracle: Oracle
) -> None:
    """Bytes of chance, mostly: this target knows no words."""
    known = map_between(oracle.target, oracle.own)
    for response in responses(sampled):
        asked, said = np.split(response.tokens, [response.prompt_length])
        text = oracle.target.detokenize(asked.tolist(), True).decode()
        prompt = oracle.own.tokenize(text, False, True)
        reading = _core.Reading(known)
        reading.read([*(len(VOCAB.tokens) + d for d in prompt), *said.tolist()])
        lesson = reader.lesson(response, 16)
        assert lesson.tokens.tolist() == reading.after(len(prompt) + len(said))
        assert np.isfinite(lesson.top_logprobs[:, 0]).all()
        assert len(lesson.rows) > 0


def test_acceptance_is_measured_of_tokens_with_twins(
    reader: PartReader, target: TinyModel, oracle: Oracle, student: Path
) -> None:
    model, accepted = read_model(student), []
    known, everything = map_between(oracle.target, oracle.own), worded(target, 4, 24)
    for response in everything:
        read, places = oracle.places(response)
        prompt = oracle.own.tokenize(PROMPT, False, True)
        with torch.no_grad():
            q = torch.softmax(model(torch.tensor([prompt + read])).logits[0] / 0.7, -1).numpy()
        p = np.exp(response.top_logprobs.astype(np.float64) / 0.7)
        p /= p.sum(1, keepdims=True)
        for i, first, _ in places:
            if first is not None:
                row = q[len(prompt) - 1 + first]
                twins = [(p[i, k], x) for k, x in enumerate(response.top_ids[i])]
                accepted.append(
                    sum(min(p_x, row[known.pieces(x)[0]]) for p_x, x in twins if known.has_twin(x))
                )
    found = held_out_acceptance(model, [reader.test(r) for r in everything], [0.7])
    assert found["held_out_acceptance_0.7"] == pytest.approx(np.mean(accepted), abs=1e-4)
    assert not all(known.has_twin(x) for x in range(3, len(VOCAB.tokens)))


# --- training -------------------------------------------------------------------------------------

QUICK = DistillOptions(
    shape=SHAPE,
    vocabulary=SIZE,
    tokens=8_000,
    batch_tokens=512,
    batches=1,
    top_k=64,
    other_candidates=300,
    held_out=0.1,
    acceptance_from=0.5,
)


def rows_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "distill.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def learned(target: TinyModel, sampled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and what it wrote."""
    folder: Path = tmp_path_factory.mktemp("learned")
    run = folder / "run"
    run.mkdir()
    (run / "corpus").symlink_to(sampled)
    distill(target.path, sampled, run, replace(QUICK, tokens=1), progress=False)
    distill_target(target.path, run, folder / "small.gguf", QUICK, progress=False)
    return folder


@pytest.mark.slow
def test_a_student_of_a_part_learns_and_goes_on_where_it_stopped(learned: Path) -> None:
    first, last = rows_of(learned / "run")[0], rows_of(learned / "run")[-1]
    assert first["tokens"] < 1_000
    assert last["tokens"] >= QUICK.tokens
    assert last["cross_entropy"] < first["cross_entropy"] - 0.2
    assert last["held_out_acceptance_1"] > first["held_out_acceptance_1"] + 0.05
    begun, made = (GgufVocabulary.of(learned / name) for name in ("run/begun.gguf", "small.gguf"))
    assert len(made.tokens) == SIZE
    assert made.keys == begun.keys


@pytest.mark.slow
def test_students_of_the_whole_and_of_the_same_part_are_trained_on(
    learned: Path, target: TinyModel, sampled: Path, tmp_path: Path
) -> None:
    none = replace(QUICK, tokens=1, batches=2)  # the first step comes after two batches
    again = tmp_path / "again"
    small = learned / "small.gguf"
    distill(
        target.path, sampled, again, replace(none, vocabulary=None), start=small, progress=False
    )
    was, now = rows_of(learned / "run")[-1], rows_of(again)[-1]
    assert now["held_out_acceptance_1"] == pytest.approx(was["held_out_acceptance_1"], abs=1e-3)
    assert GgufVocabulary.of(again / "begun.gguf").tokens == GgufVocabulary.of(small).tokens

    full, cut = tmp_path / "full.gguf", tmp_path / "cut"
    before = new_student(target.path, SHAPE, 7)
    export.write_student(before, target.path, full, "F32")
    after = distill(target.path, sampled, cut, none, start=full, progress=False)
    places = GgufVocabulary.of(target.path).places_of(GgufVocabulary.of(cut / "begun.gguf"))
    assert places is not None
    torch.testing.assert_close(
        after.model.embed_tokens.weight, before.model.embed_tokens.weight[places]
    )
    torch.testing.assert_close(
        after.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight
    )


def test_a_run_keeps_its_vocabulary_whatever_else_is_sampled(
    target: TinyModel, sampled: Path, tmp_path: Path
) -> None:
    run, (first, second) = tmp_path / "run", (responses(sampled), worded(target, 30, 64))
    whole = GgufVocabulary.of(target.path)
    counts = [counts_of(found, len(whole.tokens)) for found in (first, second)]
    assert len({tuple(whole.commonest(count, SIZE)) for count in counts}) == 2
    run.mkdir()
    students = [begin(target.path, found, run, QUICK, None)[0] for found in (first, second)]
    torch.testing.assert_close(*(made.model.embed_tokens.weight for made in students))
    assert len(GgufVocabulary.of(begun_with(run)).tokens) == SIZE


def test_vocabularies_that_cannot_be_are_refused(
    files: Files, target: TinyModel, student: Path, tmp_path: Path
) -> None:
    for size, why in ((319, "would be all"), (259, "has to be larger than 259")):
        with pytest.raises(ValueError, match=why):
            require_vocabulary(target.path, size, None)
    with pytest.raises(ValueError, match=f"{SIZE} tokens, which cannot become one of 260"):
        require_vocabulary(target.path, 260, student)
    sentencepiece = files.model(vocab=spm_vocab(300, byte_tokens=True))
    with pytest.raises(ModelLoadError, match="kind 'llama': only byte-level BPE"):
        require_vocabulary(sentencepiece.path, 280, None)
    with pytest.raises(ModelLoadError, match="no student of"):
        require_vocabulary(target.path, None, sentencepiece.path)
    done = CliRunner().invoke(
        app, ["distill", str(target.path), str(tmp_path / "x.gguf"), "--vocabulary", "9"]
    )
    assert done.exit_code == 2
    assert "larger than 259" in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "x-run").exists()  # nothing was sampled


# --- what it is for -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trimmed_reference_is_made_aligned_checked_and_decoded_with(
    target: TinyModel, tmp_path: Path
) -> None:
    small, liked, adapter = (
        tmp_path / name for name in ("small.gguf", "liked.jsonl", "adapter.gguf")
    )
    write_liked(liked)
    told = run_distill(target, small, "--vocabulary", 300)
    assert "held-out acceptance at temperature 0.8: 0." in told
    assert f"{small}" in run("inspect", target.path, small)
    run("align", small, adapter, "--preferences", liked, "--rank", 4, "--epochs", 2)
    talk: Any = [{"role": "user", "content": "ab cd"}]
    some: Any = {"max_tokens": 12, "seed": 1, "num_draft_tokens": 2, "strength": 2.0}
    pair_flags = ("-m", target.path, "--reference", small, "--draft-lora", adapter)
    checked = run("check-pair", *pair_flags, "-n", 8, "--num-prompts", 2)
    assert "tokens that the pair's vocabulary has" in " ".join(checked.split())
    with Decoder(target.path, reference=small, draft_lora=adapter, n_ctx=256) as decoder:
        pair = decoder.chat(talk, **some)
    assert pair.statistics.drafted
    shift = Shift(reference=small, lora=adapter)
    with Decoder(target.path, shifts={"ours": shift}, base=small, n_ctx=256) as decoder:
        named = decoder.chat(talk, **some)
        lossless = decoder.chat(talk, **{**some, "strength": 0.0})
    assert named.statistics.shifts["ours"].twins < 1
    assert lossless.statistics.drafted
