"""What a response may be, as flags: JSON by a schema, a grammar, a regular expression, a choice."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rewardshift.files.text import read_lines
from rewardshift.options import SamplingOptions

from .naming import Called
from .options import option

_PANEL = "Form of the response"


@dataclass(frozen=True, kw_only=True)
class FormFlags:
    """What a response may be; at most one."""

    json_schema: Annotated[
        Path | None,
        option("--json-schema", panel=_PANEL, text="JSON of the schema in here.", metavar="FILE"),
        Called("response_format"),
    ] = None
    grammar: Annotated[
        Path | None,
        option(
            "--grammar",
            panel=_PANEL,
            text="What the grammar in here allows, in llguidance's dialect of Lark.",
            metavar="FILE",
        ),
    ] = None
    regex: Annotated[
        str | None,
        option(
            "--regex",
            panel=_PANEL,
            text="What matches this, as a whole, in the syntax of Rust's regular expressions.",
            metavar="TEXT",
        ),
    ] = None
    choice: Annotated[
        list[str] | None,
        option(
            "--choice", panel=_PANEL, text="This text, or another one; repeat it.", metavar="TEXT"
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuses what cannot be both."""
        given = (self.json_schema, self.grammar, self.regex, self.choice)
        if sum(bool(form) or form == "" for form in given) > 1:
            raise ValueError(
                "--json-schema, --grammar, --regex and --choice contradict each other: choose one"
            )

    def sampling(self) -> SamplingOptions:
        """What the user gave; files are read.

        Raises:
            ValueError: If a file is no UTF-8, or a schema no JSON.
        """
        found: SamplingOptions = {}
        if self.json_schema is not None:
            schema = _read_json(self.json_schema)
            found["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
        if self.grammar is not None:
            found["grammar"] = "\n".join(read_lines(self.grammar))
        if self.regex is not None:
            found["regex"] = self.regex
        if self.choice:
            found["choice"] = self.choice
        return found


def _read_json(path: Path) -> object:
    try:
        return json.loads("\n".join(read_lines(path)))
    except RecursionError:
        raise ValueError(f"{path}: the JSON is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
