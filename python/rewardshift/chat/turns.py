"""Where turns of a conversation begin and end, as tokens: what a chat template puts around text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewardshift.decoder import Decoder

    from .messages import Message

_MARK = "\x1ahere\x1a"


def prompt_tokens(decoder: Decoder, text: str) -> list[int]:
    """A user's text as a conversation that asks for an answer."""
    return decoder.chat_prompts([{"role": "user", "content": text}])[0]


def opening_of_user_turn(decoder: Decoder) -> list[int]:
    """A conversation up to where the user's first words would stand."""
    before, _ = _around_mark(decoder, [{"role": "user", "content": _MARK}])
    return decoder.tokenize(before, add_special=False)


def end_of_turn(decoder: Decoder) -> int:
    """The token that ends an answer."""
    talk: list[Message] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": _MARK},
    ]
    ends = decoder.end_of_generation
    after = decoder.tokenize(_around_mark(decoder, talk)[1], add_special=False)
    return next((token for token in after if token in ends), ends[0])


def _around_mark(decoder: Decoder, talk: list[Message]) -> tuple[str, str]:
    tokens, _ = decoder.chat_prompts(talk)
    before, _, after = decoder.detokenize(tokens, special=True).partition(_MARK)
    return before, after
