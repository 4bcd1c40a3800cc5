"""Calls of tools in a response: what is one, what is content, and that nothing is lost."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewardshift.serve.tools import (
    ArgumentsDelta,
    CallStart,
    ContentDelta,
    ToolFormat,
    format_of,
    offer_of,
)
from rewardshift.serve.tools.events import joined
from rewardshift.serve.tools.formats import (
    HERMES,
    LLAMA,
    MISTRAL,
    MISTRAL_NAMED,
    MISTRAL_SPACED,
)

FORMATS = (HERMES, LLAMA, MISTRAL, MISTRAL_NAMED)
NAMES = ("f", "get_weather", "f.g")
Calls = list[tuple[str, str]]

any_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


def events_of(form: ToolFormat, pieces: list[str], names: tuple[str, ...] = NAMES) -> list[Any]:
    """What a parser says of a response that comes in these pieces, joined."""
    numbers = itertools.count()
    parser = form.parser(names, make_id=lambda: f"id{next(numbers)}")
    return joined([*(e for piece in pieces for e in parser.feed(piece)), *parser.finish()])


def read(form: ToolFormat, text: str, names: tuple[str, ...] = NAMES) -> tuple[str, Calls]:
    """The content of a response and its calls, each a name and the text of its arguments."""
    content, calls = "", []
    for event in events_of(form, [text], names):
        if isinstance(event, ContentDelta):
            content += event.text
        elif isinstance(event, CallStart):
            assert event.index == len(calls)
            calls.append((event.name, ""))
        else:
            assert event.index == len(calls) - 1
            calls[-1] = (calls[-1][0], calls[-1][1] + event.text)
    return content, calls


def written(form: ToolFormat, calls: Calls) -> str:
    """A response that makes these calls, as the format's models write it."""
    made = [
        form.opening.replace("NAME", name) + arguments + form.closing for name, arguments in calls
    ]
    return form.before + (form.between or "").join(made) + form.after


# --- what the models write ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "text", "content", "calls"),
    [
        (HERMES, 'Let me look.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n',
         "Let me look.", [("f", '{"a": 1}')]),
        (HERMES, ('<tool_call>{"arguments":{"a":[1,{}]},"name":"f"}</tool_call>'
                  '<tool_call>{"name":"f.g","arguments":{}}</tool_call> Done.'),
         "Done.", [("f", '{"a":[1,{}]}'), ("f.g", "{}")]),
        (HERMES, '<tool_call>{"id": 3, "name": "f", "arguments": {}, "x": null}</tool_call>',
         "", [("f", "{}")]),
        (HERMES, '{"name": "f", "arguments": {}}', "", [("f", "{}")]),
        (HERMES, '```json\n{"name": "f", "arguments": {"a": 1}}\n```\nDone.',
         "Done.", [("f", '{"a": 1}')]),
        (LLAMA, '{"name": "get_weather", "parameters": {"city": "Kyiv"}}',
         "", [("get_weather", '{"city": "Kyiv"}')]),
        (LLAMA, '<|python_tag|>{"name": "f", "parameters": {}}; {"name": "f", "parameters": {}}',
         "", [("f", "{}"), ("f", "{}")]),
        (LLAMA, '{"type": "function", "name": "f", "parameters": {"x": "\\u00e9}"}}\n',
         "", [("f", '{"x": "\\u00e9}"}')]),
        (MISTRAL, ('[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": '
                   '{"a": 2}, "id": "VvvODy9mT"}]'),
         "", [("f", '{"a": 1}'), ("f", '{"a": 2}')]),
        (MISTRAL_NAMED, 'Hm.[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]f.g[CALL_ID]Vv9[ARGS]{}',
         "Hm.", [("f", '{"a": 1}'), ("f.g", "{}")]),
    ],
)  # fmt: skip
def test_calls_are_told_from_content(
    form: ToolFormat, text: str, content: str, calls: Calls
) -> None:
    assert read(form, text) == (content, calls)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (HERMES, '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": "{}"}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f"}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f"'),
        (HERMES, '<tool_call>{"arguments": {"a": nope}, "name": "f"}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "name": "f"}</tool_call>'),
        (HERMES, "a <tool_call> b </tool_call> c  "),
        (HERMES, 'See: {"name": "f", "arguments": {}}'),
        (HERMES, '```json\n{"name": "Bob"}\n```'),
        (HERMES, "```python\nprint(1)\n```"),
        (HERMES, "` {"),
        (LLAMA, 'See: {"name": "f", "parameters": {}}'),
        (LLAMA, '{"name": "Bob", "parameters": {}}'),
        (LLAMA, '{"name": "f", "age": 3}'),
        (LLAMA, "<|python_tag|>print(1)"),
        (LLAMA, "<|python|"),
        (MISTRAL, '[TOOL_CALLS][{"name": "unknown", "arguments": {}}]'),
        (MISTRAL, "[TOOL_CALLS][]"),
        (MISTRAL_NAMED, "[TOOL_CALLS]unknown[ARGS]{}"),
        (MISTRAL_NAMED, "[TOOL_CALLS]f[WHAT]{}"),
        (MISTRAL_NAMED, "[TOOL_CALLS]f[ARGS]"),
    ],
)
def test_what_is_no_call_is_content_word_for_word(form: ToolFormat, text: str) -> None:
    assert read(form, text) == (text, [])


