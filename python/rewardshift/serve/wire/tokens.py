"""Text and tokens, in the spellings of llama-server and vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from .base import Fields
from .conversation import ConversationFields

if TYPE_CHECKING:
    from rewardshift.decoder import Decoder
    from rewardshift.serve.facts import Facts


class TokenizeRequest(ConversationFields):
    """``POST /tokenize``: ``content`` is llama-server's, ``prompt`` and ``messages`` vLLM's."""

    model: str | None = None
    content: str | list[str | int] | None = None
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False

    prompt: str | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None

    @property
    def is_vllms(self) -> bool:
        """Whether the answer is to have vLLM's shape."""
        return self.prompt is not None or self.messages is not None

    def ids(self, decoder: Decoder) -> list[int]:
        """The tokens of what was given."""
        if self.messages is not None:
            return list(self.read(decoder)[0])
        if self.prompt is not None:
            added = self.add_special_tokens is not False
            return decoder.tokenize(self.prompt, add_special=added)
        return self._mixed(decoder)

    def _mixed(self, decoder: Decoder) -> list[int]:
        content = [self.content] if isinstance(self.content, str) else self.content or []
        ids: list[int] = []
        for i, part in enumerate(content):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += decoder.tokenize(
                    part,
                    add_special=self.add_special and i == 0,
                    parse_special=self.parse_special,
                )
        return ids


class DetokenizeRequest(Fields):
    """``POST /detokenize``."""

    model: str | None = None
    tokens: list[int] = Field(default_factory=list)


def llama_tokens(ids: list[int], decoder: Decoder, *, with_pieces: bool) -> dict[str, Any]:
    """llama-server's answer: a piece that is no UTF-8 by itself is a list of its bytes."""
    if not with_pieces:
        return {"tokens": ids}
    return {"tokens": [{"id": i, "piece": _piece(decoder.piece(i, special=True))} for i in ids]}


def vllm_tokens(
    ids: list[int], decoder: Decoder, facts: Facts, *, with_texts: bool
) -> dict[str, Any]:
    """An answer as vLLM has it."""
    texts = [decoder.piece(i, special=True).decode(errors="replace") for i in ids]
    return {
        "count": len(ids),
        "max_model_len": facts.context_size,
        "tokens": ids,
        "token_strs": texts if with_texts else None,
    }


def tokenizer_told(decoder: Decoder, facts: Facts) -> dict[str, Any]:
    """What ``/tokenizer_info`` tells."""

    def spelled(token: int) -> str:
        return decoder.piece(token, special=True).decode(errors="replace")

    beginning = decoder.tokenize("", add_special=True)
    end = decoder.end_of_text
    return {
        "tokenizer_class": "llama.cpp",
        "chat_template": facts.chat_template,
        "model_max_length": facts.context_size,
        "vocab_size": len(facts.pieces),
        "bos_token": spelled(beginning[0]) if beginning else None,
        "eos_token": None if end is None else spelled(end),
        "eos_tokens": [spelled(token) for token in sorted(facts.end_of_generation)],
    }


def _piece(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
