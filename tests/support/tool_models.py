"""Tiny models whose chat templates call tools, each in a format of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gguf import TokenType

from rewardshift import Decoder
from rewardshift.serve.tools.formats import HERMES, LLAMA, MISTRAL, MISTRAL_NAMED

from .served import serving_of
from .tiny_gguf import TinySpec, bpe_vocab, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

    from rewardshift.serve.tools import ToolFormat
    from tests.conftest import Files

FORMATS = (HERMES, LLAMA, MISTRAL, MISTRAL_NAMED)
MARKS = ("[TOOL_CALLS]", "[ARGS]", "<tool_call>", "</tool_call>")
VOCAB = bpe_vocab().extended(MARKS, TokenType.CONTROL)

CITY = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Kyiv", "Graz ☃"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "metric": {"type": "boolean"},
    },
    "required": ["city"],
    "additionalProperties": False,
}
LEAF = {
    "$defs": {"leaf": {"type": "string", "maxLength": 3}},
    "properties": {"leaves": {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "maxItems": 2}},
    "required": ["leaves"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "weather_of", "parameters": LEAF}},
    {"type": "function", "function": {"name": "now"}},
]
SCHEMAS: dict[str, dict[str, Any]] = {
    "weather": CITY,
    "weather_of": LEAF,
    "now": {"maxProperties": 0},
}

_OPENING = "{% if tools %}{% for tool in tools %}{{ tool.function.name }} {% endfor %}{% endif %}"
_TURN = "<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
_CALLS = "{% for c in m.tool_calls or [] %}CALL{% endfor %}"
_CLOSING = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def template_of(form: ToolFormat) -> str:
    """A chat template that names the tools, and prints calls in the format."""
    arguments = "{{ c.function.arguments | tojson }}"
    opening = form.opening.replace("NAME", "{{ c.function.name }}").replace('{"', "{{ '{' }}\"")
    call = opening + arguments + form.closing.replace("}", "{{ '}' }}")
    turns = _TURN + _CALLS.replace("CALL", form.before + call + form.after) + "<|im_end|>\n"
    hint = "{# <|python_tag|> #}" if form is LLAMA else ""
    return hint + _OPENING + "{% for m in messages %}" + turns + "{% endfor %}" + _CLOSING


def decoder_of(files: Files, form: ToolFormat | None, **options: Any) -> Decoder:
    """Random weights over bytes, chat markers, and the marks of calls as control tokens."""
    template = None if form is None else template_of(form)
    spec: dict[str, Any] = {"vocab": VOCAB, "n_ctx_train": 4096, "scale": 2.0}
    target = files.model(**spec, chat_template=template)
    draft = files.model(**spec, chat_template=template, seed=3)
    return Decoder(target.path, draft.path, **{"n_ctx": 4096, "n_threads": 1, **options})


def shifted_decoder(folder: Path) -> Decoder:
    """A target that a pair shifts, whose template calls tools; its files go to the folder."""
    specs = [
        TinySpec(vocab=VOCAB, chat_template=template_of(HERMES), scale=2.0, **noise)
        for noise in ({}, {"noise": 0.35, "noise_seed": 1}, {"noise": 0.35, "noise_seed": 2})
    ]
    paths = [write_model(folder / f"{i}.gguf", spec).path for i, spec in enumerate(specs)]
    return Decoder(*paths, n_ctx=512, n_threads=1, progress=False)


@contextmanager
def serving_tools(files: Files, form: ToolFormat, **settings: Any) -> Iterator[TestClient]:
    """A client of an application over such a model."""
    with serving_of(lambda: decoder_of(files, form), **settings) as client:
        yield client