def test_a_call_after_what_was_none_is_found() -> None:
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert read(HERMES, f"<tool_call><{call}") == ("<tool_call><", [("f", "{}")])


def test_arguments_that_break_off_end_their_call_and_the_rest_is_content() -> None:
    begun = '<tool_call>{"name": "f", "arguments": {"a": '
    assert read(HERMES, begun) == ("", [("f", '{"a": ')])
    assert read(HERMES, begun + "oops}}</tool_call>") == ("oops}}</tool_call>", [("f", '{"a": ')])


def test_arguments_are_known_as_they_are_written() -> None:
    parser = HERMES.parser(NAMES)
    assert parser.feed('<tool_call>{"name": "f", "arguments": ') == []
    start, delta = parser.feed('{"te')
    assert isinstance(start, CallStart)
    assert (start.index, start.name, len(start.id)) == (0, "f", 9)
    assert delta == ArgumentsDelta(0, '{"te')
    assert parser.feed("xt") == [ArgumentsDelta(0, "xt")]


def test_content_is_known_at_once_but_for_what_may_begin_a_call() -> None:
    parser = HERMES.parser(NAMES)
    assert parser.feed("Hello") == [ContentDelta("Hello")]
    assert parser.feed(" \n<tool") == []
    assert parser.feed("box>") == [ContentDelta(" \n<toolbox>")]


@pytest.mark.parametrize("form", [HERMES, LLAMA], ids=lambda form: form.name)
def test_json_that_is_no_call_is_known_at_its_first_key(form: ToolFormat) -> None:
    parser = form.parser(NAMES)
    assert parser.feed('{"title"') == []
    assert parser.feed(': "') == [ContentDelta('{"title": "')]


# --- properties -----------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=6,
)  # fmt: skip
ARGUMENTS = st.builds(
    lambda value, escapes, indent: json.dumps(value, ensure_ascii=escapes, indent=indent),
    st.dictionaries(st.text(), JSON, max_size=3),
    st.booleans(),
    st.sampled_from([None, 2]),
)
CALLS = st.lists(st.tuples(st.sampled_from(NAMES), ARGUMENTS), min_size=1, max_size=3)
SHARDS = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>"),
        *('{"name": "f", ', '"arguments": {', '"parameters": {', '"name": ', '"f"', '"a": 1'),
        *(
            "```",
            "```json",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"',
            "\\",
            "f",
            " ",
            "\n",
            "<",
            "-",
            "0",
            "1e",
            "é",
            "☃",
        ),
        *("\\u00", "true", "nul", ";", "text", "f.g"),
    ]
)
MESSES = st.lists(SHARDS, max_size=30).map("".join)


def cut(data: st.DataObject, text: str) -> list[str]:
    """The text in pieces, some of them empty."""
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    return [text[a:b] for a, b in itertools.pairwise([0, *places, len(text)])]


@any_format
@settings(max_examples=60, deadline=None)
@given(calls=CALLS, content=st.text(alphabet="abc .\n☃{}", max_size=8))
def test_what_is_written_is_read_back(form: ToolFormat, calls: Calls, content: str) -> None:
    if form is LLAMA:
        content = ""  # it has either
        text = "; ".join(written(form, [call]) for call in calls)
    else:
        text = content + written(form, calls)
    found, read_back = read(form, text)
    assert read_back == calls
    assert found == content.rstrip(" \n")
    assert [json.loads(a) for _, a in read_back] == [json.loads(a) for _, a in calls]


@any_format
@settings(max_examples=100, deadline=None)
@given(data=st.data(), mess=MESSES, calls=CALLS, tail=MESSES)
@example(data=None, mess="<tool_call>", calls=[("f", "{}")], tail="<tool_call")
def test_how_a_response_is_cut_makes_no_difference(
    form: ToolFormat, data: st.DataObject | None, mess: str, calls: Calls, tail: str
) -> None:
    text = mess + written(form, calls) + tail
    pieces = list(text) if data is None else cut(data, text)
    assert events_of(form, pieces) == events_of(form, [text])


