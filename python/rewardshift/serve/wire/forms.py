"""What an answer may be: response_format, a schema, a grammar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import ApiError, wrong

if TYPE_CHECKING:
    from .fields import SamplingFields


def form_of(fields: SamplingFields) -> dict[str, Any]:
    """The options of a form, of which at most one is given.

    Raises:
        ApiError: If there are several, or a grammar is in a language that cannot be read.
    """
    wanted: dict[str, Any] = {
        "response_format": _response_format(fields.response_format),
        "json_schema": fields.json_schema,
        "grammar": fields.grammar or None,
        "regex": fields.regex,
        "choice": fields.choice,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    if len(given) > 1:
        raise wrong(f"give one of {' and '.join(given)}", list(given)[1])
    if "json_schema" in given:
        schema = given["json_schema"]
        return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    if "grammar" in given:
        return {"grammar": lark_of(given["grammar"])}
    return given


def _response_format(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """As it is; llama-server also takes a schema beside the type."""
    if value is None or value.get("type") == "text":
        return None
    if value.get("schema") is not None:
        return {"type": "json_schema", "json_schema": {"schema": value["schema"]}}
    return value


def lark_of(grammar: str) -> str:
    """A grammar in llguidance's dialect of Lark; GBNF is converted.

    Raises:
        ApiError: If it is GBNF that cannot be.
    """
    if "::=" not in grammar:
        return grammar
    from llguidance.gbnf_to_lark import gbnf_to_lark

    if len(grammar) > _LONGEST_GBNF:
        raise _unreadable(f"GBNF may have {_LONGEST_GBNF} characters at most; Lark may have more")
    try:
        return str(gbnf_to_lark(_ESCAPE.sub(_unescaped, grammar)))
    except (Exception, RecursionError) as error:
        raise _unreadable(str(error)) from error


_LONGEST_GBNF = 65536
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)
_SPECIAL = frozenset('"\\[]^-/')


def _unescaped(escape: re.Match[str]) -> str:
    """A character that is written as a number, as itself: the converter would shorten the number.

    Raises:
        ValueError: If there is no such character.
    """
    digits = escape[1] or escape[2]
    if digits is None:
        return escape[0]
    code = int(digits, 16)
    if 0xD800 <= code < 0xE000:
        raise ValueError(f"{escape[0]} is half of a pair, and no character")
    character = chr(code)
    is_plain = code >= 0x20 and character not in _SPECIAL
    return character if is_plain else f"\\x{code:02x}"


def _unreadable(why: str) -> ApiError:
    return wrong(f"grammar: {why}", "grammar", "invalid_grammar")
