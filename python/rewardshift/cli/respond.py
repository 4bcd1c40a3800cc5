"""Following one response to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift.errors import EvaluationError

from .program import go_on
from .render import coloured_writer, plain_writer, stderr, stdout, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift.decoder import Decoder
    from rewardshift.results import Chunk, Completion

    from .options import ResponseFlags


def respond(decoder: Decoder, request: int, output: ResponseFlags) -> Completion:
    """Prints a response as it grows, with what ``output`` asks for, and returns it.

    Ctrl-C ends it early: what there is was printed, and the statistics follow.
    """
    console = stdout()
    completion = follow(decoder, request, _writer(output))
    interrupted = completion.finish_reason == "cancelled"
    if output.json:
        return completion
    console.file.write("\n")
    console.file.flush()
    if output.show:
        console.print()
        console.print(summary(completion, console))
    elif interrupted:
        stderr().print(summary(completion, stderr()))
    return completion


def follow(decoder: Decoder, request: int, show: Callable[[Chunk], None]) -> Completion:
    """Steps until a request is finished; Ctrl-C cancels it, which is a finish too.

    Raises:
        EvaluationError: If the request failed.
        KeyboardInterrupt: If Ctrl-C came in the instant of its end.
    """
    completion: Completion | None = None
    while completion is None:
        if not decoder.has_work:
            raise KeyboardInterrupt
        try:
            for chunk in decoder.step():
                if chunk.error is not None:
                    raise EvaluationError(chunk.error)
                completion = chunk.completion
                show(chunk)
        except KeyboardInterrupt:
            decoder.cancel(request)
            go_on()
    return completion


def _writer(output: ResponseFlags) -> Callable[[Chunk], None]:
    if output.json:
        return lambda _: None
    return coloured_writer(stdout()) if output.show else plain_writer(stdout())
