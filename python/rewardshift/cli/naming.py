"""Flags by the names that Python has for what they set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

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


def flag_names(parameters: Iterable[inspect.Parameter]) -> dict[str, str]:
    """How users write each of a command's parameters, by Python's names for it.

    A flag is named in full, an argument by its metavar. What ``Called`` adds is listed, too.
    """
    found: dict[str, str] = {}
    for parameter in parameters:
        for info in _parts(parameter.annotation)[1:]:
            if isinstance(info, (OptionInfo, ArgumentInfo)):
                found[parameter.name] = _written(parameter.name, info)
    for parameter in parameters:
        for mark in _parts(parameter.annotation)[1:]:
            if isinstance(mark, Called):
                found |= dict.fromkeys(mark.names, found[parameter.name])
    return found


def _parts(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - annotations are anything
    return get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)


def _written(name: str, info: OptionInfo | ArgumentInfo) -> str:
    if isinstance(info, ArgumentInfo):
        return str(info.metavar or name.upper())
    declared = (info.default, *(info.param_decls or ()))  # in annotations the first is "default"
    flags = [part for text in declared if isinstance(text, str) for part in text.split("/")]
    long = [flag for flag in flags if flag.startswith("--")]
    return long[0] if long else f"--{name.replace('_', '-')}"


def in_flags(message: str, names: Mapping[str, str]) -> str:
    """A message of the Python interface, with flags in place of Python's names.

    Words that may be meant as words ("a draft") stay: what is replaced has an underscore, or is a
    phrase, or is given a value (``strength=0``), or begins the message and has to be something.
    Parts of paths stay, too.
    """
    if not names:
        return message
    known = sorted(names, key=len, reverse=True)
    alone = "|".join(re.escape(name) for name in known if not name.isalpha())
    any_name = "|".join(re.escape(name) for name in known)
    here, ends = r"(?<![\w./\\~-])", r"(?![\w/\\]|\.\w|-\w)"

    def flag(found: re.Match[str]) -> str:
        return names[found[1]]

    message = re.sub(rf"^({any_name})(?= (?:must|cannot|needs|-?\d|'))", flag, message)
    if alone:
        message = re.sub(rf"{here}({alone}){ends}(?!=)", flag, message)
    message = re.sub(rf"{here}({any_name})(?= = )", flag, message)
    # Not in the parameters of a method: "sss:strength=1,rule=paper".
    return re.sub(rf"(?<![:,]){here}({any_name})=(?=\S)", lambda m: f"{names[m[1]]} ", message)
