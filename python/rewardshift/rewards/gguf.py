"""A reward model in a GGUF file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import StaysHere
from rewardshift.chat.template import template_of
from rewardshift.errors import ChatTemplateError
from rewardshift.loading.log import forward_log
from rewardshift.loading.models import load_model
from rewardshift.options import split_load_options
from rewardshift.text.spelling import Stretch
from rewardshift.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from rewardshift.chat.messages import Message
    from rewardshift.chat.template import ChatTemplate
    from rewardshift.options import LoadOptions
    from rewardshift.sources.hub import StrPath

    from .reward import Exchange


class GGUFRewardModel(StaysHere):
    """What a model's classification head says of an exchange, by llama.cpp's rank pooling.

    The head (``cls.output.weight``) reads the state at the last token; the score is one of its
    outputs. Exchanges are evaluated together, and what they begin with alike once: a response's
    longer and longer prefixes cost their new tokens only.

    llama.cpp has such heads for decoders of the architectures qwen3 and qwen3vl, and puts a softmax
    after them, so that the score is a probability. Encoders like BERT are refused, as everywhere
    in this package.

    Args:
        model: GGUF file.
        label: Which output is the score: its name in the file, or its number; the first unless
            given.
        form: What the model reads, with ``{prompt}`` and ``{response}`` in it; None is the model's
            chat template, with the exchange as a user's message and an assistant's.
        **options: As in ``rewardshift.options.LoadOptions``.

    Raises:
        ModelLoadError: If the file cannot be loaded, or has no head.
        ChatTemplateError: If there is neither ``form`` nor a chat template.
        ValueError: If there is no such label, or no response in the form.
    """

    def __init__(
        self,
        model: StrPath,
        *,
        label: str | int = 0,
        form: str | None = None,
        **options: Unpack[LoadOptions],
    ) -> None:
        """Loads the model."""
        if form is not None and "{response}" not in form:
            raise ValueError(f"the form has no {{response}} in it: {form!r}")
        model_options, context_options = split_load_options(options)
        self._model = load_model(model, model_options)
        self._vocabulary = Vocabulary(self._model)
        self._form = form
        self._template = None if form is not None else self._own_template()
        threads = context_options.n_threads or _core.usable_cores()
        context_options.n_threads = threads
        pool = _core.Threadpool(max(threads, context_options.n_threads_batch))
        self._classifier = _core.Classifier(self._model, context_options, pool)
        self._output = self._index(label)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the head's outputs; empty where the file has none."""
        return tuple(self._classifier.labels)

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges.

        Raises:
            ContextOverflowError: If one does not fit the context.
        """
        texts = [self._tokens(*exchange) for exchange in exchanges]
        try:
            return [outputs[self._output] for outputs in self._classifier.classify(texts)]
        finally:
            forward_log()

    def _own_template(self) -> ChatTemplate:
        template = template_of(self._vocabulary)
        if template is None:
            raise ChatTemplateError(
                f"{self._model.path} has no chat template; say what the model reads with form="
            )
        return template

    def _index(self, label: str | int) -> int:
        labels, count = self.labels, self._classifier.outputs
        if isinstance(label, str) and label in labels:
            return labels.index(label)
        if isinstance(label, int) and 0 <= label < count:
            return label
        named = f", named {', '.join(labels)}" if labels else ""
        raise ValueError(f"label must be one of the head's {count} outputs{named}, not {label!r}")

    def _tokens(self, prompt: str, response: str) -> list[int]:
        if self._template is not None:
            exchange: list[Message] = [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": response},
            ]
            stretches = self._template.stretches(exchange, add_generation_prompt=False)
            return self._vocabulary.ids_of(stretches)
        form = re.split(r"(\{prompt\}|\{response\})", self._form or "")
        parts = {"{prompt}": prompt, "{response}": response}
        shown = []
        for part in form:
            shown += (
                [Stretch(parts[part])] if part in parts else self._vocabulary.stretches_of(part)
            )
        return self._vocabulary.with_special(self._vocabulary.ids_of(shown))
