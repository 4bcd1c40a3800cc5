"""Vocabularies as bytes: canonical tokenisation, and what tokens of one are in another."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import ModelLoadError, _core
from tests.support import vocabularies
from tests.support.engine import core_vocabulary as core
from tests.support.tiny_gguf import (
    TinySpec,
    TinyVocab,
    bpe_vocab,
    spm_vocab,
    wordpiece_vocab,
    write_model,
)
from tests.support.vocabularies import SHAPES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

SPACES = ("Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ", "ĊĊ Ċ", "Ġ Ċ", "ĠĊ Ċ", "Ċ Ġ", "ĉ ĉ")
WORDS = (
    "a b",
    "c d",
    "Ġ a",
    "Ġ b",
    "ab cd",
    "Ġa b",
    "' s",
    "( a",
    "1 2",
    "12 3",
    ". Ċ",
    ". ĊĊ",
    ": Ċ",
)
HAN = ("ä ½", "ä½ ł", "å ¥", "å¥ ½", "ä½ł å¥½")
"""In GPT-2's spelling: Ġ is a space, Ċ a newline, ĉ a tabulator; the last are 你, 好 and 你好."""

TOKENIZERS: dict[str, TinyVocab] = {
    "SentencePiece with bytes": spm_vocab(20, byte_tokens=True),
    "SentencePiece with bytes and a space before": spm_vocab(
        20, byte_tokens=True, add_space_prefix=True
    ),
    "SentencePiece without bytes": spm_vocab(40),
    "SentencePiece without bytes, with a space before": spm_vocab(40, add_space_prefix=True),
    "WordPiece": wordpiece_vocab(),
    **{
        f"{pre} with {name}": bpe_vocab(merges=merges, pre=pre)
        for pre in ("gpt-2", "llama-bpe", "qwen2", "smollm", "deepseek-llm", "falcon")
        for name, merges in (
            ("words", WORDS + HAN),
            ("spaces", SPACES + WORDS),
            ("inner newlines only", ("Ċ Ċ", "ĊĊ Ċ", "Ġ Ċ", "ĊĊ Ġ", *WORDS[:7])),
        )
    },
}

TEXT = st.lists(
    st.sampled_from(
        [
            *"abcd12'.(:",
            " ",
            "  ",
            "\n",
            "\n\n",
            "\t",
            "\r\n",
            "abcd",
            " ab",
            "'s",
            " a1",
            "123",
            "你",
            "好",
            "é",
            "\u00a0",
            "\u3000",
            "\u2581",
            "🙂",
            "def f(x):\n    return x\n",
        ]
    ),
    max_size=24,
).map("".join)
SPACED = st.lists(
    st.sampled_from(["(", "a", "1", "。", "\n", " ", "\t", "\r", "\u3000"]), max_size=14
).map("".join)
BYTES = st.lists(
    st.one_of(TEXT.map(str.encode), SPACED.map(str.encode), st.binary(max_size=4)), max_size=4
).map(b"".join)


@cache
def core_map(shape: str) -> _core.VocabularyMap:
    pair = SHAPES[shape]
    return _core.VocabularyMap(core(pair.target), core(pair.foreign))


def load(path: Path) -> _core.Model:
    return _core.Model.load(str(path), _core.ModelOptions(), None)


BYTE_BY_BYTE = _core.Vocabulary([bytes([byte]) for byte in range(256)])


class Kinds:
    """A vocabulary of each kind of tokenizer, loaded once."""

    def __init__(self, files: Files) -> None:
        self.models = {
            name: load(files.model(vocab=vocab, n_layer=1).path)
            for name, vocab in TOKENIZERS.items()
        }
        self.vocabularies = {n: _core.Vocabulary.of_model(m) for n, m in self.models.items()}
        self.tokenizers = {n: _core.CanonicalTokenizer(v) for n, v in self.vocabularies.items()}
        self.maps = {n: _core.VocabularyMap(BYTE_BY_BYTE, v) for n, v in self.vocabularies.items()}

    def begun(self, kind: str, text: bytes) -> list[int]:
        """How a history that begins with this text is read."""
        begin = self.vocabularies[kind].begin
        return ([] if begin is None or not text else [begin]) + self.tokenizers[kind].tokens_of(
            text
        )


@pytest.fixture(scope="module")
def kinds(files: Files) -> Kinds:
    return Kinds(files)


def is_sayable(kind: str, text: bytes) -> bool:
    """Whether a tokenizer of this kind returns what it was given, where that is text."""
    if kind == "WordPiece":
        return False  # it lowers letters, and has no white space
    if not kind.startswith("SentencePiece"):
        return True
    alphabet = b"abcdefghijklmnopqrstuvwxyz \n"
    return "\u2581".encode() not in text if "with bytes" in kind else set(text) <= {*alphabet}


def spelled(vocabulary: _core.Vocabulary, tokens: list[int]) -> bytes:
    return b"".join(vocabulary.bytes_of(token) for token in tokens)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=250, deadline=None)
