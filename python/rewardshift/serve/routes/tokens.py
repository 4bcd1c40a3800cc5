"""``/tokenize``, ``/detokenize``, ``/tokenizer_info`` and ``/apply-template``."""

from typing import Any

from fastapi import APIRouter

from rewardshift.decoder import Decoder
from rewardshift.serve.errors import wrong
from rewardshift.serve.wire.conversation import ConversationFields
from rewardshift.serve.wire.tokens import (
    DetokenizeRequest,
    TokenizeRequest,
    llama_tokens,
    tokenizer_told,
    vllm_tokens,
)

from .shared import Serving

router = APIRouter()


@router.post("/tokenize")
async def tokenize(asked: TokenizeRequest, server: Serving) -> dict[str, Any]:
    """Token ids of a text, or of a conversation."""
    facts = server.facts
    asked.check_conversation(server.settings)

    def answer(decoder: Decoder) -> dict[str, Any]:
        ids = asked.ids(decoder)
        if asked.is_vllms:
            return vllm_tokens(ids, decoder, facts, with_texts=bool(asked.return_token_strs))
        return llama_tokens(ids, decoder, with_pieces=asked.with_pieces)

    return await server.ask(answer)


@router.post("/detokenize")
async def detokenize(asked: DetokenizeRequest, server: Serving) -> dict[str, Any]:
    """The text of token ids: ``content`` as llama-server calls it, ``prompt`` as vLLM does."""
    asked.require_known(server.settings)
    text = await server.ask(lambda decoder: decoder.detokenize(asked.tokens, special=True))
    return {"content": text, "prompt": text}


@router.get("/tokenizer_info")
async def tokenizer_info(server: Serving) -> dict[str, Any]:
    """What clients of vLLM ask about the tokenizer."""
    facts = server.facts
    return await server.ask(lambda decoder: tokenizer_told(decoder, facts))


@router.post("/apply-template")
async def apply_template(asked: ConversationFields, server: Serving) -> dict[str, Any]:
    """The prompt of a conversation, as the target reads it."""
    asked.check_conversation(server.settings)
    if asked.messages is None:
        raise wrong("give messages", "messages")

    def answer(decoder: Decoder) -> str:
        return decoder.detokenize(asked.read(decoder)[0], special=True)

    return {"prompt": await server.ask(answer)}


@router.post("/v1/chat/completions/input_tokens")
@router.post("/chat/completions/input_tokens", include_in_schema=False)
async def input_tokens(asked: ConversationFields, server: Serving) -> dict[str, Any]:
    """How many tokens the prompt of a conversation has."""
    asked.check_conversation(server.settings)
    length = await server.ask(lambda decoder: len(asked.read(decoder)[0]))
    return {"object": "response.input_tokens", "input_tokens": length}
