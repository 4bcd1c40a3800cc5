"""What may follow a response, against its definition."""

from __future__ import annotations

import itertools
import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import Error, EvaluationError, _core
from rewardshift.grammar import Vocabulary, grammar_of
from rewardshift.grammar import vocabulary as grammar_vocabulary
from tests.support.languages import BYTES, Language, Tokens, language, tokens_of

SNOWMAN = "☃".encode()

SMALL = tokens_of(
    b"a", b"b", b"c", b"ab", b"bc", b"ab", b"abc", b"1", b"12", b"2", b"\xff", b"a\xff"
)
"""Letters; two tokens of the same bytes; two with a byte that no text has."""
UTF8 = tokens_of(
    *(b"a", "é".encode(), b"\xc3", b"\xa9", b"a\xc3", b"\xa9a"),
    *(SNOWMAN, SNOWMAN[:1], SNOWMAN[1:], SNOWMAN[:2], SNOWMAN[2:], b"\x98"),
)
"""Characters cut anywhere."""

WORLDS = {
    "choice": (SMALL, language("a", "ab", "abc", "12", choice=["a", "ab", "abc", "12", "ab"])),
    "choice with the empty text": (SMALL, language("", "ab", choice=["", "ab"])),
    "choice of UTF-8": (UTF8, language("aé", "éa", "é☃", "☃", choice=["aé", "éa", "é☃", "☃"])),
    "regex": (SMALL, language("ab", "abab", "ababab", regex="(ab){1,3}")),
    "regex of two cuts": (SMALL, language("ac", "abc", "abbc", regex="(a|ab)(c|bc)")),
    "regex of the empty text": (SMALL, language("", regex="")),
    "regex with an optional end": (SMALL, language("1", "12", "122", "12c", "1c", "122c",
                                                   regex="12{0,2}c?")),
    "regex of UTF-8": (UTF8, language("a", "aé", "aéé", "a☃", "a☃é", "aé☃", "a☃☃",
                                      regex="a[é☃]{0,2}")),
    "lark": (SMALL, language("a1", "a2", "bc1", "bc2",
                             grammar='start: x y\nx: "a" | "bc"\ny: /[12]/')),
    "lark with nested rules": (SMALL, language("abc", "aabcc",
                                               grammar='start: "a" x "c"\nx: "b" | "a" "b" "c"')),
    "lark of UTF-8": (UTF8, language("é", "☃☃", grammar='start: "é" | twice\ntwice: "☃" "☃"')),
    "lark with rules that count": (SMALL, language("ab", "ba", grammar="""
        start: p::0
        p::_: "" %if is_ones([0:2])
            | "a" p::set_bit(0) %if bit_clear(0)
            | "b" p::set_bit(1) %if bit_clear(1)
        """)),
    "lark with a terminal": (SMALL, language("a", "ab", "abb", "c",
                                             grammar="start: WORD\nWORD: /ab{0,2}/ | \"c\"")),
}  # fmt: skip


@pytest.fixture(params=list(WORLDS))
def world(request: pytest.FixtureRequest) -> tuple[Tokens, Language]:
    """A vocabulary and a language."""
    return WORLDS[request.param]


def test_what_may_follow_is_what_begins_a_sentence(world: tuple[Tokens, Language]) -> None:
    tokens, words = world
    walk = tokens.grammar(**words.options).start()
    responses = list(words.responses(tokens))
    assert len(responses) > 1 or words.sentences == {b""}
    for response in responses:
        assert walk.allowed_after(response) == words.allowed(tokens, response), response


def test_after_the_end_or_outside_the_grammar_nothing_may_follow(
    world: tuple[Tokens, Language],
) -> None:
    tokens, words = world
    walk = tokens.grammar(**words.options).start()
    for response in words.responses(tokens):
        allowed = words.allowed(tokens, response)
        for token in (*range(tokens.vocab_size), -1, tokens.vocab_size, 10**9):
            if token not in allowed or token in tokens.ends:
                assert walk.allowed_after([*response, token]) == []
                assert walk.allowed_after([*response, token, 0]) == []


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_where_a_walk_was_before_changes_nothing(data: st.DataObject) -> None:
    tokens, words = WORLDS[data.draw(st.sampled_from(list(WORLDS)))]
    grammar = tokens.grammar(**words.options)
    walk = grammar.start()
    any_token = st.integers(-1, tokens.vocab_size)
    known = list(words.responses(tokens))
    for _ in range(data.draw(st.integers(1, 12))):
        response = list(data.draw(st.sampled_from(known)))
        response += data.draw(st.lists(any_token, max_size=2))
        expected = grammar.start().allowed_after(response)
        assert walk.allowed_after(response) == expected
        assert walk.allowed_after(response) == expected
        if all(0 <= t < tokens.vocab_size for t in response):
            assert expected == words.allowed(tokens, response)


