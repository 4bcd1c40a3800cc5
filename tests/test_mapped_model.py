"""A model of another vocabulary: what it says of the target's tokens, against the definition."""

from __future__ import annotations

import itertools
import math
import random
import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import TokenType

from rewardshift import ContextOverflowError, EvaluationError, TableModel, _core
from tests.support import numpy_forward, precision, vocabularies
from tests.support.engine import core_vocabulary as core
from tests.support.engine import open_context
from tests.support.tiny_gguf import TinySpec, TinyVocab, bpe_vocab, spm_vocab
from tests.support.vocabularies import SHAPES, Pair, Table, Toy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tests.conftest import Files

    Rows = NDArray[np.float32]

TOLERANCE = 64 * precision.FLOAT32
"""Of a few rounded numbers below 16: a logit less a normaliser, and sums of four of them."""

LOGITS = precision.of_logits(TinySpec())

ORDER = 3


@cache
def core_map(shape: str) -> _core.VocabularyMap:
    return _core.VocabularyMap(core(SHAPES[shape].target), core(SHAPES[shape].foreign))


def table(shape: str, *, seed: int = 0) -> Table:
    return Table(len(SHAPES[shape].foreign), seed, ORDER)


def inner(shape: str, **facts: object) -> TableModel:
    return TableModel(table(shape).logits, order=ORDER, **facts)  # type: ignore[arg-type]


def mapped(shape: str, *, spare: int = 0, **facts: object) -> _core.MappedModel:
    return _core.MappedModel(inner(shape, **facts), core_map(shape), spare=spare)


def refined(
    model: _core.MappedModel, history: Sequence[int], likely: Sequence[int]
) -> dict[int, float]:
    """What the row after a history says of tokens, with what refining adds."""
    (row,) = model.logits([(0, list(history), 1)])
    (found,) = model.refine([(0, list(history), list(likely))])
    assert len(dict(found)) == len(found)
    return {token: float(row[token]) + more for token, more in found}


def everything(pair: Pair) -> int:
    """Ids that histories may hold: the target's, then foreign ones as they are."""
    return len(pair.target) + len(pair.foreign)


