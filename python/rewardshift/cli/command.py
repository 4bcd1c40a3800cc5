"""What makes a function a command: options from dataclasses, exit codes from exceptions."""

import functools
import inspect
import logging
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import typer

from rewardshift.errors import (
    ChatTemplateError,
    ContextOverflowError,
    Error,
    OutOfMemoryError,
    VocabularyMismatchError,
)

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

_logger = logging.getLogger("rewardshift.cli")
_ADVICE: dict[type[Exception], str] = {
    ChatTemplateError: "`rewardshift generate --raw` takes a prompt without a template",
    ContextOverflowError: "a larger -c makes room",
    OutOfMemoryError: "a smaller -c needs less memory",
    VocabularyMismatchError: "`rewardshift inspect` compares files",
}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Adapts a function to typer.

    Each parameter whose type is a dataclass is replaced by that class's fields, which are typer
    options. Ctrl-C and exceptions that a user can act on become exit codes, the latter with one
    line on stderr.
    """
    parameters = inspect.signature(function).parameters.values()
    groups: dict[str, Any] = {
        p.name: p.annotation for p in parameters if is_dataclass(p.annotation)
    }
    flat = [option for p in parameters for option in _flatten(p)]

    @functools.wraps(function)
    def run(**values: Any) -> None:  # noqa: ANN401 - whatever the options are
        def call() -> None:
            arguments = {
                name: group(**{f.name: values.pop(f.name) for f in fields(group)})
                for name, group in groups.items()
            }
            function(**arguments, **values)

        _exit_on_error(call)

    del run.__wrapped__  # or typer would read its signature
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in flat}
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


def _exit_on_error(run: Callable[[], None]) -> None:
    try:
        run()
    except BrokenPipeError:  # the reader has left; typer exits in silence
        raise
    except KeyboardInterrupt:
        _complain("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except (Error, OSError) as error:
        _logger.debug("details", exc_info=True)
        _complain(str(error), _ADVICE.get(type(error)))
        raise typer.Exit(FAILED) from None
    except (ValueError, TypeError) as error:
        _logger.debug("details", exc_info=True)
        _complain(str(error))
        raise typer.Exit(WRONG_USAGE) from None


def _complain(message: str, advice: str | None = None) -> None:
    line = " ".join(message.split())
    typer.echo(f"rewardshift: {line}{f'; {advice}' if advice else ''}", err=True)