PIECES = ("a", "b", "c", "ab", "abc", "12", "[ab]", "é", "☃")


def finite(depth: int) -> st.SearchStrategy[str]:
    """Regular expressions that a few texts match."""
    if depth == 0:
        return st.sampled_from(PIECES)
    below = finite(depth - 1)
    return st.one_of(
        below,
        st.builds("(?:{}|{})".format, below, below),
        st.builds("{}{}".format, below, below),
        st.builds("(?:{})?".format, below),
        st.builds("(?:{}){{0,2}}".format, below),
    )


MIXED = tokens_of(*dict.fromkeys(SMALL.pieces[:10] + UTF8.pieces[:12]))
TEXTS = [
    "".join(text)
    for n in range(4)
    for text in itertools.product(("a", "b", "c", "1", "2", "é", "☃"), repeat=n)
]


@settings(max_examples=40, deadline=None)
@given(regex=finite(2))
def test_a_regular_expression_means_what_it_means_to_python(regex: str) -> None:
    """On all texts of up to three characters."""
    walk = MIXED.grammar(regex=regex).start()
    for text in TEXTS:
        response = [MIXED.pieces.index(character.encode()) for character in text]
        ends = not MIXED.ends.isdisjoint(walk.allowed_after(response))
        assert ends == (re.fullmatch(regex, text) is not None)


def test_a_long_walk_forward_and_back_is_exact() -> None:
    words = language(*("ab" * n for n in range(1, 61)), regex="(ab){1,60}")
    walk = SMALL.grammar(**words.options).start()
    rng = random.Random(7)
    path: list[int] = []
    for _ in range(300):
        path = path[: rng.randint(max(0, len(path) - 50), len(path))]
        for _ in range(rng.randint(0, 60)):
            going_on = [t for t in words.allowed(SMALL, path) if t not in SMALL.ends]
            if not going_on:
                break
            path.append(rng.choice(going_on))
        assert walk.allowed_after(path) == words.allowed(SMALL, path)


def test_where_no_token_goes_on_nothing_may_follow_and_the_walk_goes_on() -> None:
    tokens = tokens_of(b"a", b"b", b"ab")
    words = language("ab", "ax", "axb", choice=["ab", "ax", "axb"])
    dead = tokens_of(b"a", b"c", b"y")
    walk = dead.grammar(choice=["ab", "ac", "yx"]).start()
    for _ in range(2):
        assert walk.allowed_after([2]) == []
        assert walk.allowed_after([0]) == [1]
        assert walk.allowed_after([0, 1]) == sorted(dead.ends)
    walk = tokens.grammar(**words.options).start()
    assert walk.allowed_after([0]) == words.allowed(tokens, [0]) == [1]


def test_ids_that_a_model_lacks_never_follow() -> None:
    end = max(SMALL.ends)
    walk = SMALL.grammar(n_known=end, regex="a*").start()
    assert walk.allowed_after([]) == [0, min(SMALL.ends)]
    assert SMALL.grammar(n_known=5, regex="(ab)*").start().allowed_after([]) == [0, 3]


def test_forced_is_what_is_alone_and_counted_is_what_is_allowed() -> None:
    walk = tokens_of(b"a", b"b", ends=1).grammar(regex="ab*").start()
    assert walk.forced_after([]) == 0
    assert walk.count_after([]) == 1
    assert walk.forced_after([0]) is None
    assert walk.count_after([0]) == 2
    assert walk.forced_after([1]) is None
    assert walk.count_after([1]) == 0
    wide = tokens_of(*[b"x"] * 40, b"y", ends=1)
    assert wide.grammar(regex="xy").start().forced_after([39]) == 40


