"""What a request may ask of the form of its response; no grammar, however hostile, does harm."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import jsonschema
import pytest

from rewardshift import Error, EvaluationError, GrammarError, _core
from rewardshift.grammar import GRAMMAR_OPTIONS, Vocabulary, grammar_of
from tests.support.languages import BYTES, Tokens, tokens_of

LETTERS = tokens_of(b"a", b"b")


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
    vocabulary = Vocabulary(LETTERS)  # type: ignore[arg-type]
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
        ({"grammar": '\nstart: <[3]> "a"'}, GrammarError, "line 2: tokens by name or number"),
        ({"grammar": 'start: "a" <|end|>'}, GrammarError, "line 1: tokens by name"),
        ({"grammar": 'start: x\nx[stop="b"]: /a*/'}, GrammarError, "line 2: the attribute stop"),
        ({"grammar": "start: x\nx[max_tokens=3]: /a*/"}, GrammarError, "attribute max_tokens"),
        ({"choice": "abc"}, TypeError, "choice must be a list"),
        ({"choice": []}, ValueError, "at least one text"),
        ({"choice": ["a", 3]}, TypeError, "a text of choice must be text, not 3"),
        ({"choice": ["\udfff"]}, ValueError, "choice must be Unicode"),
        ({"response_format": "json"}, TypeError, "response_format must be a mapping"),
        ({"response_format": {"type": "xml"}}, ValueError, "not 'xml'"),
        ({"response_format": {}}, ValueError, "must have the type"),
        ({"response_format": {"type": "json_schema"}}, TypeError, "must have 'json_schema'"),
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
        LETTERS.grammar(**options)


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
    *("a large divisor", "options in a row", "patterns at once", "terminals in a row"),
    *("too many properties", "words without end"),
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
def test_a_strange_grammar_is_refused_or_walked_or_given_up(options: dict[str, Any]) -> None:
    try:
        walk = BYTES.grammar(**options).start()
    except GrammarError:
        return  # not every version of llguidance compiles every one of them
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
