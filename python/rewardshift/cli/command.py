"""What makes a function a command: options from dataclasses, exit codes from exceptions."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import shlex
import sys
import warnings
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand

from rewardshift.errors import (
    ChatTemplateError,
    Error,
    GrammarError,
    HeadWarning,
    LengthWarning,
    OutOfMemoryError,
    VocabularyMismatchError,
    VocabularyWarning,
)
from rewardshift.files.paths import given_path
from rewardshift.sources.hub import StrPath, named_file

from .naming import Names
from .program import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    interruptible,
    tell_of_interruption,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_logger = logging.getLogger("rewardshift.cli")
_ADVICE: dict[type[Exception], str] = {
    ChatTemplateError: "`rewardshift generate --raw` takes a prompt without a template",
    OutOfMemoryError: "a smaller n_ctx needs less memory",
    VocabularyMismatchError: "`rewardshift inspect` compares files",
}
_AS_TEXT: dict[Any, Any] = {
    Path: str,
    Path | None: str | None,
    list[Path]: list[str],
    list[Path] | None: list[str] | None,
    StrPath: str,
    StrPath | None: str | None,
    list[StrPath]: list[str],
}
"""What typer is told of types that we read ourselves: to it, "" is the folder at hand, and of the
slashes in a URL one is enough."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Adapts a function to typer.

    Each parameter whose type is a dataclass is replaced by that class's fields, which are typer
    options. Ctrl-C and exceptions that a user can act on become exit codes, the latter with one
    line on stderr, in which Python's options are called by their flags.
    """
    parameters = inspect.signature(function).parameters.values()
    groups: dict[str, Any] = {
        p.name: p.annotation for p in parameters if is_dataclass(p.annotation)
    }
    flat = [option for p in parameters for option in _flatten(p)]
    types = {p.name: _base(p.annotation) for p in flat}
    names = Names.of(p for p in flat if get_origin(p.annotation) is Annotated)

    @functools.wraps(function)
    def run(**values: Any) -> None:  # noqa: ANN401 - whatever the options are
        def call() -> None:
            for name, value in values.items():
                values[name] = _read(value, types[name], names.flags.get(name, name))
            arguments = {
                name: group(**{f.name: values.pop(f.name) for f in fields(group)})
                for name, group in groups.items()
            }
            function(**arguments, **values)

        _exit_on_error(call, names)

    del run.__wrapped__  # or typer would read its signature
    shown = [p.replace(annotation=_for_typer(p.annotation)) for p in flat]
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in shown}
    return run


def _flatten(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    if not is_dataclass(parameter.annotation):
        return [parameter.replace(kind=parameter.KEYWORD_ONLY)]
    return [
        inspect.Parameter(
            field.name,
            parameter.KEYWORD_ONLY,
            default=parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(parameter.annotation)
    ]


def _base(annotation: Any) -> Any:  # noqa: ANN401 - annotations are anything
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _for_typer(annotation: Any) -> Any:  # noqa: ANN401
    if get_origin(annotation) is not Annotated:
        return annotation
    base, *marks = get_args(annotation)
    parts = (_AS_TEXT.get(base, base), *marks)
    return Annotated[parts]


def _read(value: Any, kind: Any, flag: str) -> Any:  # noqa: ANN401
    """A value as its type wants it.

    Raises:
        ValueError: If it is a file name and empty, or text that is none.
    """
    if isinstance(value, list):
        return [_read(item, kind, flag) for item in value]
    if not isinstance(value, (str, os.PathLike)):
        return value
    if kind in _AS_TEXT:
        try:
            return named_file(value) if kind in _MODELS else given_path(value)
        except ValueError as error:
            raise ValueError(f"{flag}: {error}") from None
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{flag} is not UTF-8 text: {value!r}") from None
    return value


_MODELS = (StrPath, StrPath | None, list[StrPath])


def _exit_on_error(run: Callable[[], None], names: Names) -> None:
    try:
        with interruptible(), _cautioned(names):
            run()
    except BrokenPipeError:  # the reader has left; typer exits in silence
        raise
    except KeyboardInterrupt:
        tell_of_interruption()
        raise typer.Exit(INTERRUPTED) from None
    except GrammarError as error:
        _logger.debug("details", exc_info=True)
        option, colon, reason = str(error).partition(": ")
        flag = {**names.flags, **names.others}.get(option, option)
        _complain(f"{flag}{colon}{reason}")
        raise typer.Exit(WRONG_USAGE) from None
    except (Error, OSError, UnicodeError) as error:
        _logger.debug("details", exc_info=True)
        _complain(names.put_into(f"{_said(error)}{_advice(error, names)}"))
        raise typer.Exit(FAILED) from None
    except (ValueError, TypeError) as error:
        _logger.debug("details", exc_info=True)
        _complain(names.put_into(str(error)))
        raise typer.Exit(WRONG_USAGE) from None


_OUR_WARNINGS = (HeadWarning, LengthWarning, VocabularyWarning)


@contextmanager
def _cautioned(names: Names) -> Iterator[None]:
    """Within it our own warnings are lines on stderr, as errors are."""
    with warnings.catch_warnings():
        for own in _OUR_WARNINGS:
            warnings.simplefilter("always", own)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:  # noqa: ANN401
            if issubclass(category, _OUR_WARNINGS):
                _complain(names.put_into(str(message)))
            else:
                others(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]  # which wants every name of `where`
        yield


def _said(error: Exception) -> str:
    """What an error says; the system's about a file without number and quotes."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _advice(error: Exception, names: Names) -> str:
    """What follows the message; nothing where the command has no such flag."""
    advice = _ADVICE.get(type(error), "")
    if "n_ctx" in advice and "n_ctx" not in names.flags:
        return ""
    return advice and f"; {advice}"


