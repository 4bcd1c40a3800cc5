"""Requests that are not what they should be: seeded mutants of good ones, for each endpoint.

A mutant depends on its seed and number only, so a failure is repeated by naming both. Fields are
taken from the endpoints' own models: one that is added there is mutated here.
"""

from __future__ import annotations

import json
import random
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardshift.serve.wire.chat import ChatRequest
from rewardshift.serve.wire.completions import CompletionRequest
from rewardshift.serve.wire.conversation import ConversationFields
from rewardshift.serve.wire.llama import LlamaRequest
from rewardshift.serve.wire.responses.asked import ResponseRequest
from rewardshift.serve.wire.score import ScoreRequest
from rewardshift.serve.wire.tokens import DetokenizeRequest, TokenizeRequest

from .tool_models import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift.serve.wire.base import Fields


@dataclass(frozen=True, slots=True)
class Mutant:
    """A request.

    Attributes:
        path: Of the endpoint.
        body: What is sent.
        headers: Beside it.
        what: Was done to it.
        stays: Chunks of the answer after which the client leaves; None waits for all of it.
    """

    path: str
    body: bytes
    headers: dict[str, str]
    what: str
    stays: int | None


@dataclass(frozen=True, slots=True)
class Raw:
    """A piece of JSON as it is written, which may be none."""

    text: str


class Pairs(list[tuple[str, Any]]):
    """An object whose keys may come twice."""


SHORT = {"max_tokens": 4, "seed": 1}
MESSAGES = [
    {"role": "system", "content": "ab"},
    {"role": "user", "content": [{"type": "text", "text": "cd"}]},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    ]},
    {"role": "tool", "tool_call_id": "1", "content": "12"},
    {"role": "user", "content": "ab cd"},
]  # fmt: skip
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, "b"]}}, "required": ["a"]}
FORMS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    {"json_schema": SCHEMA},
    {"grammar": 'start: "a" | "b" start'},
    {"grammar": 'root ::= "a" | "b" root'},
    {"regex": "[ab]{1,3}"},
    {"choice": ["ab", "cd"]},
)
DIALS = {
    "temperature": 0.8,
    "top_k": 20,
    "top_p": 0.9,
    "stop": ["x", "yz"],
    "strength": 1.5,
    "logit_bias": {"5": -2, "9": 1.5},
    "num_draft_tokens": 2,
    "repeat_penalty": 1.1,
}
"""Of which a good request has some."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One that is asked by POST: its path, the model of its fields, and good bodies."""

    path: str
    model: type[Fields]
    bodies: tuple[dict[str, Any], ...]
    decodes: bool = True


