"""From the options of a request to a grammar's language and text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from rewardshift import _core
from rewardshift.boundary import NO_SEQUENCE, half_a_pair, require_text, shown, token_ids
from rewardshift.errors import GrammarError

if TYPE_CHECKING:
    from collections.abc import Callable

ResponseFormat = Mapping[str, Any]
"""As OpenAI's: ``{"type": "text"}``, ``{"type": "json_object"}``, or
``{"type": "json_schema", "json_schema": {"schema": {…}}}``."""


class GrammarOptions(TypedDict, total=False):
    """What a request can be told of the form of its response. At most one of them is given.

    ``response_format`` asks for JSON: on one line or indented (after a bracket, comma or colon: one
    space, or a line break and up to 64 spaces or tabs), the properties of an object in the order of
    its schema. ``grammar`` is a text in llguidance's dialect of Lark, ``regex`` what the whole
    response matches, in the syntax of Rust's regular expressions, ``choice`` a list of responses.
    """

    response_format: ResponseFormat | None
    grammar: str | None
    regex: str | None
    choice: Iterable[str] | None


GRAMMAR_OPTIONS = tuple(GrammarOptions.__annotations__)
"""The names, in the order of the documentation."""


class Source(NamedTuple):
    """A grammar before it is compiled."""

    option: str
    language: _core.GrammarLanguage
    text: str


_JSON_LAYOUT = {
    "whitespace_pattern": r"\x20|\r?\n[\x20\t]{0,64}",
    "whitespace_flexible": True,
}
"""Where JSON may have space: bounded, or a small model may go on with spaces for ever."""

_LAYOUT_KEY = "x-guidance"


def source_of(options: Mapping[str, Any]) -> Source | None:
    """The grammar that the options ask for; None where they ask for none.

    Args:
        options: Of a request; others than ``GRAMMAR_OPTIONS`` are ignored.

    Raises:
        TypeError: If a value is of the wrong type; it names the value.
        ValueError: If more than one grammar is asked for, or a value is not one of those known.
        GrammarError: If a schema is no JSON.
    """
    given = [name for name in GRAMMAR_OPTIONS if options.get(name) is not None]
    if len(given) > 1:
        raise ValueError(f"at most one of {', '.join(GRAMMAR_OPTIONS)}, not {' and '.join(given)}")
    if not given:
        return None
    return _READERS[given[0]](options[given[0]])


def visible_tokens_of(options: Mapping[str, Any]) -> list[int]:
    """The control tokens that count as text in a response, by the option ``visible_tokens``.

    Raises:
        TypeError: If it is no list of token ids, or can be read only once.
    """
    given = options.get("visible_tokens")
    if given is None:
        return []
    refusal = "visible_tokens must be token ids, not"
    if isinstance(given, Iterator):
        raise TypeError(f"{refusal} {shown(given)}")
    return token_ids(given, refusal)


def _of_response_format(value: object) -> Source | None:
    """A source of JSON, or None for any text."""
    if not isinstance(value, Mapping):
        raise TypeError(f"response_format must be a mapping, not {shown(value)}")
    kind = value.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return _json({"type": "object"})
    if kind == "json_schema":
        return _json(_schema_in(value.get("json_schema")))
    raise ValueError(
        "response_format must have the type 'text', 'json_object' or 'json_schema', "
        f"not {shown(kind)}"
    )


def _schema_in(wrapper: object) -> object:
    if not isinstance(wrapper, Mapping):
        raise TypeError(
            "response_format of type 'json_schema' must have 'json_schema' with the schema "
            f"in it, not {shown(wrapper)}"
        )
    if "schema" not in wrapper:
        raise ValueError("response_format: json_schema must have a 'schema'")
    return wrapper["schema"]


def _json(schema: object) -> Source:
    return Source("response_format", _core.GrammarLanguage.JSON_SCHEMA, schema_text(schema))


def schema_text(schema: object) -> str:
    """A JSON schema as llguidance reads it, with where responses may have space.

    Raises:
        TypeError: If it is neither a mapping nor True or False.
        GrammarError: If it is no JSON.
    """
    if isinstance(schema, bool):
        return "{}" if schema else "false"
    if not isinstance(schema, Mapping):
        raise TypeError(f"a JSON schema must be a mapping, True or False, not {shown(schema)}")
    if _LAYOUT_KEY in schema:
        raise GrammarError(f"a JSON schema must not have the key {_LAYOUT_KEY!r}")
    return _dumped({_LAYOUT_KEY: _JSON_LAYOUT, **schema})


def _dumped(schema: object) -> str:
    try:
        text = json.dumps(schema, allow_nan=False)
        half = half_a_pair(json.dumps(schema, ensure_ascii=False))
    except RecursionError:
        raise GrammarError("a JSON schema is nested too deep, or holds itself") from None
    except (TypeError, ValueError) as error:
        raise GrammarError(f"a JSON schema must be JSON: {error}") from None
    if half is not None:
        raise GrammarError(f"a JSON schema must be Unicode: {half}")
    return text


def _of_grammar(value: object) -> Source:
    return _of_text("grammar", _core.GrammarLanguage.LARK, value)


def _of_regex(value: object) -> Source:
    return _of_text("regex", _core.GrammarLanguage.REGEX, value)


def _of_text(option: str, language: _core.GrammarLanguage, value: object) -> Source:
    require_text(**{option: value})
    _require_unicode(option, str(value))
    return Source(option, language, str(value))


def _of_choice(value: object) -> Source:
    if not isinstance(value, Iterable) or isinstance(value, NO_SEQUENCE):
        raise TypeError(f"choice must be a list of texts, not {shown(value)}")
    texts = list(value)
    if not texts:
        raise ValueError("choice must have at least one text")
    for text in texts:
        require_text(**{"a text of choice": text})
        _require_unicode("choice", text)
    regex = "|".join("".join(map(_escaped, text)) for text in dict.fromkeys(texts))
    return Source("choice", _core.GrammarLanguage.REGEX, regex)


def _require_unicode(option: str, text: str) -> None:
    half = half_a_pair(text)
    if half is not None:
        raise ValueError(f"{option} must be Unicode: {half}")


def _escaped(character: str) -> str:
    """A character as a regular expression; in no syntax does an escaped code mean anything else."""
    if character.isascii() and not character.isalnum():
        return f"\\x{{{ord(character):x}}}"
    return character


_READERS: dict[str, Callable[[object], Source | None]] = {
    "response_format": _of_response_format,
    "grammar": _of_grammar,
    "regex": _of_regex,
    "choice": _of_choice,
}
