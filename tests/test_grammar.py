"""What may follow, against its definition; and that no grammar, however hostile, does harm."""

from __future__ import annotations

import json
import random
import re
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import Error, EvaluationError, GrammarError, _core
from rewardshift.grammar import GRAMMAR_OPTIONS, Vocabulary, grammar_of
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


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """The schema of an object with these properties alone."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


KIDS = {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}
LIST = {"type": "array", "items": closed({"n": {"type": "number"}}, "n"), "maxItems": 2}
SCHEMAS: list[Any] = [
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    closed({"a": {"type": "string", "maxLength": 4}, "b": {"type": "boolean"}}, "b"),
    {"type": "array", "items": {"type": "integer", "minimum": -3, "maximum": 40}, "maxItems": 4},
    {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": False},
    {"enum": ["rot", "grün", 3, None, [1, {"a": "b"}]]},
    {"const": {"schlüssel": ["☃", '\n"\\']}},
    {"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25},
    {"type": "integer", "multipleOf": 7},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "pattern": "^[a-c]{2,4}$"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "uuid"},
    {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}, {"type": "null"}]},
    {"type": ["boolean", "null"]},
    {
        "$defs": {"leaf": {"type": "integer"}},
        **closed({"x": {"$ref": "#/$defs/leaf"}, "y": {"$ref": "#/$defs/leaf"}}, "x", "y"),
    },
    {
        "$defs": {"tree": closed({"v": {"type": "boolean"}, "kids": KIDS}, "v")},
        "$ref": "#/$defs/tree",
    },
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "boolean"}}},
            {"properties": {"b": {"type": "null"}}, "required": ["a", "b"]},
        ]
    },
    {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 2},
    {**closed({}), "patternProperties": {"^x[0-9]$": {"type": "integer"}}},
    closed({"ключ": {"enum": ["да", "нет"]}}, "ключ"),
    closed({"deep": closed({"list": LIST}, "list")}, "deep"),
]


def asked(schema: object) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def random_response(
    tokens: Tokens, grammar: _core.Grammar, rng: random.Random, most: int
) -> list[int]:
    """Random allowed tokens; those that close something more often, so that it ends."""
    walk = grammar.start()
    response: list[int] = []
    while len(response) < most:
        allowed = walk.allowed_after(response)
        ends = [t for t in allowed if t in tokens.ends]
        if ends and (len(ends) == len(allowed) or rng.random() < 0.5):
            return response
        going_on = [t for t in allowed if t not in tokens.ends]
        closing = [t for t in going_on if tokens.pieces[t] in {b'"', b"]", b"}", b","}]
        response.append(rng.choice(closing if closing and rng.random() < 0.5 else going_on))
    return response


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:50])
def test_what_a_schema_allows_is_valid(schema: Any) -> None:
    grammar = BYTES.grammar(**asked(schema))
    rng = random.Random(3)
    checker = jsonschema.FormatChecker(["date", "uuid"])
    ended = 0
    for _ in range(12):
        response = random_response(BYTES, grammar, rng, 400)
        if len(response) == 400:
            continue
        ended += 1
        value = json.loads(BYTES.text(response) or b"")
        jsonschema.validate(value, schema, format_checker=checker)
    assert ended > 0


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('{"a":1,"b":[true,{}]}', True),
        ('{"a": 1, "b": [true, {}]}', True),
        (json.dumps({"a": {"b": [1, 2.5e3, None, '"\\\n']}}, indent=4), True),
        ("{}", True),
        ("{\n\t\"a\": 1\r\n}", True),
        ("[1]", False),
        ('"a"', False),
        (" {}", False),
        ("{} ", False),
        ("{'a':1}", False),
        ('{"a":1,}', False),
        ('{"a":01}', False),
        ('{"a":  1}', False),
        ("{\n\n}", False),
    ],
)  # fmt: skip
def test_a_json_object_may_be_on_one_line_or_indented(text: str, *, fits: bool) -> None:
    walk = BYTES.grammar(response_format={"type": "json_object"}).start()
    assert fits == (not BYTES.ends.isdisjoint(walk.allowed_after([*text.encode()])))


def test_text_is_asked_for_by_no_grammar() -> None:
    vocabulary = Vocabulary(SMALL)  # type: ignore[arg-type]
    assert grammar_of({}, vocabulary) is None
    assert grammar_of({"response_format": {"type": "text"}, "temperature": 0.5}, vocabulary) is None
    assert grammar_of(dict.fromkeys(GRAMMAR_OPTIONS), vocabulary) is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"regex": "a", "choice": ["a"]}, ValueError, "at most one of .* not regex and choice"),
        ({"regex": 3}, TypeError, "regex must be text, not 3"),
        ({"regex": "\ud800"}, ValueError, "regex must be Unicode"),
        ({"regex": "a\0"}, GrammarError, "regex: .*NUL"),
        ({"regex": "(a"}, GrammarError, "regex: .*unclosed group"),
        ({"regex": "a(?=b)"}, GrammarError, "look-around"),
        ({"regex": r"(a)\1"}, GrammarError, "regex: "),
        ({"regex": "x"}, GrammarError, "no token begins one"),
        ({"grammar": b"start: a"}, TypeError, "grammar must be text"),
        (
            {"grammar": 'start: "a" |\n  nothing'},
            GrammarError,
            r"grammar: 2\(10\): Expected token ':'",
        ),
        ({"grammar": "start: a\na: a"}, GrammarError, "no token begins one"),
        ({"grammar": 'first: "a"'}, GrammarError, "no start rule"),
        ({"grammar": '\nstart: <[3]> "a"'}, GrammarError, "line 2: tokens by number"),
        ({"grammar": 'start: "a" <|end|>'}, GrammarError, "grammar: "),
        ({"grammar": 'start: x\nx[stop="b"]: /a*/'}, GrammarError, "line 2: the attribute stop"),
        ({"grammar": "start: x\nx[max_tokens=3]: /a*/"}, GrammarError, "attribute max_tokens"),
        ({"choice": "abc"}, TypeError, "choice must be a list"),
        ({"choice": []}, ValueError, "at least one text"),
        ({"choice": ["a", 3]}, TypeError, "a text of choice must be text, not 3"),
        ({"choice": ["\udfff"]}, ValueError, "choice must be Unicode"),
        ({"response_format": "json"}, TypeError, "response_format must be a mapping"),
        ({"response_format": {"type": "xml"}}, ValueError, "not 'xml'"),
        ({"response_format": {}}, ValueError, "must have the type"),
        ({"response_format": {"type": "json_schema"}}, TypeError, "mapping 'json_schema'"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, ValueError, "'schema'"),
        (asked("string"), TypeError, "must be a mapping, True or False, not 'string'"),
        (asked({"const": float("nan")}), GrammarError, "must be JSON"),
        (asked({"const": {1, 2}}), GrammarError, "must be JSON"),
        (asked({"const": "\ud800"}), GrammarError, "must be Unicode"),
        (asked(False), GrammarError, "response_format: .*schema is false"),
        (asked({"x-guidance": {}}), GrammarError, "x-guidance"),
        (asked({"type": "strange"}), GrammarError, "Invalid type: strange"),
        (asked({"$ref": "#/$defs/none"}), GrammarError, "/\\$defs/none"),
        (asked({"$ref": "https://example.com/schema"}), GrammarError, "example.com"),
        (asked({"not": {"type": "string"}}), GrammarError, "Unimplemented keys"),
        (asked({"type": "string", "format": "colour"}), GrammarError, "Unknown format: colour"),
        (asked({"type": "integer", "minimum": 3, "maximum": 2}), GrammarError, "greater than"),
        (asked({"enum": []}), GrammarError, "empty"),
    ],
)
def test_what_is_no_grammar_is_refused_in_words(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        SMALL.grammar(**options)


def test_a_grammar_error_is_a_value_error_and_one_of_ours() -> None:
    assert issubclass(GrammarError, ValueError)
    assert issubclass(GrammarError, Error)


DEEP = 100_000


def chain(n: int, rule: str) -> str:
    return "start: T0\n" + "\n".join(rule.format(i, i + 1) for i in range(n)) + f'\nT{n}: "b"'


def nested(n: int) -> Any:
    schema: Any = {}
    for _ in range(n):
        schema = {"items": schema}
    return schema


HOSTILE: dict[str, dict[str, Any]] = {
    "deep lark": {"grammar": "start: " + "(" * DEEP + '"a"' + ")" * DEEP},
    "negations": {"grammar": "start: A\nA: " + "~" * DEEP + '"a"'},
    "deep regex": {"regex": "(" * DEEP + "a" + ")" * DEEP},
    "deep classes": {"regex": "[" * DEEP + "a" + "]" * DEEP},
    "stars": {"regex": "a" + "*" * DEEP},
    "a deep schema": asked(nested(DEEP // 10)),
    "a schema of 500 levels": asked(nested(500)),
    "megabytes": {"regex": "a" * (2 << 20)},
    "options in a row": {"regex": "a?" * 20_000},
    "terminals in a row": {"grammar": chain(20_000, 'T{}: T{} "a"')},
    "doubling terminals": {"grammar": chain(40, "T{0}: T{1} T{1}")},
    "words without end": {"grammar": "start: " + " | ".join(f'"a{i}"' for i in range(60_000))},
    "a large divisor": asked({"type": "integer", "multipleOf": 999_983}),
    "too many properties": asked(closed({f"p{i}": {} for i in range(30_000)})),
    "all of any of": asked({"allOf": [{"anyOf": [{"properties": {f"a{i}": {"minimum": i}}},
                                                 {"properties": {f"b{i}": {"minLength": i}}}]}
                                      for i in range(30)]}),
    "patterns at once": asked({"allOf": [{"type": "string", "pattern": f"(a|b)*a(a|b){{{i}}}"}
                                         for i in range(40)]}),
    "a definition of itself": asked({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [
        {"$ref": "#/$defs/a"}, {"type": "object"}]}}}),
    "numbers without end": {"grammar": 'start: %json {"minimum": ' + "9" * DEEP + "}"},
}  # fmt: skip
"""None of them compiles within the limits; several would take the process with them."""


SLOW = (
    *("a large divisor", "all of any of", "options in a row", "patterns at once"),
    *("terminals in a row", "too many properties", "words without end"),
)
"""These use all the time or memory that they are given."""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, options in HOSTILE.items()
    ],
)
def test_a_hostile_grammar_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(GrammarError):
        BYTES.grammar(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"regex": "(a*)*(a|aa)+(a|b|ab)*c"},
        {"regex": "(a|b)*a(a|b){5000}"},
        {"regex": "a{1000}{1000}{1000}"},
        {"grammar": 'start: x{1000000000}\nx: "a" | "b" x'},
        {"grammar": 'start: x\nx: x x x x | "a"'},
        asked({"type": "array", "minItems": 10**6, "maxItems": 10**9, "items": {"type": "object"}}),
        asked({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
        asked({"x-note": 1, "unknown": {"keyword": []}, "type": "boolean"}),
    ],
    ids=str,
)
def test_a_strange_grammar_that_compiles_is_walked_or_given_up(options: dict[str, Any]) -> None:
    walk = BYTES.grammar(**options).start()
    response: list[int] = []
    try:
        for _ in range(60):
            allowed = walk.allowed_after(response)
            assert allowed
            if set(allowed) <= BYTES.ends:
                break
            response.append(allowed[0])
    except EvaluationError:
        with pytest.raises(EvaluationError):
            walk.allowed_after([])


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


@pytest.mark.real_model
def test_a_real_vocabulary_writes_what_a_schema_asks_for(smollm2: tuple[str, str]) -> None:
    weights = _core.Model.load(smollm2[0], _core.ModelOptions(), None)
    model = _core.Context(weights, _core.ContextOptions(), _core.Threadpool(1))
    tokens = Tokens(
        tuple(model.piece(i) for i in range(model.vocab_size)),
        frozenset(i for i in range(model.vocab_size) if model.is_end_of_generation(i)),
    )
    schema = SCHEMAS[-1]
    grammar = tokens.grammar(**asked(schema))
    rng = random.Random(5)
    done = [random_response(tokens, grammar, rng, 200) for _ in range(5)]
    finished = [response for response in done if len(response) < 200]
    assert finished
    for response in finished:
        jsonschema.validate(json.loads(tokens.text(response) or b""), schema)
