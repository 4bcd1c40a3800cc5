"""What goes wrong, in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from rewardshift.errors import (
    CancelledError,
    ChatTemplateError,
    ContextOverflowError,
    Error,
    EvaluationError,
    GrammarError,
    OutOfMemoryError,
)
from rewardshift.options import SamplingOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger = logging.getLogger("rewardshift.serve")

BAD_REQUEST = "invalid_request_error"
GONE = "client_gone"
"""What a request is counted as whose client has left."""
UNAVAILABLE = "unavailable_error"


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: Of HTTP.
        message: For people.
        type: One of OpenAI's kinds.
        param: The field that is wrong, if it is one.
        code: For programs, if there is something to tell apart.
        headers: Beside the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str = BAD_REQUEST,  # noqa: A002 - OpenAI's name
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """See the class."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def kind(self) -> str:
        """What it is counted as: the code, or the type where there is none."""
        return self.code or self.type

    def as_object(self) -> dict[str, Any]:
        """What is sent."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


def wrong(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that cannot be answered as it is."""
    return ApiError(400, message, BAD_REQUEST, param, code)


def unavailable(message: str, code: str, *, retry_after: int | None = None) -> ApiError:
    """A request that may be answered later."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return ApiError(503, message, UNAVAILABLE, code=code, headers=headers)


_KINDS: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    (OutOfMemoryError, 503, UNAVAILABLE, "out_of_memory"),
    (ContextOverflowError, 400, BAD_REQUEST, "context_length_exceeded"),
    (GrammarError, 400, BAD_REQUEST, "invalid_grammar"),
    (ChatTemplateError, 400, BAD_REQUEST, "chat_template"),
    (EvaluationError, 500, "server_error", "evaluation_failed"),
    (CancelledError, 503, UNAVAILABLE, "cancelled"),
    (Error, 500, "server_error", None),
    (ValueError, 400, BAD_REQUEST, None),
    (TypeError, 400, BAD_REQUEST, None),
)


_OF_THE_REQUEST = ("no token is possible", "the grammar cannot tell")
"""How errors begin that what was asked for leads to, with models whose rows are sound."""


def api_error_of(error: BaseException) -> ApiError:
    """What a caller is told of an error, whoever raised it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, MemoryError):
        return unavailable("out of memory", "out_of_memory")
    if isinstance(error, EvaluationError) and str(error).startswith(_OF_THE_REQUEST):
        return wrong(str(error), code="nothing_possible")
    for kind, status, name, code in _KINDS:
        if isinstance(error, kind):
            return ApiError(status, _said(error), name, _field_in(error, status), code)
    _logger.error("an error of ours", exc_info=error)
    return ApiError(500, "something went wrong here; the server's log says what", "server_error")


def _said(error: BaseException) -> str:
    """What an error says, to who has a server. Of long prompts in the words clients look for."""
    said = str(error)
    if isinstance(error, ContextOverflowError):
        return (
            f"{said.replace(' (raise n_ctx)', '')}: it exceeds the available context size; the "
            f"server reads {error.available} tokens, start it with a larger -c"
        )
    if isinstance(error, GrammarError) and said.startswith("grammar"):
        return f"{said} (rules are `name ::= ...` in GBNF, and `name: ...` in Lark)"
    return said


def _field_in(error: BaseException, status: int) -> str | None:
    """The field that is wrong: such messages begin with it."""
    word = re.match(r"(?:unknown option ')?(\w*)", str(error))
    name = word[1] if word else ""
    return name if status == 400 and name in SamplingOptions.__annotations__ else None