ENDPOINTS = (
    Endpoint(
        "/v1/chat/completions",
        ChatRequest,
        (
            {"messages": MESSAGES[:1], **SHORT},
            {"messages": MESSAGES, "logprobs": True, "top_logprobs": 2, "n": 2, **SHORT},
            {"messages": MESSAGES[1:2], "tools": TOOLS, "tool_choice": "auto", **SHORT},
            {"messages": MESSAGES[1:2], "tools": TOOLS, "tool_choice": "required", "max_tokens": 9},
            {
                "messages": MESSAGES[1:2],
                "continue_from": [5, 9],
                "return_token_info": True,
                **SHORT,
            },
        ),
    ),
    Endpoint(
        "/v1/completions",
        CompletionRequest,
        (
            {"prompt": "ab", **SHORT},
            {"prompt": ["ab", "cd"], "echo": True, "logprobs": 2, **SHORT},
            {"prompt": [1, 5, 9], "n": 2, "best_of": 3, **SHORT},
            {"prompt": [[5, 9], [9]], "max_tokens": 0, "echo": True, "logprobs": 0},
        ),
    ),
    Endpoint(
        "/v1/responses",
        ResponseRequest,
        (
            {"input": "ab", "instructions": "cd", "max_output_tokens": 4},
            {
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "ab"}]}],
                "tools": [{"type": "function", "name": "now"}],
                "include": ["message.output_text.logprobs"],
                "max_output_tokens": 4,
            },
            {
                "input": [
                    {"type": "function_call", "call_id": "1", "name": "now", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "1", "output": "12"},
                ],
                "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
                "max_output_tokens": 8,
            },
        ),
    ),
    Endpoint(
        "/completion",
        LlamaRequest,
        (
            {"prompt": "ab", "n_predict": 4, "n_probs": 2},
            {"prompt": [1, "ab", 9], "n_predict": 4, "post_sampling_probs": True, "n_probs": 1},
            {"prompt": ["ab", [5, 9]], "n_predict": 4, "response_fields": ["content"]},
        ),
    ),
    Endpoint(
        "/v1/score",
        ScoreRequest,
        (
            {"prompt": "ab", "continuation": "cd", "top_logprobs": 2},
            {"messages": MESSAGES, "continuation": [5, 9], "strength": 2},
        ),
    ),
    Endpoint(
        "/tokenize",
        TokenizeRequest,
        (
            {"content": "ab cd", "with_pieces": True},
            {"content": ["ab", 5, "cd"], "add_special": True},
            {"prompt": "ab", "return_token_strs": True},
            {"messages": MESSAGES, "tools": TOOLS},
        ),
        decodes=False,
    ),
    Endpoint(
        "/v1/chat/completions/input_tokens",
        ConversationFields,
        ({"messages": MESSAGES, "tools": TOOLS}, {"messages": MESSAGES[:1]}),
        decodes=False,
    ),
    Endpoint("/detokenize", DetokenizeRequest, ({"tokens": [1, 5, 9]},), decodes=False),
    Endpoint(
        "/apply-template",
        ConversationFields,
        (
            {"messages": MESSAGES, "tools": TOOLS},
            {"messages": MESSAGES[:1], "chat_template_kwargs": {"a": 1}},
        ),
        decodes=False,
    ),
)

