"""``POST /v1/chat/completions``."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from rewardshift.decoder import Decoder
from rewardshift.serve.answering import collected, streamed
from rewardshift.serve.connection import unless_gone
from rewardshift.serve.wire.chat import ChatRequest, ChatShape
from rewardshift.serve.wire.conversation import conversation_read
from rewardshift.serve.wire.identity import Identity

from .shared import Serving, answered, told

router = APIRouter()


@router.post("/v1/chat/completions")
@router.post("/chat/completions", include_in_schema=False)
async def chat_completions(asked: ChatRequest, request: Request, server: Serving) -> Response:
    """Answers a conversation."""
    tools = asked.tool_use(server.facts)
    facts = server.facts.showing(tools.visible)
    options = asked.chat_options(server.settings, facts)
    choices = asked.n or 1
    lengths: list[int] = []

    def submit(decoder: Decoder) -> list[int]:
        prompt, drafts = conversation_read(
            decoder,
            asked.messages,
            tools=tools.for_template,
            chat_template_kwargs=asked.chat_template_kwargs,
            begun=asked.continue_from or (),
        )
        lengths.append(len(prompt))
        return decoder.submit_batch([prompt] * choices, draft_prompts=[drafts] * choices, **options)

    job = await unless_gone(request.receive, server.submit(submit, options, choices))
    server.note_asked(asked.messages, lengths)
    shape = ChatShape(asked, facts, Identity("chatcmpl", server.name), job, lengths)
    if asked.stream:
        return told(streamed(job, shape), job, server)
    completions, tokens = await unless_gone(request.receive, collected(job, facts))
    return answered(shape.whole(completions, tokens))
