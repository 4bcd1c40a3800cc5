"""The Pythonic face of the decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from . import _core
from .asking.opened import Opened
from .asking.prompts import DraftPrompt, GivenPrompts, Prompt, many, many_of_role
from .boundary import require_truth, shown
from .embedded import default_roles, ready_made_shift
from .engine.lanes import CHUNK
from .loading.contexts import Contexts
from .loading.log import forward_log, show_log
from .loading.readers import load_panel
from .options import LoadOptions, SamplingOptions, request_params, split_load_options
from .readers import Pair, Panel, Reader, panel_of
from .shifts import CLASSIC, Shift, classic_pair, require_files, require_shift_name, shifts_by_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self, Unpack

    from .chat.messages import Messages, Tools
    from .engine.engine import Stream
    from .results import Completion, Score
    from .sources.hub import StrPath

Role = Literal["target", "draft", "reference"]


class Decoder(Opened):
    """Samples from a target as if it had been aligned the way a small draft was.

    With ``target``, ``draft`` and ``reference`` it decodes pi* ∝ p · (q/r)^s by reward-shifted
    speculative sampling (Li et al., EMNLP 2025; rule "exact" is exactly pi*). With target and draft
    alone it is lossless speculative sampling of the target; with the target alone, plain decoding.

    Several shifts multiply: pi* ∝ p · prod_i (q_i/r_i)^s_i, each with a name, by which a request
    may give its strength: ``decoder.generate(prompt, strength={"ours": 1.5, "plain": -0.5})``.

    Whatever names the same file shares its weights. All files must have one vocabulary.

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
        shift: str | Shift | Iterable[str | Shift] | None = None,
        shifts: Mapping[str, Shift] | None = None,
        base: StrPath | None = None,
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
            shift: In place of draft and reference: "positive", the pair that comes with the
                package, for targets of its vocabulary; a ``Shift``, which is named "shift"; or
                several of these.
            shifts: Likewise, ``Shift`` by name.
            base: GGUF file of a small model like the target, which drafts and shifts nothing.
            seed: For requests that name none; None draws one for each.
            progress: Whether to show progress bars on stderr; None shows them on a terminal.
            verbose: Whether to show llama.cpp's log on stderr. It goes to the logger
                ``rewardshift.llama`` either way.
            **options: As in ``rewardshift.options.LoadOptions``.

        Raises:
            ModelLoadError: If a file cannot be loaded or decoded with.
            VocabularyMismatchError: If the roles' vocabularies differ; it names the first token.
            OutOfMemoryError: If the contexts do not fit the memory.
            ValueError: If the models given do not go together.

        Warns:
            LengthWarning: If ``n_ctx`` is more than requests as long as a role was trained for
                could fill. A request that may grow longer than that is warned of when it is made.
        """
        require_truth(verbose=verbose)
        require_truth(progress=progress, or_none=True)
        if verbose:
            show_log()
        split_options = split_load_options(options)
        request_params({"seed": seed})  # which says now if that can be none
        if target is None:
            given = (draft, reference, draft_lora, shift, shifts, base)
            if any(model is not None for model in given):
                raise ValueError(
                    "draft, reference and draft_lora need a target, and so do shifts and a base"
                )
            roles = default_roles()
            target, reference = roles["target"], roles["reference"]
            draft_lora = roles["draft_lora"]
        pair = classic_pair(draft, reference, draft_lora, draft_lora_scale)
        named = shifts_by_name(shift, shifts, ready_made=ready_made_shift)
        base_name = "base"
        if pair is not None or draft is not None:
            if named or shift is not None or shifts is not None:
                raise ValueError("give draft and reference, or shift, or shifts: one of the three")
            if pair is not None:
                named = {CLASSIC: pair}
            elif base is not None:
                raise ValueError("a draft without a reference is a base: give draft or base")
            else:
                base, base_name = draft, "draft"
        require_files(target=target, base=base)
        model_options, context_options = split_options
        panel = load_panel(
            target,
            named,
            base,
            base_name=base_name,
            options=(model_options, context_options),
            progress=progress,
        )
        self._models = {reader.name: reader.source for reader in panel.readers}
        self._shifts = named
        self._seed = seed
        self._contexts = contexts = Contexts(panel, context_options)
        self._open(panel, contexts.shared(), lambda: contexts.apart(panel.names, n_batch=CHUNK))
        if len(panel.readers) > 1:
            self._engine.calibrate()
        forward_log()

    @classmethod
    def from_models(
        cls,
        target: _core.LanguageModel,
        draft: _core.LanguageModel | None = None,
        reference: _core.LanguageModel | None = None,
        *,
        shifts: Mapping[str, tuple[_core.LanguageModel, _core.LanguageModel]] | None = None,
        base: _core.LanguageModel | None = None,
        strengths: Mapping[str, float] | None = None,
    ) -> Self:
        """A decoder over models that are no files, like ``TableModel``: prompts are token ids.

        Args:
            target: What to sample from.
            draft: Of the only shift; without a reference it drafts, and shifts nothing.
            reference: Likewise.
            shifts: In their place, draft and reference of each shift by its name.
            base: Drafts, and shifts nothing.
            strengths: Each shift's default, by name; 1 unless given.

        Raises:
            TypeError: If one is no model.
            ValueError: If they do not go together.
        """
        self = cls.__new__(cls)
        self._models = {}
        self._seed = None
        self._contexts = None
        base_name = "base"
        given: dict[str, tuple[_core.LanguageModel, _core.LanguageModel]]
        if shifts is not None:
            if draft is not None or reference is not None:
                raise ValueError("give draft and reference, or shifts, not both")
            given = _pairs(shifts)
        elif draft is not None and reference is not None:
            given = {CLASSIC: (draft, reference)}
        elif reference is not None:
            raise ValueError("a reference needs a draft to be the reference of")
        else:
            given = {}
            if draft is not None:
                if base is not None:
                    raise ValueError("a draft without a reference is a base: give draft or base")
                base, base_name = draft, "draft"
        defaults = dict.fromkeys(given, 1.0)
        for name, strength in (strengths or {}).items():
            if name not in given:
                known = ", ".join(given) or "none"
                raise ValueError(f"strengths names {shown(name)}, and of shifts there are {known}")
            defaults[name] = strength
        self._shifts = {name: Shift(*pair, strength=defaults[name]) for name, pair in given.items()}
        panel = panel_of(
            target,
            {name: Pair(*pair, float(defaults[name])) for name, pair in given.items()},
            base,
            base_name=base_name,
        )
        for reader in panel.readers:
            if not isinstance(reader.source, _core.LanguageModel):
                raise TypeError(
                    f"the {reader.name} must be a model like TableModel, not {shown(reader.source)}"
                )
        self._open(panel, {reader.name: reader.source for reader in panel.readers})
        return self

    @classmethod
    def _of_reader(cls, whole: Decoder, name: str) -> Self:
        """What ``alone`` gives."""
        self = cls.__new__(cls)
        self._models = {"target": whole._models[name]} if whole._models else {}
        self._shifts = {}
        self._seed = whole._seed
        self._contexts = contexts = whole._contexts
        model = whole._engine.models[name]

        def open_apart() -> dict[str, _core.Context]:
            assert contexts is not None  # noqa: S101 - or nobody would ask
            return {"target": contexts.apart([name], n_batch=CHUNK)[name]}

        self._open(
            Panel((Reader("target", "target", model),)),
            {"target": model},
            None if contexts is None else open_apart,
            lock=whole._engine.lock,
        )
        return self

    def alone(self, role: Role | str) -> Self:
        """A decoder of one reader's model by itself, with the same weights and the same cache.

        It samples from, and scores with, the draft, the reference or the target alone; where there
        are several shifts, readers are named as in ``work``. The two decoders count as one for
        threads. Each is closed for itself; the memory is returned when both are.

        Raises:
            ValueError: If there is no such reader.
        """
        models = self._engine.models
        if not isinstance(role, str) or role not in models:
            raise ValueError(f"there is no {shown(role)} here, only {', '.join(models)}")
        return self._of_reader(self, role)

    # --- whole responses ----------------------------------------------------------------------

    def generate(
        self,
        prompt: Prompt,
        *,
        draft_prompt: DraftPrompt | None = None,
        reference_prompt: Prompt | None = None,
        add_special: bool = True,
        parse_special: bool = True,
        **options: Unpack[SamplingOptions],
    ) -> Completion:
        """Generates one response.

        Args:
            prompt: What the target sees, as text or token ids.
            draft_prompt: What the draft sees instead, to shift by prompt; with several shifts, a
                mapping from their names to what their drafts see.
            reference_prompt: What the reference sees instead, where there is one shift.
            add_special: Whether text gets the begin- and end-of-text tokens that the model wants,
                where it does not have them already.
            parse_special: Whether control tokens are recognised in text.
            **options: As in ``rewardshift.options.SamplingOptions``.

        Raises:
            ContextOverflowError: If the prompt leaves no room for a token.
            EvaluationError: If a model's logits are not a distribution.
        """
        given = GivenPrompts(prompt, draft_prompt, reference_prompt, add_special, parse_special)
        request = self._requests.submit(given, options)
        return self._engine.finish([request])[0]

    def generate_batch(
        self,
        prompts: Iterable[Prompt],
        *,
        draft_prompts: Iterable[DraftPrompt | None] | None = None,
        reference_prompts: Iterable[Prompt | None] | None = None,
        add_special: bool = True,
        parse_special: bool = True,
        **options: Unpack[SamplingOptions],
    ) -> list[Completion]:
        """Generates a response to each prompt, decoding them together.

        Request i draws from substream i of the seed: its random numbers do not depend on the
        others. Where a seed is given, requests are ``deterministic``, one after another; with
        ``deterministic=False`` they share batches, which is faster.
        The arguments are those of ``generate``, with any iterable of prompts for each role; None
        among a role's is the target's.

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
        targets = many(prompts, "prompts")
        drafts = many_of_role(draft_prompts, "draft_prompts", requests=len(targets))
        references = many_of_role(reference_prompts, "reference_prompts", requests=len(targets))
        given = [
            GivenPrompts(*of_roles, add_special, parse_special)
            for of_roles in zip(targets, drafts, references, strict=True)
        ]
        return self._engine.finish(self._requests.submit_many(given, options))

    def chat(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Completion:
        """Answers a conversation, rendered by the target's own chat template.

        What messages say is text: control tokens that they spell are not recognised.

        Args:
            messages: Any iterable of ``Message``: ``{"role": ..., "content": ...}`` each.
            draft_system: The system message that only the draft of the one shift there is sees, to
                shift by prompt; unless given, each ``Shift``'s own.
            tools: What the model may call, as JSON schemas, for the template.
            chat_template_kwargs: What else the template is to know, by name.
            **options: As in ``rewardshift.options.SamplingOptions``.

        Raises:
            ChatTemplateError: If the target has no chat template, or it refuses the messages.
        """
        target, drafts = self.chat_prompts_by_shift(
            messages,
            draft_system=draft_system,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        return self.generate(target, draft_prompt=self._of_drafts(drafts), **options)

    # --- responses as they grow ---------------------------------------------------------------

    def stream(
        self,
        prompt: Prompt,
        *,
        draft_prompt: DraftPrompt | None = None,
        reference_prompt: Prompt | None = None,
        add_special: bool = True,
        parse_special: bool = True,
        **options: Unpack[SamplingOptions],
    ) -> Stream:
        """Like ``generate``, but yields each step's chunk; the last one has the completion.

        Closing or dropping the stream cancels the request.
        """
        given = GivenPrompts(prompt, draft_prompt, reference_prompt, add_special, parse_special)
        return self._engine.follow(self._requests.submit(given, options))

    def stream_chat(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> Stream:
        """Like ``chat``, but yields each step's chunk; the last one has the completion."""
        target, drafts = self.chat_prompts_by_shift(
            messages,
            draft_system=draft_system,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        return self.stream(target, draft_prompt=self._of_drafts(drafts), **options)

    # --- for applications with a loop of their own ---------------------------------------------

    def submit(
        self,
        prompt: Prompt,
        *,
        draft_prompt: DraftPrompt | None = None,
        reference_prompt: Prompt | None = None,
        add_special: bool = True,
        parse_special: bool = True,
        **options: Unpack[SamplingOptions],
    ) -> int:
        """Queues a request and returns its id; ``step`` advances it. Arguments as ``generate``."""
        given = GivenPrompts(prompt, draft_prompt, reference_prompt, add_special, parse_special)
        return self._requests.submit(given, options, claimed=False)

    def chat_prompts(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[list[int], list[int] | None]:
        """What ``chat`` submits: the target's prompt, and the draft's if it sees another one.

        Arguments and errors as ``chat``.

        Raises:
            ValueError: Also where there are several shifts: see ``chat_prompts_by_shift``.
        """
        target, drafts = self.chat_prompts_by_shift(
            messages,
            draft_system=draft_system,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        if drafts and len(self._shifts) > 1:
            raise ValueError(f"chat_prompts is for one shift, and here are {_list(self._shifts)}")
        return target, next(iter(drafts.values()), None)

    def chat_prompts_by_shift(
        self,
        messages: Messages,
        *,
        draft_system: str | None = None,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[list[int], dict[str, list[int]]]:
        """The same with a prompt for each draft that sees another one, by the shift's name.

        ``generate`` takes them as ``prompt`` and ``draft_prompt``.
        """
        return self._prompts.of_messages(
            messages,
            draft_systems=self._draft_systems(draft_system),
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )

    def _of_drafts(self, prompts: dict[str, list[int]]) -> DraftPrompt | None:
        """These as ``draft_prompt``; a decoder without shifts says what it thinks of them."""
        if self._shifts:
            return prompts or None
        return next(iter(prompts.values()), None)

    def _draft_systems(self, given: str | None) -> dict[str, str]:
        """The system messages that only drafts see, by shift."""
        if given is None:
            own = {name: shift.draft_system for name, shift in self._shifts.items()}
            return {name: system for name, system in own.items() if system is not None}
        if len(self._shifts) > 1:
            raise ValueError(
                f"draft_system is for one shift, and here are {_list(self._shifts)}: give each "
                "Shift its own"
            )
        return {next(iter(self._shifts), CLASSIC): given}

    # --- scoring ------------------------------------------------------------------------------

    def score(
        self,
        prompt: Prompt,
        continuation: Prompt,
        *,
        draft_prompt: DraftPrompt | None = None,
        reference_prompt: Prompt | None = None,
        add_special: bool = True,
        parse_special: bool = True,
        **options: Unpack[SamplingOptions],
    ) -> Score:
        """Log-probabilities of a continuation under each role and pi*, and the implicit reward.

        Args:
            prompt: What the target sees before it.
            continuation: Text (tokenised on its own, without a begin-of-text token) or token ids.
            draft_prompt: What the draft sees instead, to shift by prompt; with several shifts, a
                mapping from their names to what their drafts see.
            reference_prompt: What the reference sees instead, where there is one shift.
            add_special: As for ``generate``; the continuation gets no such tokens.
            parse_special: As for ``generate``, in the continuation too.
            **options: Those that shape the goal; the temperature is 1 unless given, and at 0 the
                scores are those of temperature 1, as for generated tokens.

        Raises:
            TypeError: Also for options that would be ignored, such as ``max_tokens``.
        """
        given = GivenPrompts(prompt, draft_prompt, reference_prompt, add_special, parse_special)
        return self._requests.score(given, continuation, options)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _pairs(
    shifts: object,
) -> dict[str, tuple[_core.LanguageModel, _core.LanguageModel]]:
    """Draft and reference by the shift's name, checked."""
    if not isinstance(shifts, Mapping):
        raise TypeError(f"shifts must be a mapping from names to pairs, not {shown(shifts)}")
    for name, pair in shifts.items():
        require_shift_name(name)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"shift {name!r} must be a draft and a reference, not {shown(pair)}")
    return {name: (pair[0], pair[1]) for name, pair in shifts.items()}
