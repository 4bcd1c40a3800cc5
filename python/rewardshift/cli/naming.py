"""Flags by the names that Python has for what they set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.models import ArgumentInfo, OptionInfo

if TYPE_CHECKING:
    import inspect
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Called:
    """Marks a flag, in its annotation, with what else Python calls it."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        """Names, or whole phrases such as ``overwrite=True``."""
        object.__setattr__(self, "names", names)


@dataclass(frozen=True)
class Names:
    """How users write what Python's messages name.

    Attributes:
        flags: A command's parameters: a flag in full, an argument by its metavar.
        others: What ``Called`` adds.
    """

    flags: Mapping[str, str]
    others: Mapping[str, str]

    @classmethod
    def of(cls, parameters: Iterable[inspect.Parameter]) -> Names:
        """Those of parameters as typer takes them."""
        flags: dict[str, str] = {}
        others: dict[str, str] = {}
        for parameter in parameters:
            marks = parameter.annotation.__metadata__
            for info in marks:
                if isinstance(info, (OptionInfo, ArgumentInfo)):
                    flags[parameter.name] = _written(parameter.name, info)
            for called in marks:
                if isinstance(called, Called):
                    others |= dict.fromkeys(called.names, flags[parameter.name])
        return cls(flags, others)

    def put_into(self, message: str) -> str:
        """A message of the Python interface, with flags in place of Python's names.

        Words that may be meant as words ("a draft") stay: what is replaced has an underscore, or
        comes from ``Called``, or is given a value (``strength=0``), or begins the message and has
        to be something. Parts of paths stay, too.
        """
        names = {**self.flags, **self.others}
        unmistakable = [*self.others, *(name for name in self.flags if "_" in name)]
        here, ends = r"(?<![\w./\\~-])", r"(?![\w/\\]|\.\w|-\w)"

        def flag(found: re.Match[str]) -> str:
            return names[found[1]]

        begins = rf"^({_any(names)})(?= (?:must|cannot|names|needs|-?\d|'))"
        message = re.sub(begins, flag, message)
        if unmistakable:
            message = re.sub(rf"{here}({_any(unmistakable)}){ends}(?!=)", flag, message)
        message = re.sub(rf"{here}({_any(names)})(?= = )", flag, message)
        # Not in the parameters of a method: "sss:strength=1,rule=paper".
        valued = rf"(?<![:,]){here}({_any(names)})=(?=\S)"
        return re.sub(valued, lambda found: f"{flag(found)} ", message)


def _any(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


def _written(name: str, info: OptionInfo | ArgumentInfo) -> str:
    if isinstance(info, ArgumentInfo):
        return str(info.metavar or name.upper())
    declared = (info.default, *(info.param_decls or ()))  # in annotations the first is "default"
    flags = [part for text in declared if isinstance(text, str) for part in text.split("/")]
    long = [flag for flag in flags if flag.startswith("--")]
    return long[0] if long else f"--{name.replace('_', '-')}"
