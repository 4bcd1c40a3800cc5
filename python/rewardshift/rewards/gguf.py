"""A reward model in a GGUF file."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import StaysHere
from rewardshift.chat.template import template_of
from rewardshift.errors import ChatTemplateError, HeadWarning
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

    The score is one of the head's outputs. llama.cpp has heads of two kinds of models:

    - Decoders (qwen3, qwen3vl): the head (``cls.output.weight``) reads the state at the last token,
      and a softmax makes the score a probability. The exchange is shown in the model's chat
      template. Exchanges are evaluated together, and what they begin with alike once: a response's
      longer and longer prefixes cost their new tokens only.
    - Encoders (bert, with RoBERTa and XLM-RoBERTa; modern-bert; jina-bert-v2; neo-bert): the head
      reads the state at the first token, or ModernBERT's mean of all, and the score is its output
      as it is. The exchange is a pair of texts, ``[CLS] prompt [SEP] response [SEP]``, with the
      model's own tokens in these places. Texts are evaluated one by one, whole: a score does not
      depend on other exchanges, to the last bit. A text longer than what the encoder was trained
      for is refused, not cut.

    llama.cpp's converter leaves out the pooler of a BertForSequenceClassification, the dense layer
    before its outputs: such a file scores something else than the model, and a ``HeadWarning`` says
    so. Where the pooler is there, as ``cls``, scores are the model's.

    Args:
        model: GGUF file.
        label: Which output is the score: its name in the file, or its number; the first unless
            given.
        form: What the model reads, with ``{prompt}`` and ``{response}`` in it, instead of the chat
            template or the pair; ``"{response}"`` is the response alone.
        **options: As in ``rewardshift.options.LoadOptions``. Those of a cache mean nothing to an
            encoder.

    Raises:
        ModelLoadError: If the file cannot be loaded, or has no head.
        ChatTemplateError: If there is neither ``form`` nor a chat template nor, in an encoder, a
            token between two texts.
        ValueError: If there is no such label, or no response in the form.

    Warns:
        HeadWarning: If a BERT's head has no dense layer.
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
        self._template = self._own_template() if form is None else None
        threads = context_options.n_threads or _core.usable_cores()
        context_options.n_threads = threads
        pool = _core.Threadpool(max(threads, context_options.n_threads_batch), context_options.poll)
        self._classifier = _core.Classifier(self._model, context_options, pool)
        self._output = self._index(label)
        self._warn_of_no_pooler()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the head's outputs; empty where the file has none."""
        return tuple(self._model.class_labels)

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

    def _own_template(self) -> ChatTemplate | None:
        """None is an encoder's pair."""
        if self._model.is_encoder:
            if self._vocabulary.pair("", "") is None:
                raise ChatTemplateError(
                    f"{self._model.path} names no token that separates two texts; say what the "
                    "model reads with form="
                )
            return None
        template = template_of(self._vocabulary)
        if template is None:
            raise ChatTemplateError(
                f"{self._model.path} has no chat template; say what the model reads with form="
            )
        return template

    def _warn_of_no_pooler(self) -> None:
        if self._model.facts.architecture == "bert" and not self._model.has_dense_head:
            warnings.warn(
                f"{self._model.path} has no dense layer (cls.weight) before its outputs: if the "
                "model had a pooler, llama.cpp's converter left it out, and scores are not the "
                "model's",
                HeadWarning,
                stacklevel=3,
            )

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
        if self._form is None:
            pair = self._vocabulary.pair(prompt, response)
            return [] if pair is None else pair
        form = re.split(r"(\{prompt\}|\{response\})", self._form)
        parts = {"{prompt}": prompt, "{response}": response}
        shown = []
        for part in form:
            shown += (
                [Stretch(parts[part])] if part in parts else self._vocabulary.stretches_of(part)
            )
        return self._vocabulary.with_special(self._vocabulary.ids_of(shown))
