"""``POST /v1/completions``."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from rewardshift.decoder import Decoder
from rewardshift.options import SamplingOptions
from rewardshift.serve.answering import collected, streamed
from rewardshift.serve.connection import unless_gone
from rewardshift.serve.echo import Echo, echo_of
from rewardshift.serve.wire.completions import CompletionRequest, CompletionShape
from rewardshift.serve.wire.identity import Identity

from .shared import Serving, answered, told

router = APIRouter()


@router.post("/v1/completions")
async def completions(asked: CompletionRequest, request: Request, server: Serving) -> Response:
    """Goes on with a text, or with several."""
    facts = server.facts
    options = asked.completion_options(server.settings, facts)
    echoes = await unless_gone(request.receive, _echoes(asked, options, server))
    prompts = [echo.tokens for echo in echoes] or asked.prompts
    lengths: list[int] = []

    def submit(decoder: Decoder) -> list[int]:
        read = [decoder.tokenize(p) if isinstance(p, str) else p for p in prompts]
        lengths.extend(map(len, read))
        return decoder.submit_batch([p for p in read for _ in range(asked.candidates)], **options)

    choices = len(prompts) * asked.candidates
    job = await unless_gone(request.receive, server.submit(submit, options, choices))
    server.note_asked(asked.prompts, lengths)
    shape = CompletionShape(asked, facts, Identity("cmpl", server.name), job, lengths, echoes)
    if asked.stream:
        return told(streamed(job, shape), job, server)
    done, tokens = await unless_gone(request.receive, collected(job, facts))
    return answered(shape.whole(done, tokens, shape.best(done)))


async def _echoes(
    asked: CompletionRequest, options: SamplingOptions, server: Serving
) -> list[Echo]:
    """One of each prompt, where they are asked for; others' answers go on between two of them."""
    if not asked.echo:
        return []
    return [
        await server.ask(
            lambda decoder, prompt=prompt: echo_of(  # type: ignore[misc]  # mypy knows no default
                decoder, prompt, options, is_scored=asked.wants_logprobs
            )
        )
        for prompt in asked.prompts
    ]
