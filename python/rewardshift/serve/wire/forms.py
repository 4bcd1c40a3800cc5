"""What an answer may be: response_format, a schema, a grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import wrong

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
    if isinstance(value.get("schema"), dict):
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

    try:
        return str(gbnf_to_lark(grammar))
    except Exception as error:
        raise wrong(f"grammar: {error}", "grammar", "invalid_grammar") from error
