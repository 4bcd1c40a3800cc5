"""What is known of the request that is being answered: for the log, and for counting."""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from rewardshift.files.json_values import plain

if TYPE_CHECKING:
    from rewardshift.results import Completion

    from .job import Times

_logger = logging.getLogger("rewardshift.serve.requests")


@dataclass(slots=True)
class Record:
    """Of one request; whoever learns something of it writes it here.

    Attributes:
        method: Of HTTP.
        path: What was asked.
        id: Told to the client as ``X-Request-Id``.
        status: Of the answer; 0 where there was none.
        error: Which kind, if it was one.
        prompt: What was asked, where the log is to tell.
        prompt_tokens: Of all prompts.
        finished: The answers that were waited for until their end.
        first_token: Seconds until the first token.
    """

    method: str
    path: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    error: str | None = None
    prompt: object = None
    prompt_tokens: int | None = None
    finished: list[Completion] = field(default_factory=list)
    first_token: float | None = None

    @property
    def seconds(self) -> float:
        """Since it came."""
        return time.monotonic() - self.began

    def note_answer(self, completion: Completion, times: Times) -> None:
        """That an answer has ended."""
        self.finished.append(completion)
        if times.first is not None and self.first_token is None:
            self.first_token = times.first - self.began

    def write(self) -> None:
        """One line of the log: JSON, without what was not known."""
        told: dict[str, Any] = {
            "id": self.id,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "seconds": round(self.seconds, 4),
            "error": self.error,
            "first_token_seconds": self.first_token and round(self.first_token, 4),
            "prompt_tokens": self.prompt_tokens,
            "prompt": self.prompt,
        }
        if self.finished:
            statistics = [completion.statistics for completion in self.finished]
            told |= {
                "finish": [completion.finish_reason for completion in self.finished],
                "completion_tokens": sum(len(completion.steps) for completion in self.finished),
                "drafted": sum(s.drafted for s in statistics),
                "accepted": sum(s.accepted for s in statistics),
            }
        write_line({name: value for name, value in told.items() if value is not None})


def write_line(told: dict[str, Any]) -> None:
    """One line of the log: JSON, which begins with the time."""
    time_told = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    _logger.info(json.dumps(plain({"time": time_told, **told})))


_current: ContextVar[Record | None] = ContextVar("record", default=None)


def begin(record: Record) -> None:
    """Makes it the one of this task, and of those that come of it."""
    _current.set(record)


def current() -> Record:
    """That of the request that is being answered; one that nobody reads where there is none."""
    return _current.get() or Record("", "")
