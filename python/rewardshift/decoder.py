"""The Pythonic face of the decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from .asking.conversing import Conversing
from .asking.given import given_files, given_models
from .asking.prompts import DraftPrompt, GivenPrompts, Prompt, many, many_of_role
from .boundary import require_truth, shown
from .dials.catalogue import ready_made_shift
from .embedded import default_roles
from .engine.lanes import CHUNK
from .loading.contexts import Contexts
from .loading.log import forward_log, show_log
from .loading.readers import load_panel
from .options import LoadOptions, SamplingOptions, request_params, split_load_options
from .readers import Panel, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self, Unpack

    from . import _core
    from .asking.given import ModelShift
    from .engine.engine import Stream
    from .results import Completion, Score
    from .shifts import Shift
    from .sources.hub import StrPath

Role = Literal["target", "draft", "reference"]


class Decoder(Conversing):
    """Samples from a target as if it had been aligned the way a small draft was.

    With ``target``, ``draft`` and ``reference`` it decodes pi* ∝ p · (q/r)^s by reward-shifted
    speculative sampling (Li et al., EMNLP 2025; rule "exact" is exactly pi*). With target and draft
    alone it is lossless speculative sampling of the target; with the target alone, plain decoding.

    Several shifts multiply: pi* ∝ p · prod_i (q_i/r_i)^s_i, each with a name, by which a request
    may give its strength: ``decoder.generate(prompt, strength={"ours": 1.5, "plain": -0.5})``.

    Whatever names the same file shares its weights. A model of another vocabulary than the target's
    reads the same text in its own tokens, and its own chat template; draft and reference of a shift
    must have one vocabulary.

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
        refined_tokens: int | None = None,
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
            shift: In place of draft and reference: the name of a dial, such as "positive"
                (``rewardshift shifts`` lists them); a ``Shift``, which is named "shift"; or
                several of these.
            shifts: Likewise, ``Shift`` by name.
            base: GGUF file of a small model like the target, or of a head on it, which drafts and
                shifts nothing.
            refined_tokens: How many of the target's most probable tokens models of other
                vocabularies weigh by all of their pieces there, as far as each has a share of 0.003
                of the target's mass; other tokens that they lack count by their first piece. Part
                of the law; None is 16.
            seed: For requests that name none; None draws one for each.
            progress: Whether to show progress bars on stderr; None shows them on a terminal.
            verbose: Whether to show llama.cpp's log on stderr. It goes to the logger
                ``rewardshift.llama`` either way.
            **options: As in ``rewardshift.options.LoadOptions``.

        Raises:
            ModelLoadError: If a file cannot be loaded or decoded with.
            VocabularyMismatchError: If draft and reference of a shift differ in their vocabularies;
                it names the first token.
            OutOfMemoryError: If the contexts do not fit the memory.
            ValueError: If the models given do not go together.

        Warns:
            LengthWarning: If ``n_ctx`` is more than requests as long as a role was trained for
                could fill. A request that may grow longer than that is warned of when it is made.
            VocabularyWarning: If a model of another vocabulary lacks many of the tokens that the
                target usually says.
        """
        require_truth(verbose=verbose)
        require_truth(progress=progress, or_none=True)
        if verbose:
            show_log()
        split_options = split_load_options(options)
        request_params({"seed": seed})  # which says now if that can be none
        if target is None:
            if any(x is not None for x in (draft, reference, draft_lora, shift, shifts, base)):
                raise ValueError(
                    "draft, reference and draft_lora need a target, and so do shifts and a base"
                )
            roles = default_roles()
            target, reference = roles["target"], roles["reference"]
            draft_lora = roles["draft_lora"]
        given = given_files(
            draft,
            reference,
            draft_lora=draft_lora,
            draft_lora_scale=draft_lora_scale,
            shift=shift,
            shifts=shifts,
            base=base,
            ready_made=ready_made_shift,
        )
        panel = load_panel(
            target,
            given.shifts,
            given.base,
            base_name=given.base_name,
            options=split_options,
            progress=progress,
        )
        panel = panel.refining(refined_tokens)
        self._models = {r.name: r.source for r in panel.readers if r.head is None}
        self._shifts = {
            name: replace(shift, strength=panel.shifts[name].strength, foreign_strength=None)
            for name, shift in given.shifts.items()
        }
        self._seed = seed
        self._contexts = contexts = Contexts(panel, split_options[1])
        self._open(panel, contexts.shared(), lambda: contexts.apart(n_batch=CHUNK))
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
        shifts: Mapping[str, ModelShift] | None = None,
        base: _core.LanguageModel | None = None,
        strengths: Mapping[str, float] | None = None,
        refined_tokens: int | None = None,
    ) -> Self:
        """A decoder over models that are no files, like ``TableModel``: prompts are token ids.

        Args:
            target: What to sample from.
            draft: Of the only shift; without a reference it drafts, and shifts nothing.
            reference: Likewise.
            shifts: In their place, draft and reference of each shift by its name, or its head.
            base: Drafts, and shifts nothing.
            strengths: Each shift's default, by name; 1 unless given.
            refined_tokens: As for ``Decoder``.

        Raises:
            TypeError: If one is no model.
            ValueError: If they do not go together.
        """
        self = cls.__new__(cls)
        self._models = {}
        self._seed = None
        self._contexts = None
        panel, self._shifts = given_models(
            target, draft, reference, shifts=shifts, base=base, strengths=strengths
        )
        panel = panel.refining(refined_tokens)
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
        model = whole._engine.models[name] if contexts is None else contexts.own(name)

        def open_apart() -> dict[str, _core.LanguageModel]:
            assert contexts is not None  # noqa: S101 - or nobody would ask
            return {"target": contexts.own_apart(name, n_batch=CHUNK)}

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
        are several shifts, readers are named as in ``work``. It speaks the model's own vocabulary.
        The two decoders count as one for threads. Each is closed for itself; the memory is returned
        when both are.

        Raises:
            ValueError: If there is no such reader.
        """
        _ = self._engine.core  # closed?
        alone = [r.name for r in self._engine.panel.readers if r.head is None and r.role != "head"]
        if role not in alone:
            raise ValueError(f"there is no {shown(role)} here, only {', '.join(alone)}")
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
        given = _batch(prompts, draft_prompts, reference_prompts, add_special, parse_special)
        return self._engine.finish(self._requests.submit_many(given, options))

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

    def submit_batch(
        self,
        prompts: Iterable[Prompt],
        *,
        draft_prompts: Iterable[DraftPrompt | None] | None = None,
        reference_prompts: Iterable[Prompt | None] | None = None,
        add_special: bool = True,
        parse_special: bool = True,
        **options: Unpack[SamplingOptions],
    ) -> list[int]:
        """Queues a request for each prompt, all of them or none; returns their ids.

        Arguments as ``generate_batch``: request i draws from substream i of the seed.
        """
        given = _batch(prompts, draft_prompts, reference_prompts, add_special, parse_special)
        return self._requests.submit_many(given, options, claimed=False)

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
            **options: Those that shape the goal, and ``top_logprobs``; the temperature is 1 unless
                given, and at 0 the scores are those of temperature 1, as for generated tokens.

        Raises:
            TypeError: Also for options that would be ignored, such as ``max_tokens``.
        """
        given = GivenPrompts(prompt, draft_prompt, reference_prompt, add_special, parse_special)
        return self._requests.score(given, continuation, options)


def _batch(
    prompts: Iterable[Prompt],
    draft_prompts: Iterable[DraftPrompt | None] | None,
    reference_prompts: Iterable[Prompt | None] | None,
    add_special: bool,
    parse_special: bool,
) -> list[GivenPrompts]:
    """The prompts of a batch, one by one."""
    targets = many(prompts, "prompts")
    drafts: list[DraftPrompt | None] = many_of_role(
        draft_prompts, "draft_prompts", requests=len(targets)
    )
    references: list[Prompt | None] = many_of_role(
        reference_prompts, "reference_prompts", requests=len(targets)
    )
    return [
        GivenPrompts(target, draft, reference, add_special, parse_special)
        for target, draft, reference in zip(targets, drafts, references, strict=True)
    ]
