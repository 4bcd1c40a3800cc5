"""What a server can be told, beside its models."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server behaves.

    Attributes:
        alias: What the model is called; None is its file's name.
        api_keys: Any of them opens the server; none at all leaves it open.
        defaults: What requests that do not say are decoded with, as ``SamplingOptions``.
        max_queue: Choices that may wait for a place; more are refused (429).
        max_body_bytes: Of a request; more are refused (413).
        max_json_depth: Arrays and objects inside each other, in a request's body.
        max_n: Choices that one request may ask for, over all its prompts.
        max_messages: Of one conversation.
        max_stops: Stop strings of one request.
        max_top_logprobs: Alternatives a token.
        allowed_origins: Of pages elsewhere that may call the server from a browser; "*" is any.
        allowed_hosts: Names, beside those of this machine, by which it may be addressed; "*" is
            any.
        strict: Whether fields that are not known are refused; else they are ignored.
        drain_seconds: How long answers under way may go on once the server is told to stop.
        stalled_seconds: How long one step of the decoder may take before health says so.
        keep_alive_seconds: Between comment lines in a stream that says nothing; None sends none,
            as some clients take them for data.
        log_prompts: Whether the log tells what was asked.
    """

    alias: str | None = None
    api_keys: tuple[bytes, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    max_queue: int = 256
    max_body_bytes: int = 8 * 1024 * 1024
    max_json_depth: int = 64
    max_n: int = 64
    max_messages: int = 2048
    max_stops: int = 64
    max_top_logprobs: int = 100
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    strict: bool = False
    drain_seconds: float = 30.0
    stalled_seconds: float = 600.0
    keep_alive_seconds: float | None = None
    log_prompts: bool = False
