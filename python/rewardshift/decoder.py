"""The Pythonic face of the decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from .embedded import default_roles
from .engine import Engine, Stream
from .lanes import CHUNK
from .loading.log import forward_log, show_log
from .loading.roles import load_roles
from .options import (
    LoadOptions,
    SamplingOptions,
    is_deterministic,
    request_params,
    split_load_options,
)
from .prompts import Prompt, Prompts
from .results import Chunk, Completion, Score, Work

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from . import _core
    from .chat.template import Message
    from .loading.contexts import Contexts
    from .sources.hub import StrPath

Role = Literal["target", "draft", "reference"]


class Decoder:
    """Samples from a target as if it had been aligned the way a small draft was.

    With ``target``, ``draft`` and ``reference`` it decodes pi* ∝ p · (q/r)^s by reward-shifted
    speculative sampling (Li et al., EMNLP 2025; rule "exact" is exactly pi*). With target and draft
    alone it is lossless speculative sampling of the target; with the target alone, plain decoding.

    Roles that name the same file share its weights. All three files must have one vocabulary.

    Not for several threads at once: a call while another thread is inside raises ``Error``. Many
    requests at once are decoded together: see ``generate_batch`` and ``submit``.

    Example:
        >>> import numpy as np
        >>> from rewardshift import Decoder, TableModel
        >>> def model(*logits):
        ...     return TableModel(np.array([logits], dtype=np.float32))
        >>> target, draft, reference = model(1, 2, 0), model(3, 0, 0), model(0, 0, 0)
        >>> with Decoder.from_models(target, draft, reference) as decoder:
        ...     decoder.generate([0], max_tokens=4, temperature=0).tokens
        (0, 0, 0, 0)
    """

    def __init__(
        self,
        target: StrPath | None = None,
        draft: StrPath | None = None,
        reference: StrPath | None = None,
        *,
        draft_lora: StrPath | None = None,
        draft_lora_scale: float | None = None,
        seed: int | None = None,
        progress: bool | None = None,
        verbose: bool = False,
        **options: Unpack[LoadOptions],
    ) -> None:
        """Loads the models: the embedded pair and its target unless any is given.

        A file may also be named by where it is on the hub: ``owner/repo:file.gguf``, or pinned to a
        revision, ``owner/repo@revision:file.gguf``.

        Args:
            target: GGUF file of p, the model to sample from. None, and no other file, is the
                embedded default, ``rewardshift.embedded()``; a line on stderr says so.
            draft: GGUF file of q, small and aligned.
            reference: GGUF file of r, the draft before its alignment.
            draft_lora: GGUF file of a LoRA adapter: the draft is then the reference (or the draft's
                file, if only that is given) with the adapter, on one copy of the weights.
            draft_lora_scale: Factor on the adapter; 1 unless given.
            seed: For requests that name none; None draws one for each.
            progress: Whether to show progress bars on stderr; None shows them on a terminal.
            verbose: Whether to show llama.cpp's log on stderr. It goes to the logger
                ``rewardshift.llama`` either way.
            **options: As in ``rewardshift.options.LoadOptions``.

        Raises:
            ModelLoadError: If a file cannot be loaded or decoded with.
            VocabularyMismatchError: If the roles' vocabularies differ; it names the first token.
            OutOfMemoryError: If the contexts do not fit the memory.
        """
        if verbose:
            show_log()
        split_options = split_load_options(options)
        if target is None:
            if (draft, reference, draft_lora) != (None, None, None):
                raise ValueError("draft, reference and draft_lora need a target")
            roles = default_roles()
            target, reference = roles["target"], roles["reference"]
            draft_lora = roles["draft_lora"]
        files = {"target": target, "draft": draft, "reference": reference, "draft_lora": draft_lora}
        models, contexts = load_roles(
            files, draft_lora_scale=draft_lora_scale, options=split_options, progress=progress
        )
        self._models = models
        self._seed = seed
        self._contexts: Contexts | None = contexts
        self._open(contexts.shared(), lambda: contexts.apart(models, n_batch=CHUNK))
        if "draft" in models:
            self._engine.calibrate()
        forward_log()

    @classmethod
    def from_models(
        cls,
        target: _core.LanguageModel,
        draft: _core.LanguageModel | None = None,
        reference: _core.LanguageModel | None = None,
    ) -> Self:
        """A decoder over models that are no files, like ``TableModel``: prompts are token ids."""
        self = cls.__new__(cls)
        self._models = {}
        self._seed = None
        self._contexts = None
        roles = {"target": target, "draft": draft, "reference": reference}
        self._open({role: model for role, model in roles.items() if model is not None})
        return self

    @classmethod
    def _of_role(cls, whole: Decoder, role: str) -> Self:
        """What ``alone`` gives."""
        self = cls.__new__(cls)
        self._models = {"target": whole._models[role]} if whole._models else {}
        self._seed = whole._seed
        self._contexts = contexts = whole._contexts

        def open_apart() -> dict[str, _core.Context]:
            assert contexts is not None  # noqa: S101 - or nobody would ask
            return {"target": contexts.apart([role], n_batch=CHUNK)[role]}

        self._open(
            {"target": whole._engine.models[role]},
            None if contexts is None else open_apart,
            lock=whole._engine.lock,
        )
        return self

    def alone(self, role: Role) -> Self:
        """A decoder of one role's model by itself, with the same weights and the same cache.

        It samples from, and scores with, the draft, the reference or the target alone. The two
        decoders count as one for threads. Each is closed for itself; the memory is returned when
        both are.

        Raises:
            ValueError: If there is no such role.
        """
        models = self._engine.models
        if role not in models:
            raise ValueError(f"there is no {role!r} here, only {', '.join(models)}")
        return self._of_role(self, role)

    def _open(
        self,
        models: Mapping[str, _core.LanguageModel],
        open_apart: Callable[[], Mapping[str, _core.Context]] | None = None,
        *,
        lock: threading.RLock | None = None,
    ) -> None:
        self._engine = Engine(models, open_apart=open_apart, lock=lock)
        self._roles = set(self._engine.models)
        core = self._engine.core
        self._own_prompts: Prompts | None = Prompts(
            self._models.get("target"), vocab_size=core.vocab_size, piece=core.piece
        )

    # --- whole responses ----------------------------------------------------------------------

    def generate(
        self,
        prompt: Prompt,
        *,
        draft_prompt: Prompt | None = None,
        reference_prompt: Prompt | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Completion:
        """Generates one response.

        Args:
            prompt: What the target sees, as text or token ids.
            draft_prompt: What the draft sees instead, to shift by prompt.
            reference_prompt: What the reference sees instead.
            **options: As in ``rewardshift.options.SamplingOptions``.

        Raises:
            ContextOverflowError: If the prompt leaves no room for a token.
            EvaluationError: If a model's logits are not a distribution.
        """
        request = self._submit(prompt, draft_prompt, reference_prompt, options)
        return self._engine.finish([request])[0]

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        *,
        draft_prompts: Sequence[Prompt] | None = None,
        reference_prompts: Sequence[Prompt] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> list[Completion]:
        """Generates a response to each prompt, decoding them together.

        Request i draws from substream i of the seed: its random numbers do not depend on the
        others. Where a seed is given, requests are ``deterministic``, one after another; with
        ``deterministic=False`` they share batches, which is faster.
        The arguments are those of ``generate``, with a list of prompts for each role.

        Samples of one prompt can draft for each other through a table that they share (STAND): the
        responses follow the same law, in fewer rounds.

        Example:
            >>> import numpy as np
            >>> from rewardshift import Decoder, NgramTable, TableModel
            >>> target = TableModel(np.array([[0, 2, 1], [0, 1, 9], [0, 9, 0]], "f4"), order=1)
            >>> with Decoder.from_models(target) as decoder:
            ...     samples = decoder.generate_batch(
            ...         [[0]] * 20,
            ...         drafter=NgramTable(),
            ...         num_draft_tokens=5,
            ...         tree_width=3,
            ...         max_tokens=12,
            ...         seed=0,
            ...     )
            >>> samples[0].statistics.rounds > samples[-1].statistics.rounds
            True
        """
        drafts = _as_many(draft_prompts, prompts, "draft_prompts")
        references = _as_many(reference_prompts, prompts, "reference_prompts")
        if isinstance(prompts, (str, bytes)):
            raise TypeError(f"generate_batch takes a list of prompts, not {prompts!r}")
        common = request_params(self._with_seed(options))
        requests: list[int] = []
        try:
            for i, (p, q, r) in enumerate(zip(prompts, drafts, references, strict=True)):
                requests.append(self._submit(p, q, r, options, place=i, seed_of=common))
        except BaseException:
            self._engine.abandon(requests)
            raise
        return self._engine.finish(requests)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        draft_system: str | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Completion:
        """Answers a conversation, rendered by the target's own chat template.

        Args:
            messages: ``{"role": ..., "content": ...}`` each.
            draft_system: The system message that only the draft sees, to shift by prompt.
            **options: As in ``rewardshift.options.SamplingOptions``.

        Raises:
            ChatTemplateError: If the target has no chat template, or it refuses the messages.
        """
        prompts = self.chat_prompts(messages, draft_system=draft_system)
        return self.generate(prompts[0], draft_prompt=prompts[1], **options)

    # --- responses as they grow ---------------------------------------------------------------

    def stream(
        self,
        prompt: Prompt,
        *,
        draft_prompt: Prompt | None = None,
        reference_prompt: Prompt | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Stream:
        """Like ``generate``, but yields each step's chunk; the last one has the completion.

        Closing or dropping the stream cancels the request.
        """
        request = self._submit(prompt, draft_prompt, reference_prompt, options)
        return self._engine.follow(request)

    def stream_chat(
        self,
        messages: Sequence[Message],
        *,
        draft_system: str | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Stream:
        """Like ``chat``, but yields each step's chunk; the last one has the completion."""
        prompts = self.chat_prompts(messages, draft_system=draft_system)
        return self.stream(prompts[0], draft_prompt=prompts[1], **options)

    # --- for applications with a loop of their own ---------------------------------------------

    def submit(
        self,
        prompt: Prompt,
        *,
        draft_prompt: Prompt | None = None,
        reference_prompt: Prompt | None = None,
        **options: Unpack[SamplingOptions],
    ) -> int:
        """Queues a request and returns its id; ``step`` advances it. Arguments as ``generate``."""
        return self._submit(prompt, draft_prompt, reference_prompt, options, claimed=False)

    def chat_prompts(
        self, messages: Sequence[Message], *, draft_system: str | None = None
    ) -> tuple[list[int], list[int] | None]:
        """What ``chat`` submits: the target's prompt, and the draft's if it sees another one.

        Arguments and errors as ``chat``.
        """
        return self._prompts.of_messages(messages, draft_system=draft_system)

    def step(self) -> list[Chunk]:
        """Advances all requests by one step and returns what is new, in order of submission.

        Empty when nothing became known (a long prompt takes several steps) and when there is
        nothing to do; ``has_work`` tells the two apart. Ctrl-C raises KeyboardInterrupt and loses
        nothing: the next step goes on.
        """
        return self._engine.step()

    def cancel(self, request: int) -> None:
        """Ends a request; its last chunk, with what there is, comes with the next step."""
        self._engine.cancel(request)

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return self._engine.has_work

    # --- scoring ------------------------------------------------------------------------------

    def score(
        self,
        prompt: Prompt,
        continuation: Prompt,
        *,
        draft_prompt: Prompt | None = None,
        reference_prompt: Prompt | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Score:
        """Log-probabilities of a continuation under each role and pi*, and the implicit reward.

        Args:
            prompt: What the target sees before it.
            continuation: Text (tokenised on its own, without a begin-of-text token) or token ids.
            draft_prompt: What the draft sees instead, to shift by prompt.
            reference_prompt: What the reference sees instead.
            **options: Those that shape the goal; the temperature is 1 unless given, and at 0 the
                scores are those of temperature 1, as for generated tokens.
        """
        self._require_shiftable(draft_prompt, reference_prompt, options)
        prompts = self._prompts
        tokens = prompts.ids(continuation, add_special=False)
        params = request_params({"temperature": 1.0, **options})
        scores = self._engine.core.score(
            prompts.ids(prompt),
            prompts.role_ids(draft_prompt),
            prompts.role_ids(reference_prompt),
            tokens,
            params,
        )
        return Score.from_core(scores, tokens, self._roles)

    # --- vocabulary ---------------------------------------------------------------------------

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Token ids of a text.

        Args:
            text: Any text.
            add_special: Whether to add the begin- and end-of-text tokens the model wants.
            parse_special: Whether control tokens are recognised in the text.

        Raises:
            ValueError: If the model has no tokenizer, or no tokens for the text.
        """
        return self._prompts.model.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of token ids; bytes that are no UTF-8 show as U+FFFD.

        Args:
            tokens: Ids.
            special: Whether control tokens show; those of models that are no files never do.
        """
        return self._prompts.text(tokens, special=special)

    @property
    def end_of_generation(self) -> tuple[int, ...]:
        """The ids that end a response; a ``logit_bias`` of -inf on them makes it go on."""
        if not self._models:
            models = self._engine.models.values()
            ids = range(self.vocab_size)
            return tuple(i for i in ids if any(model.is_end_of_generation(i) for model in models))
        return tuple(self._prompts.model.facts.end_of_generation)

    @property
    def context_size(self) -> int:
        """Tokens that all requests under way hold together."""
        return self._engine.core.context_size

    @property
    def vocab_size(self) -> int:
        """Ids below this are known to all roles."""
        return self._engine.core.vocab_size

    @property
    def work(self) -> dict[str, Work]:
        """What each role's model has evaluated so far, for whichever decoder and request.

        The difference of two readings is what lay between them. A model that plays two roles is
        counted once, as the first of target, draft and reference.
        """
        found: dict[int, tuple[str, Work]] = {}
        for role, model in self._engine.models.items():
            work = Work(model.evaluated_tokens, model.evaluated_batches)
            found.setdefault(id(model), (role, work))
        total = dict(found.values())
        for role, model in self._engine.own_models.items():
            work = Work(model.evaluated_tokens, model.evaluated_batches)
            total[role] = total[role] + work if role in total else work
        return total

    def forget(self) -> None:
        """Drops what the models' caches hold, so that what comes next is evaluated anew.

        It changes no result, only ``work`` and time: for comparisons in which nobody is to profit
        from the prompts that another one read.
        """
        self._engine.forget()

    # --- life ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Frees the models and their memory; every later call but this raises ``Error``."""
        self._engine.close()
        self._models = {}
        self._contexts = None
        self._own_prompts = None

    def __enter__(self) -> Self:
        """The decoder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    # --- how it is done -----------------------------------------------------------------------

    @property
    def _prompts(self) -> Prompts:
        _ = self._engine.core  # closed?
        return cast("Prompts", self._own_prompts)

    def _submit(
        self,
        prompt: Prompt,
        draft_prompt: Prompt | None,
        reference_prompt: Prompt | None,
        options: SamplingOptions,
        *,
        place: int = 0,
        seed_of: _core.RequestParams | None = None,
        claimed: bool = True,
    ) -> int:
        self._require_shiftable(draft_prompt, reference_prompt, options)
        prompts = self._prompts
        tokens = prompts.ids(prompt)
        params = request_params(self._with_seed(options))
        params.substream += place
        if seed_of is not None:
            params.seed, params.reproducible = seed_of.seed, seed_of.reproducible
        follows_costs = params.num_draft_tokens is None and not params.reproducible
        if params.drafter is not None and follows_costs and self._models:
            self._engine.calibrate_once()  # where there is a draft, loading it did
        complete = self._prepended(tokens, options) if options.get("echo") else None
        return self._engine.submit(
            tokens,
            prompts.role_ids(draft_prompt),
            prompts.role_ids(reference_prompt),
            params,
            apart=is_deterministic(self._with_seed(options)),
            claimed=claimed,
            complete=complete,
        )

    def _require_shiftable(
        self,
        draft_prompt: Prompt | None,
        reference_prompt: Prompt | None,
        options: SamplingOptions,
    ) -> None:
        """A prompt that would be for nobody, or shift nothing, is a mistake to point out."""
        if draft_prompt is not None and "draft" not in self._roles:
            raise ValueError("draft_prompt needs a draft model")
        if reference_prompt is not None and "reference" not in self._roles:
            raise ValueError("reference_prompt needs a reference model")
        lossless = options.get("strength") == 0 or options.get("rule") == "speculative"
        if draft_prompt is not None and "reference" not in self._roles and not lossless:
            raise ValueError(
                "to shift by prompt the Decoder needs a reference: give it the draft's file as "
                "reference too, or strength=0 to draft without a shift"
            )

    def _with_seed(self, options: SamplingOptions) -> SamplingOptions:
        return options if "seed" in options else {**options, "seed": self._seed}

    def _prepended(
        self, prompt: Sequence[int], options: SamplingOptions
    ) -> Callable[[Completion], Completion]:
        """What ``echo`` makes of a completion: the prompt, scored beforehand, comes first."""
        text = self.detokenize(prompt) if self._models else ""
        scores = None
        if len(prompt) > 1:
            shaping = cast("SamplingOptions", {k: v for k, v in options.items() if k in _SHAPING})
            scores = self.score(prompt[:1], prompt[1:], **shaping)

        def prepend(completion: Completion) -> Completion:
            return replace(
                completion,
                text=text + completion.text,
                tokens=(*prompt, *completion.tokens),
                prompt_scores=scores,
            )

        return prepend


_SHAPING = (
    *("strength", "rule", "temperature", "top_k", "top_p", "min_p", "logit_bias"),
    *("repeat_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n"),
)


def _as_many(
    given: Sequence[Prompt] | None, prompts: Sequence[Prompt], name: str
) -> Sequence[Prompt | None]:
    if given is None:
        return [None] * len(prompts)
    if len(given) != len(prompts):
        raise ValueError(f"{name} has {len(given)} prompts for {len(prompts)} requests")
    return given