@given(text=st.one_of(SPACED.map(str.encode), BYTES))
def test_boundaries_leave_what_a_tokenizer_says_alone(kinds: Kinds, kind: str, text: bytes) -> None:
    """But for what it cannot say, which is spelled, and so never merged, up to the boundary."""
    if is_sayable(kind, text):
        tokenizer = kinds.tokenizers[kind]
        assert tokenizer.tokens_of(text) == tokenizer.tokens_between(text)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(text=BYTES)
def test_a_text_that_grows_is_read_as_the_whole_of_it_is(
    kinds: Kinds, kind: str, text: bytes
) -> None:
    reading = _core.Reading(kinds.maps[kind])
    reading.read(list(text))
    for n in range(len(text) + 1):
        assert reading.after(n) == kinds.begun(kind, text[:n])
        settled = reading.settled_after(n)
        assert reading.after(len(text))[: len(settled)] == settled


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_text_is_cut_as_llama_cpp_cuts_it(kinds: Kinds, kind: str, text: str) -> None:
    """Where the tokens then say what the text says, and no space is put before it."""
    model, vocabulary = kinds.models[kind], kinds.vocabularies[kind]
    try:
        own = model.tokenize(text, add_special=False, parse_special=False)
    except ValueError:
        return
    if TOKENIZERS[kind].add_space_prefix:
        text = " " + text
    if text and spelled(vocabulary, own) == text.encode():
        assert kinds.tokenizers[kind].tokens_of(text.encode()) == own


@pytest.mark.parametrize("kind", [k for k, v in TOKENIZERS.items() if len(v.tokens) > 255])
@settings(max_examples=60, deadline=None)
@given(text=BYTES)
def test_tokens_spell_the_text_to_the_byte(kinds: Kinds, kind: str, text: bytes) -> None:
    tokens = kinds.tokenizers[kind].tokens_of(text)
    assert spelled(kinds.vocabularies[kind], tokens) == text


@settings(max_examples=300, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    text=st.text("ab c\n你é").map(str.encode),
    cut=st.integers(0, 9),
)
def test_merges_by_rank_are_those_of_the_definition(shape: str, text: bytes, cut: int) -> None:
    toy = SHAPES[shape].foreign
    text = text[: max(len(text) - cut, 0)]
    assert _core.CanonicalTokenizer(core(toy)).tokens_of(text) == toy.canonical(text)


@pytest.mark.parametrize("kind", ["SentencePiece with bytes", "smollm with words"])
@pytest.mark.parametrize("text", ["abcd" * 700, "你好" * 700, "ab" * 2000 + " cd", "\x00" * 3000])
def test_a_long_text_without_boundaries_is_cut_by_its_bytes_alone(
    kinds: Kinds, kind: str, text: str
) -> None:
    vocabulary, tokenizer = kinds.vocabularies[kind], kinds.tokenizers[kind]
    written = text.encode()
    whole = tokenizer.tokens_of(written)
    assert spelled(vocabulary, whole) == written
    reading = _core.Reading(kinds.maps[kind])
    for end in (*range(0, len(written), 997), len(written)):
        reading.read(list(written[:end]))
        assert reading.after(end) == kinds.begun(kind, written[:end])
    most = tokenizer.longest + 4
    assert (
        len(spelled(vocabulary, whole)) - len(spelled(vocabulary, reading.settled_after(end)))
        < most
    )


def test_broken_bytes_without_end_are_cut_too(kinds: Kinds) -> None:
    reading = _core.Reading(kinds.maps["smollm with words"])
    reading.read([0xA0] * 5000)
    assert 5000 - len(reading.settled_after(5000)) < _core.CanonicalTokenizer.longest + 4


@pytest.mark.parametrize("shape", SHAPES)
def test_tokens_have_the_pieces_of_the_definition(shape: str) -> None:
    pair, built = SHAPES[shape], core_map(shape)
    for token in range(len(pair.target)):
        assert built.has_twin(token) == (pair.twin(token) is not None)
        assert built.pieces(token) == pair.pieces(token)


@pytest.mark.parametrize("shape", SHAPES)
def test_histories_are_read_as_the_definition_says(shape: str) -> None:
    pair = SHAPES[shape]
    reading = _core.Reading(core_map(shape))
    everything = len(pair.target) + len(pair.foreign)
    for history in vocabularies.histories(everything, 3):
        reading.read(list(history))
        for n in range(len(history) + 1):
            assert reading.after(n) == pair.reading(history[:n])


def test_what_was_not_read_is_not_told() -> None:
    reading = _core.Reading(core_map("finer"))
    reading.read([0, 1])
    for ask in (reading.after, reading.settled_after):
        with pytest.raises(ValueError, match="n must be at most 2, not 3"):
            ask(3)
    for token in (-1, len(SHAPES["finer"].target) + len(SHAPES["finer"].foreign)):
        with pytest.raises(ValueError, match=f"a token must be in the vocabulary, not {token}"):
            reading.read([token])


