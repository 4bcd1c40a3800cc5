"""The formats in which models call functions, and how a chat template tells which is its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .parsers import HermesParser, LlamaParser, MistralParser

if TYPE_CHECKING:
    from .parser import ToolParser


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How the models of one kind of template call functions.

    Attributes:
        name: For messages.
        parser: Reads it.
        before: What a response of calls only begins with.
        opening: What a call begins with, before its arguments; ``NAME`` stands for the function's.
        closing: What it ends with.
        between: What stands between two calls; None where a response has one only.
        after: What a response of calls only ends with.
        marks: What the vocabulary may have control tokens for: they count as text.
    """

    name: str
    parser: type[ToolParser]
    opening: str
    closing: str
    before: str = ""
    between: str | None = ""
    after: str = ""
    marks: tuple[str, ...] = ()


HERMES = ToolFormat(
    name="Hermes",
    parser=HermesParser,
    opening='<tool_call>\n{"name": "NAME", "arguments": ',
    closing="}\n</tool_call>",
    between="\n",
    marks=("<tool_call>", "</tool_call>"),
)
LLAMA = ToolFormat(
    name="Llama 3",
    parser=LlamaParser,
    opening='{"name": "NAME", "parameters": ',
    closing="}",
    between=None,  # its template cannot print more
)
MISTRAL = ToolFormat(
    name="Mistral",
    parser=MistralParser,
    before="[TOOL_CALLS][",
    opening='{"name": "NAME", "arguments": ',
    closing="}",
    between=", ",
    after="]",
    marks=("[TOOL_CALLS]",),
)
MISTRAL_SPACED = replace(MISTRAL, before="[TOOL_CALLS] [")
MISTRAL_NAMED = ToolFormat(
    name="Mistral by name",
    parser=MistralParser,
    opening="[TOOL_CALLS]NAME[ARGS]",
    closing="",
    marks=("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
)


def format_of(template: str) -> ToolFormat | None:
    """The format of a chat template's source; None where it is none that is known here.

    Marks alone do not tell: between ``<tool_call>`` and its end, GLM and newer coders of Qwen write
    XML, and not the object that the others print.
    """
    if "[TOOL_CALLS]" in template:
        if "[ARGS]" in template:
            return MISTRAL_NAMED
        return MISTRAL_SPACED if "[TOOL_CALLS] [" in template else MISTRAL
    if "<function=" in template:
        return None
    if "<tool_call>" in template:
        return HERMES if '"arguments' in template else None
    is_llama = "<|python_tag|>" in template or "<|start_header_id|>" in template
    return LLAMA if is_llama and '"parameters": ' in template else None
