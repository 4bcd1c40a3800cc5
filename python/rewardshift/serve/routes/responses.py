"""``POST /v1/responses``."""

from collections.abc import AsyncGenerator
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from rewardshift.decoder import Decoder
from rewardshift.results import Chunk
from rewardshift.serve.connection import unless_gone
from rewardshift.serve.errors import api_error_of
from rewardshift.serve.job import Job
from rewardshift.serve.record import current
from rewardshift.serve.sse import Event
from rewardshift.serve.wire.conversation import conversation_read
from rewardshift.serve.wire.identity import Identity
from rewardshift.serve.wire.responses.asked import ResponseRequest
from rewardshift.serve.wire.responses.shape import ResponseShape

from .shared import Serving, answered, told

router = APIRouter()


@router.post("/v1/responses")
@router.post("/responses", include_in_schema=False)
async def responses(asked: ResponseRequest, request: Request, server: Serving) -> Response:
    """Answers a conversation, as OpenAI's newer clients ask."""
    tools = asked.tool_use(server.facts)
    facts = server.facts.showing(tools.visible)
    options = asked.response_options(server.settings, facts)
    messages = asked.messages(server.settings)

    lengths: list[int] = []

    def submit(decoder: Decoder) -> list[int]:
        prompt, drafts = conversation_read(
            decoder,
            messages,
            tools=tools.for_template,
            chat_template_kwargs=asked.chat_template_kwargs,
        )
        lengths.append(len(prompt))
        return decoder.submit_batch([prompt], draft_prompts=[drafts], **options)

    job = await unless_gone(request.receive, server.submit(submit, options))
    server.note_asked(messages, lengths)
    shape = ResponseShape(asked, facts, Identity("resp", server.name))
    if asked.stream:
        return told(_told(job, shape), job, server)
    return answered(await unless_gone(request.receive, _whole(job, shape)))


async def _told(job: Job, shape: ResponseShape) -> AsyncGenerator[Event, None]:
    """The events, of which an error is one."""
    try:
        for event in shape.opening():
            yield event
        async for _, chunk in job:
            for event in _pieces(job, shape, chunk):
                yield event
    except Exception as error:  # noqa: BLE001 - it is the client's
        current().error = api_error_of(error).kind
        for event in shape.failed(error):
            yield event


async def _whole(job: Job, shape: ResponseShape) -> dict[str, Any]:
    """The response that the last event has."""
    events: list[Event] = []
    try:
        async for _, chunk in job:
            events = _pieces(job, shape, chunk) or events
    finally:
        job.cancel()
    _, said = events[-1]
    found: dict[str, Any] = cast("dict[str, Any]", said)["response"]
    return found


def _pieces(job: Job, shape: ResponseShape, chunk: Chunk) -> list[Event]:
    if chunk.completion is not None:
        current().note_answer(chunk.completion, job.times[0])
    return shape.pieces(chunk)