def _complain(message: str) -> None:
    sys.stderr.write(f"rewardshift: {' '.join(message.split())}\n")


# --- what cannot be parsed ----------------------------------------------------------------------

_FORMER = {
    ("align", "--count"): "--num-prompts says how many prompts are asked",
    ("bench", "-K"): "--draft-lengths says which are measured",
    ("eval", "--count"): "--num-prompts says how many prompts are asked",
    ("eval", "--n"): "--num-prompts says how many prompts are asked",
    ("quantize", "--measure"): "it measures unless there is --no-measure",
}
"""What became of flags that are no more, by command."""


class Command(TyperCommand):
    """A command whose complaints about its arguments say what to do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own
        """Adds to what typer says."""
        given = list(args)  # parsing consumes them
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if hasattr(error, "message") and (hint := self._hint(error, given)):
                error.message = f"{error.message} {hint}"
            raise

    def _hint(self, error: Exception, given: list[str]) -> str | None:
        """Typer's errors are known by name: where it keeps them differs between its versions."""
        kind, flag = type(error).__name__, str(getattr(error, "option_name", ""))
        if kind == "NoSuchOption" and (former := _FORMER.get((str(self.name), flag))):
            return f"({former})"
        takes_text = any(p.param_type_name == "argument" for p in self.params)
        if takes_text and (dashed := _dashed(given, flag if kind == "NoSuchOption" else None)):
            example = f"-- {shlex.quote(dashed)}"
            return f"(What begins with a dash and is no option goes last, behind --: {example})"
        if kind == "UsageError" and self.name == "bench":
            return "(--json prints the measurements: rewardshift bench --json > FILE)"
        if kind == "UsageError" and self.name in ("generate", "score"):
            return "(Text of several words goes in quotes.)"
        return None


def _dashed(given: list[str], unknown: str | None) -> str | None:
    """The word that was taken for an option, and may be meant as text: if unknown, or a sentence.

    Args:
        given: The command's arguments.
        unknown: The option that was seen in it, and is none.
    """
    words = given[: given.index("--")] if "--" in given else given
    for word in words:
        if unknown is not None and word.startswith(unknown):
            return word
        if word.startswith("-") and " " in word.partition("=")[0]:
            return word
    return None
