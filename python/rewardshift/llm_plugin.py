"""The model ``rewardshift`` of simonw/llm: ``llm -m rewardshift -o target big.gguf "Hello"``.

llm finds this by the package's entry point, and needs the extra ``llm``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import llm
from pydantic import Field, field_validator

from rewardshift.cli.shifting import shifts_of, strength_of
from rewardshift.decoder import Decoder
from rewardshift.serve.wire.extras import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rewardshift.chat.messages import Message
    from rewardshift.results import Completion


@llm.hookimpl  # type: ignore[untyped-decorator]  # llm is not there where types are checked
def register_models(register: Callable[..., None]) -> None:
    """Tells llm of the model."""
    register(AlignedModel())


class Options(llm.Options):  # type: ignore[misc]
    """What ``-o NAME VALUE`` sets, and ``llm models options set rewardshift NAME VALUE`` keeps."""

    target: str | None = Field(
        None,
        description="GGUF file of the model to sample from, or where it is on the hub; the "
        "embedded default if none",
    )
    shift: str | None = Field(
        None,
        description="Dials, or NAME=DRAFT.gguf:REFERENCE.gguf, with commas between; "
        "`rewardshift shifts` lists the dials",
    )
    strength: str | None = Field(
        None, description="Of the shift, of any sign: a number, or NAME=NUMBER with commas between"
    )
    n_ctx: int | None = Field(None, description="Tokens of context")
    temperature: float | None = Field(None, description="Of the goal distribution")
    max_tokens: int | None = Field(None, description="Most tokens of an answer")
    seed: int | None = Field(None, description="The same seed gives the same answer")

    @field_validator("strength", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """From Python it may be a number."""
        return str(value) if isinstance(value, (int, float)) else value

    @field_validator("shift", "strength")
    @classmethod
    def _require_form(cls, value: str | None, info: Any) -> str | None:  # noqa: ANN401 - pydantic's
        (shifts_of if info.field_name == "shift" else strength_of)(_words(value))
        return value

    def loading(self) -> dict[str, Any]:
        """What ``Decoder`` is opened with."""
        shifts = shifts_of(_words(self.shift)) or None
        return _given(target=self.target, shifts=shifts, n_ctx=self.n_ctx)

    def sampling(self) -> dict[str, Any]:
        """What requests are decoded with."""
        return _given(
            strength=strength_of(_words(self.strength)),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
        )


class AlignedModel(llm.Model):  # type: ignore[misc]
    """A target and its shifts, as llm asks them: in this process, without a server.

    What was loaded last stays loaded: the next message of a conversation finds what was read.
    """

    model_id = "rewardshift"
    can_stream = True
    supports_schema = True
    Options = Options

    def __init__(self) -> None:
        """Loads nothing yet."""
        self._decoder: Decoder | None = None
        self._loaded: dict[str, Any] = {}

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None,  # noqa: ARG002 - the prompt's messages have it
    ) -> Iterator[str]:
        """The pieces of an answer as they come; whole, where llm does not stream."""
        options: Options = prompt.options
        decoder = self._opened(options.loading())
        target, drafts = decoder.chat_prompts_by_shift([_message(m) for m in prompt.messages])
        asked = options.sampling() | _form(prompt.schema)
        pieces = []
        for chunk in decoder.stream(target, draft_prompt=drafts or None, **asked):
            if stream:
                yield chunk.text
            pieces.append(chunk.text)
            if chunk.completion is not None:
                _report(response, chunk.completion)
        if not stream:
            yield "".join(pieces)

    def _opened(self, loading: dict[str, Any]) -> Decoder:
        if self._decoder is None or loading != self._loaded:
            if self._decoder is not None:
                self._decoder.close()
                self._decoder = None
            self._decoder = Decoder(**loading)
            self._loaded = loading
        return self._decoder


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _given(**options: object) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _message(message: Any) -> Message:  # noqa: ANN401 - llm's
    """One of llm's messages; it has refused attachments and tools before."""
    texts = [part.text for part in message.parts if hasattr(part, "text")]
    return {"role": message.role, "content": "\n".join(texts)}


def _form(schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def _report(response: llm.Response, completion: Completion) -> None:
    """What `llm logs` keeps of an answer."""
    usage = completion.usage
    response.set_usage(
        input=usage["prompt_tokens"],
        output=usage["completion_tokens"],
        details=usage["completion_tokens_details"],
    )
    response.response_json = {
        "finish_reason": completion.finish_reason,
        "rewardshift": summary(completion),
    }
