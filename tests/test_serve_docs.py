"""docs/serve.md names every field, flag and metric that there is, and no others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import typer

from rewardshift.cli.app import app
from rewardshift.serve import Settings
from rewardshift.serve.metrics import Metrics
from rewardshift.serve.wire.base import OPENAIS
from rewardshift.serve.wire.chat import ChatRequest
from rewardshift.serve.wire.completions import CompletionRequest
from rewardshift.serve.wire.conversation import ConversationFields
from rewardshift.serve.wire.llama import LlamaRequest
from rewardshift.serve.wire.responses.asked import ResponseRequest
from rewardshift.serve.wire.score import ScoreRequest
from rewardshift.serve.wire.tokens import DetokenizeRequest, TokenizeRequest
from rewardshift.serve.wire.words import WORDS
from tests.support.documents import ROOT

if TYPE_CHECKING:
    from pydantic import BaseModel

PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([\w.]+)`", PAGE))
REQUESTS = (
    *(ChatRequest, CompletionRequest, ResponseRequest, LlamaRequest, ScoreRequest),
    *(TokenizeRequest, DetokenizeRequest, ConversationFields),
)
FIELDS = {name for request in REQUESTS for name in request.model_fields}


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_each_field_is_on_the_page(field: str) -> None:
    assert field in NAMED


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda kind: kind.__name__)
def test_each_field_has_words_in_the_description(request_type: type[BaseModel]) -> None:
    told = request_type.model_json_schema()["properties"]
    assert told
    assert [name for name, field in told.items() if not field.get("description")] == []
    assert set(WORDS) <= FIELDS


def test_each_field_on_the_page_is_one() -> None:
    tables = PAGE[PAGE.index("## Fields") : PAGE.index("## Errors")]
    cells = re.findall(r"^\| (`.*?`) \|", tables, re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(listed) > 40
    assert listed <= FIELDS | OPENAIS
    assert OPENAIS <= NAMED


def test_each_metric_is_on_the_page() -> None:
    said = Metrics().text().decode()
    names = set(re.findall(r"^# TYPE rewardshift:(\w+) (?!gauge)", said, re.MULTILINE))
    shown = {name for name in names if not name.endswith("_created")}
    assert {"tokens_predicted_total", "z", "request_seconds"} <= shown
    assert shown <= NAMED


def test_each_flag_on_the_page_is_one() -> None:
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    flags = {flag for p in command.params for flag in p.opts}
    assert set(re.findall(r"`(--[\w-]+)", PAGE)) <= flags


def test_limits_on_the_page_are_those_that_hold() -> None:
    limits = Settings()
    assert f"more than {limits.max_body_bytes >> 20} MiB" in PAGE
    assert f"nested deeper than {limits.max_json_depth} " in PAGE
    assert f"at most {limits.max_n} over all prompts" in PAGE
    assert f"at most {limits.max_messages}" in PAGE
    assert f"at most {limits.max_stops} of" in PAGE
    assert f"At most {limits.max_top_logprobs}" in PAGE
    assert f"`--drain-seconds` ({limits.drain_seconds:.0f})" in PAGE