@any_format
@settings(max_examples=100, deadline=None)
@given(mess=MESSES, calls=CALLS, tail=MESSES)
def test_nothing_is_lost_but_layout(form: ToolFormat, mess: str, calls: Calls, tail: str) -> None:
    """What is read stands in what was written, in this order; without calls it is all of it."""
    text = mess + written(form, calls) + tail
    at = 0
    for event in events_of(form, [text]):
        piece = event.name if isinstance(event, CallStart) else event.text
        found = text.find(piece, 0 if isinstance(event, CallStart) else at)
        assert found >= 0
        at = at if isinstance(event, CallStart) else found + len(piece)
    content, found_calls = read(form, text)
    assert {name for name, _ in found_calls} <= set(NAMES)
    if not found_calls:
        assert content == text


@settings(max_examples=400, deadline=None)
@given(text=st.text(alphabet='{}[]",:\\ue0123-+.ntrfals \n', max_size=24) | ARGUMENTS)
def test_arguments_are_json_objects_just_where_json_says_so(text: str) -> None:
    try:
        is_object = isinstance(json.loads(text, parse_constant=_refuse), dict)
    except ValueError:
        is_object = False
    read_whole = read(HERMES, written(HERMES, [("f", text)])) == ("", [("f", text)])
    assert read_whole == (is_object and text == text.strip())


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def test_deep_nesting_is_content_and_no_error() -> None:
    deep = '<tool_call>{"arguments": ' + '{"a": ' * 10_000
    assert read(HERMES, deep) == (deep, [])


# --- which format it is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (
            '…<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args>}\\n</tool_call>',
            HERMES,
        ),
        ("""{{- '<tool_call>\n{"name": "' + name + '", "arguments": ' + arguments }}""", HERMES),
        ("<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n</tool_call>", None),
        ("…<tool_call>\n<function=example>\n<parameter=a>…", None),
        ('<|start_header_id|>{{ \'{"name": "\' + tool_call.name + \'", "parameters": \' }}', LLAMA),
        ("[AVAILABLE_TOOLS]…[TOOL_CALLS][…", MISTRAL),
        ('{{- "[TOOL_CALLS] [" }}', MISTRAL_SPACED),
        ("{{- '[TOOL_CALLS]' + name + '[ARGS]' + arguments }}", MISTRAL_NAMED),
        ("{{ '<|im_start|>' + message['role'] }}", None),
        ("<|start_header_id|>{{ message['role'] }}<|end_header_id|>", None),
    ],
)
def test_a_template_tells_its_format(template: str, form: ToolFormat | None) -> None:
    assert format_of(template) is form


# --- what is offered ------------------------------------------------------------------------------


def tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


@pytest.mark.parametrize(
    ("choice", "names", "is_must"),
    [
        (None, {"f", "g"}, False),
        ("auto", {"f", "g"}, False),
        ("required", {"f", "g"}, True),
        ({"type": "function", "function": {"name": "g"}}, {"g"}, True),
        ({"type": "function", "name": "g"}, {"g"}, True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("f")]}},
         {"f"}, False),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"name": "g"}]}, {"g"}, True),
    ],
)  # fmt: skip
def test_a_choice_says_what_may_be_called(choice: Any, names: set[str], is_must: bool) -> None:
    offer = offer_of([tool("f"), tool("g")], choice)
    assert offer is not None
    assert (offer.names, offer.is_must) == (names, is_must)
    assert len(offer.tools) == 2  # the template shows all of them


def test_nothing_is_offered_where_nothing_is_to_be_called() -> None:
    assert offer_of(None) is None
    assert offer_of([]) is None
    assert offer_of([tool("f")], "none") is None


@pytest.mark.parametrize(
    ("tools", "choice", "parallel", "error"),
    [
        ("f", None, None, "tools must be a list, not 'f'"),
        ([3], None, None, r"tools\[0\] must be .* not 3"),
        ([{"type": "web_search"}], None, None, r"tools\[0\] must be"),
        ([{"type": "function"}], None, None, r"tools\[0\].function must be an object, not None"),
        ([tool("a b")], None, None, r"tools\[0\].function.name must be .* not 'a b'"),
        ([tool("f"), tool("f")], None, None, "tools has two functions 'f'"),
        ([tool("f", parameters=3)], None, None, "parameters must be the schema of an object"),
        ([tool("f", parameters={"type": "array"})], None, None, "the schema of an object"),
        ([tool("f")], "maybe", None, "tool_choice must be .* not 'maybe'"),
        ([tool("f")], {"type": "function", "function": {"name": "g"}}, None,
         "tool_choice names 'g', and tools has f"),
        ([tool("f")], {"type": "allowed_tools", "allowed_tools": {"mode": "no"}}, None, "a mode"),
        ([], "required", None, "tool_choice asks for a call"),
        ([tool("f")], None, "yes", "parallel_tool_calls must be true or false, not 'yes'"),
    ],
)  # fmt: skip
def test_what_is_no_offer_is_refused(tools: Any, choice: Any, parallel: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        offer_of(tools, choice, parallel)
