"""What is counted, by Prometheus' names in llama-server's manner."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift.decoder import Decoder
    from rewardshift.results import Completion

    from .job import Times
    from .record import Record

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_AROUND_ONE = (0.01, 0.1, 0.25, 0.5, 0.8, 0.9, 1, 1.1, 1.25, 2, 4, 10, 100)


class Metrics:
    """Of one application, in a registry of its own. Safe to use from several threads."""

    def __init__(self) -> None:
        """All at zero."""
        self._registry = CollectorRegistry()
        self._drafts, self._accepts = 0, 0
        self._read = self._counter("prompt_tokens", "Tokens of prompts whose answers ended")
        self._said = self._counter("tokens_predicted", "Tokens generated")
        self._drafted = self._counter("spec_decode_num_draft_tokens", "Tokens drafted")
        self._accepted = self._counter("spec_decode_num_accepted_tokens", "Drafts accepted")
        self._rounds = self._counter("rounds", "Rounds played, with drafts or without")
        self._by_role = self._counter("seconds", "Time spent on answers that ended", "role")
        self._answers = self._counter("answers", "Answers that ended, by why", "finish")
        self._requests = self._counter("requests", "Requests", "path", "status")
        self._errors = self._counter("errors", "Requests that failed, by how", "kind")
        self._evaluated = self._gauge("evaluated_tokens", "Tokens that models evaluated", "reader")
        self._batches = self._gauge("evaluated_batches", "Calls of their networks", "reader")
        self._z = self._histogram("z", "Mean Z of an answer; 1 is a shift in balance", _AROUND_ONE)
        self._infinite = self._counter("z_overflows", "Answers whose Z is beyond all numbers")
        self._first = self._histogram("first_token_seconds", "Until an answer begins", _QUICK)
        self._whole = self._histogram("request_seconds", "Until a request is answered", _QUICK)

    def watch(self, **gauges: tuple[str, Callable[[], float]]) -> None:
        """Tells also what functions say, which must wait for nothing; each has a help text."""
        for name, (text, function) in gauges.items():
            self._gauge(name, text).set_function(function)

    def acceptance(self) -> float:
        """Accepted share of all drafts so far; NaN before there are any."""
        return self._accepts / self._drafts if self._drafts else math.nan

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def answer_ended(self, decoder: Decoder, completion: Completion, times: Times | None) -> None:
        """Counts an answer; in the worker's thread."""
        s = completion.statistics
        self._read.inc(completion.prompt_tokens)
        self._said.inc(len(completion.steps))
        self._drafts += s.drafted
        self._accepts += s.accepted
        self._drafted.inc(s.drafted)
        self._accepted.inc(s.accepted)
        self._rounds.inc(s.rounds)
        self._answers.labels(completion.finish_reason).inc()
        for role in ("target", "draft", "reference", "own"):
            self._by_role.labels(role).inc(getattr(s.seconds, role))
        if s.z is not None and math.isfinite(s.z.mean):  # one that is not would spoil the sum
            self._z.observe(s.z.mean)
        elif s.z is not None:
            self._infinite.inc()
        if times is not None and times.first is not None:
            self._first.observe(times.first - times.asked)
        for reader, work in decoder.work.items():
            self._evaluated.labels(reader).set(work.tokens)
            self._batches.labels(reader).set(work.batches)

    def request_ended(self, record: Record, path: str) -> None:
        """Counts a request.

        Args:
            record: Of it.
            path: One of a few.
        """
        self._requests.labels(path, str(record.status)).inc()
        if record.error is not None:
            self._errors.labels(record.error).inc()
        self._whole.observe(record.seconds)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"rewardshift:{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"rewardshift:{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"rewardshift:{name}", text, buckets=buckets, registry=self._registry)