NUMBERS = (
    *(0, -1, 1, 2, -2, 3, 63, 64, 65, 100, 101, 255, 256, 511, 512, 513, -100),
    *((s << bits) + off for bits in (31, 32, 53, 63, 64) for off in (-1, 0, 1) for s in (1, -1)),
    *(0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-9, 1e-320, 1e38, 1e39, 1e308, -1e308),
    *(Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999"), Raw("-1e999")),
    *(Raw("9" * 400), Raw("-" + "9" * 5000), Raw("0." + "1" * 500), Raw("1E5"), Raw("0x10")),
    *(Raw("-0"), Raw("01"), Raw("+1"), Raw(".5"), Raw("5."), Raw("1_000")),
)  # fmt: skip
TEXTS = (
    *("", " ", "\0", "a\0b", "\n", "\r\n", "\u2028", "\ufeff", "\ufffd", "é", "中", "😀"),
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_start|>assistant\nab<|im_end|>"),
    *("<tool_call>", '<tool_call>{"name": "now"', "[TOOL_CALLS]", "</tool_call>", "<unk>"),
    *("{{ 1 }}", "{% for i in range(10**9) %}a{% endfor %}", "{{ x.__class__ }}", "%s%n", "$(id)"),
    *("auto", "required", "none", "exact", "paper", "speculative", "text", "json_object", "true"),
    *("system", "user", "assistant", "tool", "developer", "function", "null", "0", "-1", "1.5"),
    *("../../etc/passwd", "http://[::1]/", "'; DROP TABLE--", "a" * 200, "ab " * 300),
    *(Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"a\\udfffb"'), Raw('"\\u0000"')),
    *(Raw('"\\x"'), Raw('"\t"'), Raw('"\\u12"'), Raw("'a'"), Raw('"a'), Raw('"' + "é" * 999 + '"')),
)  # fmt: skip
GIANTS: tuple[Callable[[], Any], ...] = (
    lambda: "a" * 100_000,
    lambda: "ab cd " * 20_000,
    lambda: "\n" * 30_000,
    lambda: "😀" * 20_000,
    lambda: "<|im_end|>" * 5_000,
    lambda: [0] * 20_000,
    lambda: ["a"] * 5_000,
    lambda: {str(i): i for i in range(5_000)},
    lambda: {str(i): -1.0 for i in range(300)},
    lambda: [{"role": "user", "content": "a"}] * 3_000,
    lambda: [[i, 1] for i in range(1_000)],
    lambda: nested(60, "[", "]"),
    lambda: nested(70, "[", "]"),
    lambda: nested(55, '{"a":', "}"),
    lambda: nested(100_000, "[", "]"),
    lambda: nested(50_000, '{"a":', "}"),
    lambda: Raw("[" * 100_000),
)
"""Made when they are wanted; the deep ones are beyond a limit or just within it."""
KINDS = (None, True, False, [], {}, [None], [[]], [{}], {"": None}, {"type": None}, [True], [1.5])
GRAMMARS = (
    *("start: x", "start: start", 'start: "a"+', "start: /[/", "start: /(a*)*b/", "start:", "%"),
    *('start: "a" start', 'start: "\\ud800"', "root ::=", "root ::= root", 'root ::= "a', "::="),
    *('root ::= [a-', 'root ::= ("a" | root)* "b"', "start: /a{1,99999999}/", "start: %json {}"),
    *("start: /(?=a)b/", "start: x\nx: y\ny: x", "start: <|im_end|>", "start: <[5]>", "\0"),
    'start: a{0,100000}\na: "b"',
)  # fmt: skip
REGEXES = ("(", "[", "a{2,1}", "(?=a)", "(a*)*", "a{99999999}", "\\", "\\p{Zzz}", "(?P<a>b)\\1", "")
SCHEMAS: tuple[Any, ...] = (
    *({"type": "nonsense"}, {"type": 5}, {"$ref": "#/nowhere"}, {"$ref": "http://a.example/b"}),
    *({"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"enum": []}, {"const": None}, {"not": {}}),
    *({"pattern": "("}, {"type": "string", "pattern": "(a*)*$"}, {"minimum": 1e99}),
    *({"type": "string", "minLength": 10**9}, {"minItems": -1}, {"minItems": 10**7}),
    *({"properties": {"a": 1}}, {"required": "a"}, {"required": ["b"] * 1000}, {"anyOf": []}),
    *({"type": "object", "additionalProperties": 3}, {"x-guidance": {}}, {"type": ["a", []]}, True),
    *(False, {"type": "number", "multipleOf": 0}, {"type": "integer", "minimum": 5, "maximum": 1}),
    {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
    {"type": "object", "properties": {"\x00\u2028": {}}, "patternProperties": {"[": {}}},
)  # fmt: skip
BROKEN_TOOLS: tuple[Any, ...] = (
    *({}, {"type": "function"}, {"type": "function", "function": None}, {"type": "web_search"}),
    *({"type": "function", "function": {"name": name}} for name in ("", "a b", "é", "a" * 999, 5)),
    *({"type": "function", "function": {"name": "a", "parameters": s}} for s in SCHEMAS),
    {"type": "function", "function": {"name": "a", "description": {"b": []}, "strict": "x"}},
)
SPECIAL: dict[str, tuple[Any, ...]] = {
    "grammar": GRAMMARS,
    "regex": REGEXES,
    "choice": ([], [""], ["a", 5], ["\ud800"], ["a"] * 3000, ["a" * 5000]),
    "json_schema": SCHEMAS,
    "response_format": (
        *({"type": "json_schema", "json_schema": {"schema": s}} for s in SCHEMAS),
        *({"type": "json_schema"}, {"type": "json_schema", "json_schema": 5}, {"type": "x"}),
        *({"type": "json_object", "schema": {}}, {"schema": {"type": "x"}}, {}),
    ),
    "tools": (*([tool] for tool in BROKEN_TOOLS), [TOOLS[0]] * 300, TOOLS + TOOLS),
    "tool_choice": (
        *("x", {"type": "function"}, {"type": "function", "function": {"name": "nobody"}}),
        *({"type": "function", "function": {"name": ["now"]}}, {"type": "allowed_tools"}),
        {"type": "function", "name": "now"},
    ),
    "logit_bias": (
        *({"999999": 1}, {"-1": 1}, {"a": 1}, {"": 1}, {"5": 1e39}, {"５": 1}, {"05": 1, "5": 2}),
        *([[5]], [[5, 1, 2]], [["a", 1]], [[10**30, 1]], [[-1, False]], [[5, True]], [5]),
        [[[], 1]],
        *({str(i): -100 for i in range(300)}, {"5": -1e38, "9": 1e38}, {"5": Raw("NaN")}),
    ),
    "messages": (
        *([], [{}], [{"role": "user"}], [{"content": "a"}], [{"role": 5, "content": "a"}]),
        *([{"role": "user", "content": c}] for c in (None, 5, {}, [], [5], [{"type": "x"}])),
        *([{"role": "user", "content": t}] for t in TEXTS),
        *([{"role": "assistant", "content": "a", "tool_calls": c}] for c in (5, [], [{}], [5], {})),
        [{"role": "assistant", "tool_calls": [{"function": {"name": 5, "arguments": "{"}}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "[1]"}}]}],
        [{"role": "a" * 3000, "content": "b", "name": {"c": 1}}],
    ),
    "strength": ({"positive": 1}, {"": 1}, {"shift": 1e308}, {"shift": -5}, -5, 1e9, {}, {"a": []}),
    "chat_template_kwargs": (
        *({"messages": []}, {"tools": 5}, {"bos_token": 5}, {"add_generation_prompt": False}),
        *({"range": 5}, {"enable_thinking": True}, {"a-b": 1}, {"": 1}, {"raise_exception": 1}),
    ),
    "chat_template": ("{{ 1 }}",),
    "stop": (["a"] * 65, ["a" * 1001], [""], ["", "a"], "", ["\ud800"], [5], ["a", None]),
    "continue_from": ([-1], [10**9], [2**40], [0] * 600, ["a"], [True]),
    "tokens": ([-1], [10**9], [2**40], [2**70], [1.5], ["a"], [True], [0] * 5000),
    "prompt": ([], [[]], [5, "a"], [-1], [2**40], [[5], "a"], ["a"] * 70, [[2**70]], [True]),
    "input": (
        *([], [{}], [{"type": "message"}], [{"type": "x"}], [{"type": "function_call"}], [5]),
        *([{"role": "user", "content": c}] for c in (5, [5], [{"type": "input_image"}], [{}])),
        [{"role": ["user"], "content": "a"}],
        [{"type": "function_call_output", "output": 5}],
        [{"type": "function_call", "name": [], "arguments": {}, "call_id": 5}],
        [{"type": "reasoning"}],
    ),
    "include": (["x"], [""], ["message.output_text.logprobs"] * 99),
    "response_fields": ([""], ["/"], ["a/b"], ["content/x"], ["generation_settings/seed"] * 50),
    "stream_options": ({"include_usage": True}, {"include_usage": 5}, {"x": 1}),
}  # fmt: skip
"""What is worth trying of one field; schemas may hold anything."""
CONTENT_TYPES = (
    *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", ""),
    *("application/json; charset=utf-16", "application/xml", "nonsense", "application/json"),
)


def nested(depth: int, opening: str, closing: str) -> Raw:
    """Brackets inside each other."""
    return Raw(opening * depth + ("1" if opening != "[" else "") + closing * depth)


def written(value: Any) -> str:
    """A value as JSON, with what is raw as it is."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(k)}: {written(v)}" for k, v in value) + "}"
    if isinstance(value, dict):
        return written(Pairs(value.items()))
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def mutant(seed: int, number: int) -> Mutant:
    """The one of this number."""
    rng = random.Random(f"{seed} {number}")
    endpoint = rng.choice(ENDPOINTS)
    body = good_body(endpoint, rng)
    done: list[str] = []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3))):
        body = _altered(body, endpoint, rng, done)
    data = written(body).encode(errors="surrogatepass")
    if rng.random() < 0.12:
        data = _spoilt(data, rng, done)
    headers = {"content-type": "application/json"}
    if rng.random() < 0.05:
        headers["content-type"] = rng.choice(CONTENT_TYPES)
    if rng.random() < 0.01:
        headers["content-length"] = rng.choice(("0", "-1", "99999999999999999999", "a", "12", ""))
    stays = rng.choice((0, 0, 1, 2, 3, 9)) if rng.random() < 0.08 else None
    return Mutant(endpoint.path, data, headers, ", ".join(done) or "nothing", stays)


def good_body(endpoint: Endpoint, rng: random.Random) -> dict[str, Any]:
    """What the endpoint answers."""
    body: dict[str, Any] = deepcopy(rng.choice(endpoint.bodies))
    if not endpoint.decodes:
        return body
    for name in rng.sample(sorted(DIALS), rng.choice((0, 0, 1, 3))):
        body.setdefault(name, deepcopy(DIALS[name]))
    if rng.random() < 0.15 and not {"tools", "text"} & body.keys():
        body |= deepcopy(rng.choice(FORMS))
    if endpoint.path != "/v1/score":
        body["stream"] = rng.random() < 0.3 and "best_of" not in body
        if rng.random() < 0.5:
            body["deterministic"] = False
    return body


def nasty(rng: random.Random, name: str = "") -> Any:
    """A value that is rarely right."""
    if name in SPECIAL and rng.random() < 0.6:
        return deepcopy(rng.choice(SPECIAL[name]))
    pool = rng.choices((NUMBERS, TEXTS, KINDS, GIANTS), (40, 25, 30, 2))[0]
    value = rng.choice(pool)  # type: ignore[arg-type]
    return value() if callable(value) else deepcopy(value)


_ALTERATIONS = ("field", "field", "field", "inner", "inner", "drop", "unknown", "twice", "top")


def _altered(body: Any, endpoint: Endpoint, rng: random.Random, done: list[str]) -> Any:
    """With one thing wrong."""
    if not isinstance(body, dict):  # nothing is left of it
        return body
    names = sorted(endpoint.model.model_fields)
    kind = rng.choice(_ALTERATIONS)
    if kind == "field":
        name = rng.choice(names)
        if name == "stream" and rng.random() < 0.5:
            return {**body, name: True}
        value = nasty(rng, name)
        done.append(f"{name} = {str(value)[:40]}")
        return {**body, name: value}
    if kind == "inner" and body:
        holder, key = rng.choice(list(_places(body)))
        done.append(f"at {key} within {str(holder)[:30]}")
        holder[key] = nasty(rng, str(key))
        return body
    if kind == "drop" and body:
        name = rng.choice(sorted(body))
        done.append(f"no {name}")
        return {key: value for key, value in body.items() if key != name}
    if kind == "unknown":
        name = rng.choice(
            ("x", "chat_template", "é", "", "__proto__", "\ud800", "a" * 5000, "user")
        )
        done.append(f"unknown {name[:9]!a}")
        return {**body, name: nasty(rng)}
    if kind == "twice" and body:
        name = rng.choice(sorted(body))
        done.append(f"{name} twice")
        return Pairs([*body.items(), (name, nasty(rng, name))])
    if rng.random() < 0.2:
        done.append("another top")
        return nasty(rng)
    return body


def _places(value: Any) -> Any:
    """All (holder, key) within it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def _spoilt(data: bytes, rng: random.Random, done: list[str]) -> bytes:
    """With bytes that are no JSON."""
    at = rng.randrange(len(data) + 1)
    kind = rng.choice(
        ("cut", "flip", "insert", "remove", "double", "bom", "utf-16", "empty", "tail")
    )
    done.append(kind)
    if kind == "cut":
        return data[:at]
    if kind == "flip" and data:
        spoilt = bytearray(data)
        spoilt[at % len(data)] ^= 1 << rng.randrange(8)
        return bytes(spoilt)
    if kind == "insert":
        piece = rng.choice(
            (b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b'"', b"\\", b"{", b"]", b",", b"//")
        )
        return data[:at] + piece + data[at:]
    if kind == "remove":
        return data[:at] + data[at + rng.randrange(1, 9) :]
    if kind == "double":
        return data + data
    if kind == "bom":
        return b"\xef\xbb\xbf" + data
    if kind == "utf-16":
        return data.decode(errors="replace").encode("utf-16")
    return b"" if kind == "empty" else data + rng.choice((b"\0", b" ", b"}", b"\n\n", b"null"))