def test_walks_of_one_grammar_do_not_know_of_each_other() -> None:
    grammar = SMALL.grammar(regex="(ab|12)*")
    first, second = grammar.start(), grammar.start()
    before = second.allowed_after([])
    assert first.allowed_after([0]) == [1]
    assert second.allowed_after([]) == before
    del grammar
    assert first.allowed_after([0, 1]) == before


def test_threads_walk_one_grammar_at_once() -> None:
    grammar = BYTES.grammar(regex="([a-z]{1,3} )*")
    text = b"abc d ef " * 40

    def masks(_: int) -> list[int]:
        walk = grammar.start()
        return [walk.count_after([*text[:n]]) for n in range(len(text))]

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(masks, range(8)))
    assert counts == [masks(0)] * 8


def test_every_token_that_ends_generation_is_allowed_where_one_is() -> None:
    many = tokens_of(b"a", ends=40)
    walk = many.grammar(regex="aa?").start()
    assert walk.allowed_after([]) == [0]
    assert walk.allowed_after([0]) == [0, *sorted(many.ends)]
    assert walk.allowed_after([0, 0]) == sorted(many.ends)
    assert tokens_of(b"a", ends=0).grammar(regex="a").start().allowed_after([0]) == []


def test_a_list_of_responses_is_a_grammar() -> None:
    grammar = _core.ListGrammar([[0, 1], [0, 1, 2], [3]], 40, {38, 39})
    walk = grammar.start()
    assert grammar.vocab_size == 40
    for response, allowed in {
        (): [0, 3],
        (0,): [1],
        (0, 1): [2, 38, 39],
        (0, 1, 2): [38, 39],
        (3,): [38, 39],
        (3, 38): [],
        (1,): [],
        (99, -1): [],
    }.items():
        assert walk.allowed_after(list(response)) == allowed
    for sequences, vocab, ends in (
        ([], 4, set()),
        ([[4]], 4, set()),
        ([[1]], 4, {1}),
        ([[1]], 0, set()),
    ):
        with pytest.raises(ValueError, match="must be"):
            _core.ListGrammar(sequences, vocab, ends)


def test_a_walk_that_gave_up_never_allows_anything_again() -> None:
    """A row of more items than llguidance keeps: it says so, and so do we."""
    rules = "\n".join(f"r{i}: x{i} tail\nx{i}: /a+/\n" for i in range(2500))
    text = (
        'start: "b" all\nall: ' + " | ".join(f"r{i}" for i in range(2500)) + f'\ntail: "c"\n{rules}'
    )
    walk = BYTES.grammar(grammar=text).start()
    assert walk.allowed_after([]) == [ord("b")]
    for response in ([ord("b")], []):
        with pytest.raises(EvaluationError, match="cannot tell what may follow"):
            walk.allowed_after(response)


def test_grammars_of_one_text_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary(SMALL)  # type: ignore[arg-type]
    first = grammar_of({"regex": "ab*"}, vocabulary)
    monkeypatch.setattr(grammar_vocabulary, "rehearse", lambda _source: pytest.fail("again"))
    assert grammar_of({"regex": "ab*"}, vocabulary) is first


INSTALL = re.escape("pip install 'llguidance>=1.8,<1.10'")


def test_a_library_that_is_none_says_what_to_install(tmp_path: Any) -> None:
    nothing = tmp_path / "none.so"
    with pytest.raises(Error, match=INSTALL):
        _core.GrammarVocabulary(str(nothing), [b"a"], set())
    nothing.write_bytes(b"no library")
    with pytest.raises(Error, match=INSTALL):
        _core.GrammarVocabulary(str(nothing), [b"a"], set())
    with pytest.raises(Error, match="it has no llg_get_version"):
        _core.GrammarVocabulary(_core.__file__, [b"a"], set())


def test_without_an_interpreter_to_rehearse_with_nothing_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(Error, match=r"sys\.executable"):
        SMALL.grammar(regex="never seen before")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    monkeypatch.setattr(grammar_vocabulary.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Error, match=INSTALL):
        grammar_vocabulary.library_path()


def test_wrong_vocabularies_are_refused() -> None:
    library = grammar_vocabulary.library_path()
    with pytest.raises(ValueError, match="pieces must be at least one"):
        _core.GrammarVocabulary(library, [], set())
    for token in (-1, 1):
        with pytest.raises(ValueError, match="must be in the vocabulary"):
            _core.GrammarVocabulary(library, [b"a"], {token})
