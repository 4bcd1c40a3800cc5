"""What a request offers its model to call, and whether it must."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardshift.boundary import NO_SEQUENCE, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
"""Of a function that says of no parameters: OpenAI's rule."""


@dataclass(frozen=True, slots=True)
class Function:
    """Something to call.

    Attributes:
        name: By which it is called.
        parameters: A JSON schema of its arguments, which are an object.
    """

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be called.

    Attributes:
        tools: As the request gave them, for the chat template.
        functions: Those that the response may call.
        is_must: Whether it must call one.
        is_parallel: Whether it may call several.
    """

    tools: tuple[Mapping[str, Any], ...]
    functions: tuple[Function, ...]
    is_must: bool
    is_parallel: bool

    @property
    def names(self) -> frozenset[str]:
        """Of what the response may call."""
        return frozenset(function.name for function in self.functions)


def offer_of(tools: object, choice: object = None, parallel: object = None) -> Offer | None:
    """OpenAI's ``tools``, ``tool_choice`` and ``parallel_tool_calls`` of a request.

    Returns:
        None where there is nothing to call, or ``tool_choice`` is "none".

    Raises:
        ValueError: If they are not as OpenAI has them; it says what is wrong.
        TypeError: Likewise.
    """
    if parallel is not None and not isinstance(parallel, bool):
        raise TypeError(f"parallel_tool_calls must be true or false, not {shown(parallel)}")
    given = _tools_in(tools)
    functions = [_function_in(tool, i) for i, tool in enumerate(given)]
    names = [function.name for function in functions]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"tools has two functions {twice!r}")
    mode, chosen = _choice_in(choice, names)
    if mode == "none" or not given:
        if mode == "required":
            raise ValueError("tool_choice asks for a call, and tools has nothing to call")
        return None
    return Offer(
        tools=tuple(given),
        functions=tuple(function for function in functions if function.name in chosen),
        is_must=mode == "required",
        is_parallel=parallel is not False,
    )


def _tools_in(tools: object) -> list[Mapping[str, Any]]:
    if tools is None:
        return []
    if not isinstance(tools, Sequence) or isinstance(tools, NO_SEQUENCE):
        raise TypeError(f"tools must be a list, not {shown(tools)}")
    for i, tool in enumerate(tools):
        if not isinstance(tool, Mapping) or tool.get("type") != "function":
            raise ValueError(
                f'tools[{i}] must be {{"type": "function", "function": {{…}}}}, not {shown(tool)}'
            )
    return list(tools)


def _function_in(tool: Mapping[str, Any], number: int) -> Function:
    where = f"tools[{number}].function"
    function = tool.get("function")
    if not isinstance(function, Mapping):
        raise TypeError(f"{where} must be an object, not {shown(function)}")
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{where}.name must be 1 to 128 letters, digits or any of _ - . : /, not {shown(name)}"
        )
    parameters = function.get("parameters")
    if parameters is None:
        parameters = _NOTHING
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise ValueError(f"{where}.parameters must be the schema of an object")
    return Function(name, {"type": "object", **parameters})


def _choice_in(choice: object, names: list[str]) -> tuple[str, Iterable[str]]:
    """The mode, "none", "auto" or "required", and what may be called."""
    if choice is None:
        return "auto", names
    if choice in ("none", "auto", "required"):
        return str(choice), names
    if isinstance(choice, Mapping):
        if choice.get("type") == "function":
            return "required", [_known(choice.get("function", choice), names)]
        if choice.get("type") == "allowed_tools":
            return _allowed(choice.get("allowed_tools", choice), names)
    raise ValueError(
        'tool_choice must be "none", "auto", "required", {"type": "function", "function": '
        '{"name": …}} or {"type": "allowed_tools", "allowed_tools": {"mode": …, "tools": […]}}, '
        f"not {shown(choice)}"
    )


def _allowed(allowed: object, names: list[str]) -> tuple[str, Iterable[str]]:
    mode = allowed.get("mode") if isinstance(allowed, Mapping) else None
    tools = allowed.get("tools") if isinstance(allowed, Mapping) else None
    if mode not in ("auto", "required") or not isinstance(tools, list) or not tools:
        raise ValueError(
            'tool_choice.allowed_tools must have a mode, "auto" or "required", and tools, not '
            f"{shown(allowed)}"
        )
    chosen = []
    for tool in tools:
        if not isinstance(tool, Mapping):
            raise TypeError(f"tool_choice.allowed_tools.tools has {shown(tool)}")
        chosen.append(_known(tool.get("function", tool), names))
    return mode, chosen


def _known(function: object, names: list[str]) -> str:
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"tool_choice names {shown(name)}, and tools has {', '.join(names)}")
    return name
