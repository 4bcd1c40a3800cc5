"""``POST /completion``, as llama-server has it."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from rewardshift.decoder import Decoder
from rewardshift.serve.answering import collected, streamed
from rewardshift.serve.connection import unless_gone
from rewardshift.serve.wire.identity import Identity
from rewardshift.serve.wire.llama import LlamaRequest, LlamaShape, ids_of

from .shared import Serving, answered, told

router = APIRouter()


@router.post("/completion")
@router.post("/completions", include_in_schema=False)
async def completion(asked: LlamaRequest, request: Request, server: Serving) -> Response:
    """Goes on with a text, or with several, in llama-server's own shape."""
    facts = server.facts
    options = asked.llama_options(server.settings, facts)
    prompts: list[tuple[int, str]] = []

    def submit(decoder: Decoder) -> list[int]:
        read = [ids_of(prompt, decoder) for prompt in asked.prompts]
        requests = decoder.submit_batch(read, **options)
        prompts.extend((len(ids), decoder.detokenize(ids, special=True)) for ids in read)
        return requests

    job = await unless_gone(request.receive, server.submit(submit, options, len(asked.prompts)))
    server.note_asked(asked.prompts, [length for length, _ in prompts])
    identity = Identity("cmpl", server.name)
    shape = LlamaShape(asked, facts, identity, job, prompts=prompts, options=options)
    if asked.stream:
        return told(streamed(job, shape, done=None), job, server)
    answers = shape.answers(*await unless_gone(request.receive, collected(job, facts)))
    return answered(answers if asked.has_many else answers[0])