def test_ends_correspond_by_role() -> None:
    pair, built = SHAPES["all control"], core_map("all control")
    roles = {token: pair.target.roles.get(token) for token in range(len(pair.target))}
    found = {
        role: pair.foreign.roles.get(built.pieces(token)[0])
        for token, role in roles.items()
        if role in vocabularies.ENDS
    }
    assert found == {
        "end_of_text": "end_of_text",
        "end_of_turn": "end_of_turn",
        "other_end": "end_of_turn",
    }
    assert pair.target.begin is not None
    assert built.pieces(pair.target.begin) == [pair.foreign.begin]


@pytest.mark.parametrize("target", TOKENIZERS)
def test_pieces_of_many_tokens_are_those_of_each_by_itself(kinds: Kinds, target: str) -> None:
    """Tokens are tokenised many at once: none may know of its neighbours."""
    for foreign in TOKENIZERS:
        built = _core.VocabularyMap(kinds.vocabularies[target], kinds.vocabularies[foreign])
        for token in range(len(kinds.vocabularies[target])):
            text = kinds.vocabularies[target].bytes_of(token)
            if text and not built.has_twin(token):
                assert built.pieces(token) == kinds.tokenizers[foreign].tokens_of(text)


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(BYTES.filter(bool), min_size=1, max_size=30, unique=True),
    kind=st.sampled_from(sorted(TOKENIZERS)),
)
def test_pieces_of_any_tokens_are_those_of_each_by_itself(
    kinds: Kinds, texts: list[bytes], kind: str
) -> None:
    built = _core.VocabularyMap(_core.Vocabulary(texts), kinds.vocabularies[kind])
    for token, text in enumerate(texts):
        if not built.has_twin(token):
            assert built.pieces(token) == kinds.tokenizers[kind].tokens_of(text)


def test_the_share_of_a_row_is_the_mass_that_has_twins() -> None:
    pair, built = SHAPES["finer"], core_map("finer")
    rng = np.random.default_rng(0)
    twins = np.array([pair.twin(token) is not None for token in range(len(pair.target))])
    texts = np.array([bool(piece) for piece in pair.target.pieces])
    assert built.share == pytest.approx((twins & texts).sum() / texts.sum())
    sizes = [len(pair.pieces(token)) for token in np.flatnonzero(texts)]
    assert built.expansion == pytest.approx(np.mean(sizes))
    for _ in range(20):
        row = (3 * rng.normal(size=len(pair.target))).astype(np.float32)
        probs = np.exp(vocabularies.log_softmax(row.astype(np.float64)))
        assert built.share_of(row) == pytest.approx(probs[twins].sum(), abs=1e-6)
    with pytest.raises(ValueError, match=re.escape("a row must be the target's, not 3")):
        built.share_of(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="a row must be a distribution"):
        built.share_of(np.full(len(pair.target), np.nan, np.float32))


def test_a_gguf_tells_bytes_and_roles(files: Files) -> None:
    spm = _core.Vocabulary.of_model(load(files.model(vocab=spm_vocab(12, byte_tokens=True)).path))
    role = _core.TokenRole
    assert [spm.role_of(t) for t in (0, 1, 2)] == [role.none, role.none, role.end_of_text]
    assert spm.begin == 1
    letters = 3 + 256
    assert (spm.bytes_of(3 + 0xE4), spm.role_of(3 + 0xE4)) == (b"\xe4", role.byte)
    assert [spm.bytes_of(letters + i) for i in (0, 2, 6)] == [b"a", b" ", b" a"]
    vocab = bpe_vocab().padded(2)
    bpe = _core.Vocabulary.of_model(load(files.model(vocab=vocab).path))
    assert bpe.begin is None
    assert [bpe.role_of(t) for t in (0, 1, 2)] == [role.end_of_text, role.none, role.end_of_turn]
    assert [bpe.bytes_of(len(bpe) - i) for i in (1, 2, 3)] == [b"", b"", b"abcd"]
    assert bpe.role_of(len(bpe) - 1) == role.none


def test_a_letter_is_itself_rather_than_its_byte_token(files: Files) -> None:
    spm = _core.Vocabulary.of_model(load(files.model(vocab=spm_vocab(12, byte_tokens=True)).path))
    built = _core.VocabularyMap(_core.Vocabulary([b"a", b"z"]), spm)
    assert built.pieces(0) == [3 + 256]
    assert built.pieces(1) == [3 + ord("z")]


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    vocab = TinyVocab(
        model="none", tokens=spm_vocab().tokens, types=spm_vocab().types, bos=1, eos=2
    )
    path = write_model(tmp_path / "none.gguf", TinySpec(vocab=vocab)).path
    with pytest.raises(ModelLoadError, match="has no tokenizer"):
        _core.Vocabulary.of_model(load(path))