def some_histories(shape: str, longest: int, count: int, *, seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    ids = range(everything(SHAPES[shape]))
    return [draw.choices(ids, k=draw.randint(1, longest)) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_those_of_the_definition(shape: str) -> None:
    """After every history of three tokens, the target's and foreign ones."""
    pair, model, after = SHAPES[shape], mapped(shape), table(shape).after
    assert model.vocab_size == len(pair.target)
    assert model.tells_log_probabilities
    for history in itertools.product(range(everything(pair)), repeat=3):
        expected = [vocabularies.row(pair, after, history[:n]) for n in (1, 2, 3)]
        np.testing.assert_allclose(
            model.logits([(0, list(history), 3)]), expected, rtol=0, atol=TOLERANCE
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_refined_rows_are_those_of_the_definition(shape: str) -> None:
    pair, model, after = SHAPES[shape], mapped(shape), table(shape).after
    tokens = list(range(len(pair.target)))
    for history in vocabularies.histories(everything(pair), 2):
        expected = vocabularies.refined(pair, after, history)
        assert refined(model, history, tokens) == pytest.approx(expected, rel=0, abs=TOLERANCE)


def test_only_likely_tokens_are_refined() -> None:
    model, pair = mapped("finer"), SHAPES["finer"]
    assert not pair.twin(0)
    assert pair.twin(2) is not None
    (found, others) = model.refine([(0, [2, 2], [2, 0]), (1, [2], [2])])
    assert [token for token, _ in found] == [0]
    assert others == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_is_rough_where_a_token_has_several_pieces(shape: str) -> None:
    pair = SHAPES[shape]
    several = any(len(pair.pieces(token)) > 1 for token in range(len(pair.target)))
    assert mapped(shape).is_rough == several


def test_equal_vocabularies_are_told_what_the_model_says_itself() -> None:
    toy = SHAPES["coarser"].foreign
    model = Table(len(toy), 3, ORDER)
    seen = _core.MappedModel(
        TableModel(model.logits, order=ORDER), _core.VocabularyMap(core(toy), core(toy))
    )
    none = {token for token in range(len(toy)) if toy.roles.get(token) == "none"}
    known = [token for token in range(len(toy)) if token not in none]
    canonical = [
        history
        for history in itertools.product(known, repeat=3)
        if Pair(toy, toy).reading(history) == list(history)
    ]
    assert len(canonical) > 50
    for history in canonical:
        (row,) = seen.logits([(0, list(history), 1)])
        expected = model.after(history)
        np.testing.assert_allclose(row[known], expected[known], rtol=0, atol=TOLERANCE)
        assert seen.refine([(0, list(history), known)]) == [[]]


def asked_alone(shape: str, history: Sequence[int]) -> Rows:
    """What a model that was never asked anything says after each token, one call each."""
    model = mapped(shape)
    return np.concatenate(
        [model.logits([(0, list(history[:n]), 1)]) for n in range(1, len(history) + 1)]
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spare", [0, 1, 3])
def test_rows_depend_on_the_history_alone(shape: str, spare: int) -> None:
    """Not on how many are asked for at once, on neighbours, or on what was asked before."""
    draw, model = random.Random(1), mapped(shape, spare=spare, max_sequences=16 + spare)
    histories = some_histories(shape, 12, 40)
    expected = [asked_alone(shape, history) for history in histories]
    likely = list(range(len(SHAPES[shape].target)))
    added = [mapped(shape).refine([(0, history, likely)])[0] for history in histories]
    for _ in range(30):
        chosen = draw.sample(range(len(histories)), k=draw.randint(1, 5))
        ask = []
        for i in chosen:
            end = draw.randint(1, len(histories[i]))
            ask.append(
                (draw.choice([0, 1, 2]) * 5 + len(ask), histories[i][:end], draw.randint(0, end))
            )
        rows = model.logits(ask)
        wanted = [
            expected[i][len(h) - n : len(h)] for i, (_, h, n) in zip(chosen, ask, strict=True)
        ]
        np.testing.assert_array_equal(rows, np.concatenate(wanted))
        places = [draw.randint(0, 3) for _ in chosen]
        found = model.refine(
            [(p, histories[i], likely) for p, i in zip(places, chosen, strict=True)]
        )
        assert found == [added[i] for i in chosen]


def test_costs_are_measured_of_as_many_tokens_as_rows() -> None:
    """They are read one by one: of the target's tokens these would be twice as many."""
    model = mapped("finer")
    _core.measure_costs(model, [4, 1, 2], 3)
    assert model.evaluated_tokens == 4 + 3 * (4 + 1 + 2)
    assert model.evaluated_batches == 1 + 3 * 3


def test_refining_leaves_rows_as_they_are() -> None:
    """The readings asked about do not disturb what the model goes on with."""
    model, history = mapped("finer"), [2, 0, 3, 1]
    before = model.logits([(0, history, 4)])
    model.refine([(0, history[:n], [0, 1, 3, 4]) for n in (1, 2, 3, 4)])
    np.testing.assert_array_equal(model.logits([(0, history, 4)]), before)


def test_readings_that_go_on_share_a_call() -> None:
    """One call for a chain of rows; one more where a reading was cut otherwise."""
    model = mapped("finer")
    model.logits([(0, [0, 2, 2], 3), (1, [2, 2], 2)])
    assert model.evaluated_batches == 1
    coarser = mapped("coarser")
    a, b, space = 0, 1, 2
    coarser.logits([(0, [a, b, space], 3), (1, [b, b], 2)])  # a, then ab, then ab and a space
    assert coarser.evaluated_batches == 2
    fine = mapped("finer")
    fine.refine([(0, [2], [0]), (1, [2], [0])])
    assert fine.evaluated_batches == 1


def test_spare_sequences_let_pieces_be_asked_about_at_once() -> None:
    """Of abb, " ba" and "b b", which begin with nothing in common: three chains of pieces."""
    for spare, batches in ((0, 3), (1, 3), (2, 2), (3, 1)):
        model = mapped("finer", spare=spare, max_sequences=4)
        assert model.max_sequences == 4 - spare
        model.refine([(0, [2], [1, 3, 4])])
        assert model.evaluated_batches == batches
    with pytest.raises(ValueError, match="spare must be at least 0, and less than the model's"):
        mapped("finer", spare=4, max_sequences=4)
    with pytest.raises(ValueError, match="there is no sequence 2"):
        mapped("finer", spare=2, max_sequences=4).logits([(2, [0], 1)])


def test_only_what_cannot_change_is_read_ahead() -> None:
    """Of "a aa" the first letter: the boundary before the space is the last one."""
    a, space, history = 0, 1, [0, 1, 0, 0]
    tail = {1, 5, 6}
    assert set(SHAPES["white space"].reading(history)) <= {a, *tail}
    mapped("white space", fails_on=tail).logits([(0, history, 0)])
    for ask in ([(0, history, 1)], [(0, [a, space], 1)]):
        with pytest.raises(EvaluationError):
            mapped("white space", fails_on=tail).logits(ask)
    with pytest.raises(EvaluationError):
        mapped("white space", fails_on={a}).logits([(0, history, 0)])


@pytest.mark.parametrize("fails_on", [1, 3])
def test_a_failure_leaves_the_model_as_usable_as_before(fails_on: int) -> None:
    shape = "coarser"
    pair = SHAPES[shape]
    model = mapped(shape, fails_on={fails_on})
    likely = list(range(len(pair.target)))
    failures = 0
    for history in some_histories(shape, 6, 60, seed=2):
        readings = [pair.reading(history[:n]) for n in range(len(history) + 1)]
        ask = [(0, history, len(history)), (1, [0, 0], 2)]
        if any(fails_on in reading for reading in readings):
            failures += 1
            with pytest.raises(EvaluationError):
                model.logits(ask)
            continue
        np.testing.assert_array_equal(
            model.logits(ask)[: len(history)], asked_alone(shape, history)
        )
        try:
            (found,) = model.refine([(0, history, likely)])
        except EvaluationError:
            continue
        assert found == mapped(shape).refine([(0, history, likely)])[0]
    assert 10 < failures < 60


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("token", [0, 5])
def test_a_row_that_is_no_distribution_is_told_as_nan(bad: float, token: int) -> None:
    """Also where the fault is in a token that no token of the target corresponds to."""
    pair = SHAPES["finer"]
    logits = Table(len(pair.foreign), 0, 0).logits.copy()
    logits[0, slice(None) if bad == -np.inf else min(token, len(pair.foreign) - 1)] = bad
    model = _core.MappedModel(TableModel(logits), core_map("finer"))
    assert np.isnan(model.logits([(0, [2], 1)])).all()
    ((_, value),) = model.refine([(0, [2], [0])])[0]
    assert math.isnan(value)


def test_a_reading_that_does_not_fit_is_an_error() -> None:
    """Never a row of something shorter; and what fits is still answered."""
    shape = "finer"
    model = mapped(shape, context_size=10)
    assert model.context_size == int(10 / core_map(shape).expansion)
    model.logits([(0, [0] * 5, 1)])
    with pytest.raises(ContextOverflowError, match=r"takes 12 tokens .* whose context has 10"):
        model.logits([(1, [2], 1), (0, [0] * 6, 1)])
    with pytest.raises(ContextOverflowError):
        model.refine([(0, [0] * 5, [0])])
    np.testing.assert_array_equal(model.logits([(0, [0] * 5, 5)]), asked_alone(shape, [0] * 5))


def test_what_cannot_be_asked_is_refused() -> None:
    model, pair = mapped("finer"), SHAPES["finer"]
    for tokens in ([everything(pair)], [-1]):
        with pytest.raises(ValueError, match="is not in the vocabulary"):
            model.logits([(0, tokens, 1)])
        with pytest.raises(ValueError, match="is not in the vocabulary"):
            model.refine([(0, tokens, [0])])
    with pytest.raises(ValueError, match="a likely token must be in the vocabulary"):
        model.refine([(0, [0], [len(pair.target)])])
    with pytest.raises(ValueError, match="there is no sequence 16"):
        model.refine([(16, [0], [0])])
    with pytest.raises(ValueError, match="the model's vocabulary must be the map's, of 5 tokens"):
        _core.MappedModel(TableModel(np.zeros((1, 3), np.float32)), core_map("finer"))


def test_ends_and_bytes_are_those_of_the_target() -> None:
    pair, model = SHAPES["all control"], mapped("all control")
    for token in range(len(pair.target)):
        ends = pair.target.roles.get(token) in vocabularies.ENDS
        assert model.is_end_of_generation(token) == ends
        assert model.piece(token) == pair.target.pieces[token]
    assert model.piece(len(pair.target) + 1) == b"ba"
    assert not model.is_end_of_generation(len(pair.target) + pair.foreign.roles.__len__())


def rewards(shape: str) -> NDArray[np.float64]:
    """Of each text of three tokens: all of lambda, refined, and log Q(bytes) / R(bytes)."""
    pair, built = SHAPES[shape], core_map(shape)
    reference = Table(len(pair.foreign), 0, ORDER)
    draft = Table(len(pair.foreign), 7, ORDER, scale=0.5, base=reference)
    tables = (draft, reference)
    models = [_core.MappedModel(TableModel(t.logits, order=ORDER), built) for t in tables]
    prompt = pair.foreign.pieces.index(b"")  # a control token: no text of its own
    known = [token for token, piece in enumerate(pair.target.pieces) if piece]

    def told(model: _core.MappedModel, text: Sequence[int]) -> float:
        total = 0.0
        for i, token in enumerate(text):
            history = [len(pair.target) + prompt, *text[:i]]
            (row,) = model.logits([(0, history, 1)])
            total += refined(model, history, [token]).get(token, float(row[token]))
        return total

    def mass(table: Table, text: Sequence[int]) -> float:
        written = b"".join(pair.target.pieces[token] for token in text)
        return vocabularies.covered(pair.foreign, table.after, [prompt], written)

    return np.array(
        [
            (
                told(models[0], text) - told(models[1], text),
                math.log(mass(draft, text) / mass(reference, text)),
            )
            for text in itertools.product(known, repeat=3)
        ]
    )


def test_a_text_earns_the_covering_ratio_where_it_can_be_cut_in_one_way_only() -> None:
    """Byte by byte: all of lambda telescopes to log Q(text) / R(text), however it was cut."""
    found = rewards("finer")
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=0, atol=20 * TOLERANCE)


@pytest.mark.parametrize(
    ("shape", "measured"),
    [("characters", 0.728), ("across", 0.703), ("coarser", 1.026), ("target within", 1.466)],
)
def test_how_far_a_text_s_reward_is_from_the_covering_ratio(shape: str, measured: float) -> None:
    """The root of their difference's mean square, relative to that of the covering ratio.

    Random tables are the worst case: they know no way of cutting a text from another, and each
    tells something else. What is missed is what the ratio says of all other ways, and of how the
    text may go on inside a foreign token: the more, the longer those are than the target's.
    """
    found = rewards(shape)
    distance = np.sqrt(np.mean((found[:, 0] - found[:, 1]) ** 2) / np.mean(found[:, 1] ** 2))
    assert distance == pytest.approx(measured, abs=0.001)


def letters_read_by(vocab: TinyVocab) -> Callable[[bytes], list[int]]:
    """How a tiny vocabulary cuts letters and spaces, by the rules of its kind.

    SentencePiece joins the neighbours whose token scores best, which here is the lowest one;
    byte-level BPE does likewise by its merges' order, but within words, which take one space before
    them along.
    """
    ids = {text: token for token, text in enumerate(vocab.tokens)}
    space = "Ġ" if vocab.merges else "▁"
    order = [pair.replace(" ", "") for pair in vocab.merges] or list(vocab.tokens)

    def merged(word: str) -> list[str]:
        parts = list(word)
        while True:
            joins = [
                (order.index(a + b), i)
                for i, (a, b) in enumerate(itertools.pairwise(parts))
                if a + b in order
            ]
            if not joins:
                return parts
            _, i = min(joins)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]

    def cut(text: bytes) -> list[int]:
        words = re.findall(r" ?[a-z]+| +(?![a-z])| +(?= )", text.decode())
        if not vocab.merges:
            words = [text.decode()] if text else []
        return [ids[part] for word in words for part in merged(word.replace(" ", space))]

    return cut


def toy_of(vocab: TinyVocab) -> Toy:
    """A tiny vocabulary of letters and spaces as byte strings."""
    texts = [
        text.replace("▁", " ").replace("Ġ", " ").encode() if kind == TokenType.NORMAL else b""
        for text, kind in zip(vocab.tokens, vocab.types, strict=True)
    ]
    ends = {"<|im_end|>": "end_of_turn", "<|endoftext|>": "end_of_text", "</s>": "end_of_text"}
    roles = {t: ends.get(text, "none") for t, text in enumerate(vocab.tokens) if not texts[t]}
    return Toy(tuple(texts), roles, vocab.bos if vocab.add_bos else None)


GGUFS = {
    "SentencePiece": spm_vocab(11),
    "SentencePiece, with a space before": spm_vocab(11, add_space_prefix=True, add_bos=False),
    "byte-level BPE": bpe_vocab(),
    "byte-level BPE that begins": bpe_vocab(add_bos=True, merges=("a b", "Ġ ab", "b a", "c d")),
}


@pytest.mark.parametrize(("target", "foreign"), [*itertools.permutations(GGUFS, 2)])
def test_over_files_rows_are_those_of_numpy_and_plain_merging(
    files: Files, target: str, foreign: str
) -> None:
    vocabs = GGUFS[target], GGUFS[foreign]
    models = [files.model(vocab=vocab) for vocab in vocabs]
    toys = [toy_of(vocab) for vocab in vocabs]
    pair = Pair(toys[0], toys[1], canonical=letters_read_by(vocabs[1]))
    contexts = [open_context(model) for model in models]
    loaded = [_core.Model.load(str(model.path), _core.ModelOptions(), None) for model in models]
    built = _core.VocabularyMap(*(_core.Vocabulary.of_model(model) for model in loaded))
    seen = _core.MappedModel(contexts[1], built)

    def after(read: Sequence[int]) -> vocabularies.Row:
        return vocabularies.log_softmax(numpy_forward.logits(models[1], list(read))[-1])

    letters = [
        t
        for t, piece in enumerate(toys[0].pieces)
        if piece and piece.isascii() and set(piece) <= {*b"abcd "}
    ]
    own = len(toys[0]) + next(t for t, piece in enumerate(toys[1].pieces) if piece == b"a")
    draw = random.Random(3)
    unlike = [t for t in letters if pair.twin(t) is None]
    for _ in range(6):
        history = draw.choices([*letters, own, vocabs[0].eos], k=draw.randint(3, 12))
        rows = seen.logits([(0, history, 3), (1, history[:2], 1)])
        expected = [
            [after(pair.reading(some))[pair.pieces(t)[0]] for t in letters]
            for some in (*(history[: len(history) - i] for i in (2, 1, 0)), history[:2])
        ]
        np.testing.assert_allclose(rows[:, letters], expected, rtol=0, atol=2 * LOGITS)
        reading = pair.reading(history)
        assert refined(seen, history, letters) == pytest.approx(
            {
                t: sum(
                    after([*reading, *pair.pieces(t)[:i]])[piece]
                    for i, piece in enumerate(pair.pieces(t))
                )
                for t in unlike
            },
            rel=0,
            abs=8 * LOGITS,
        )


@pytest.mark.parametrize("spare", [0, 4])
def test_over_files_histories_are_read_as_anew(files: Files, spare: int) -> None:
    """Rows after prefilling, going on and going back are those of a fresh context."""
    vocabs = bpe_vocab(), spm_vocab(20, byte_tokens=True)
    models = [files.model(vocab=vocab) for vocab in vocabs]
    loaded = [_core.Model.load(str(model.path), _core.ModelOptions(), None) for model in models]
    built = _core.VocabularyMap(*(_core.Vocabulary.of_model(model) for model in loaded))
    seen = _core.MappedModel(open_context(models[1]), built, spare=spare)
    draw, likely = random.Random(5), list(range(len(vocabs[0].tokens)))
    text = loaded[0].tokenize(
        "abcd ab é 你 a\nbcd ab ab 你好 dcba", add_special=False, parse_special=False
    )
    for _ in range(12):
        end = draw.randint(1, len(text))
        n_rows = draw.randint(0, min(end, 4))
        rows = seen.logits([(draw.randint(0, 2), text[:end], n_rows)])
        (found,) = seen.refine([(draw.randint(0, 2), text[:end], likely)])
        fresh = _core.MappedModel(open_context(models[1]), built)
        for i in range(n_rows):
            alone = fresh.logits([(0, text[: end - n_rows + 1 + i], 1)])
            np.testing.assert_allclose(rows[i : i + 1], alone, rtol=0, atol=2 * LOGITS)
        (alone_found,) = fresh.refine([(0, text[:end], likely)])
        assert dict(found) == pytest.approx(dict(alone_found), rel=0, abs=8 * LOGITS)


def test_refining_in_spare_sequences_leaves_what_rows_go_on_from(files: Files) -> None:
    """The next row then costs one token; without any, what the pieces displaced is read again."""
    vocabs = bpe_vocab(), spm_vocab(20, byte_tokens=True)
    models = [files.model(vocab=vocab) for vocab in vocabs]
    loaded = [_core.Model.load(str(model.path), _core.ModelOptions(), None) for model in models]
    built = _core.VocabularyMap(*(_core.Vocabulary.of_model(model) for model in loaded))
    several = next(t for t in range(len(vocabs[0].tokens)) if len(built.pieces(t)) > 1)
    text = loaded[0].tokenize("d a d a d a", add_special=False, parse_special=False)
    for spare, cost in ((2, 1), (0, 3)):
        context = open_context(models[1])
        seen = _core.MappedModel(context, built, spare=spare)
        seen.logits([(0, text[:5], 1)])
        before = context.evaluated_tokens
        seen.refine([(0, text[:5], [several])])  # the row tells of the first piece
        assert context.evaluated_tokens - before == len(built.pieces(several)) - 1
        seen.refine([(0, text[:3], [several])])
        before = context.evaluated_tokens
        seen.logits([(0, text[:6], 1)])
        assert context.evaluated_tokens - before == cost
