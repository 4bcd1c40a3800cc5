"""What users ask for becomes requests of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from rewardshift.boundary import warn
from rewardshift.errors import LengthWarning
from rewardshift.grammar import GRAMMAR_OPTIONS, grammar_of
from rewardshift.options import (
    GOAL_OPTIONS,
    is_deterministic,
    request_params,
    require_score_options,
)
from rewardshift.results import Score

from .prompts import GivenPrompts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rewardshift import _core
    from rewardshift.engine.engine import Engine
    from rewardshift.grammar import Vocabulary
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Completion

    from .prompts import Prompt, Prompts


class Requests:
    """Submits what is asked of one decoder."""

    def __init__(
        self,
        engine: Engine,
        prompts: Prompts,
        *,
        grammars: Vocabulary,
        seed: int | None,
        trained: Mapping[str, int],
    ) -> None:
        """Of an engine.

        Args:
            engine: What decodes.
            prompts: What its roles can read.
            grammars: What grammars are over.
            seed: For requests that name none.
            trained: Tokens that the readers were trained for, as far as known.
        """
        self._trained = trained
        self._engine = engine
        self._prompts = prompts
        self._grammars = grammars
        self._seed = seed
        self._panel = engine.panel
        self._shifts = tuple(engine.panel.shifts)

    def submit(self, given: GivenPrompts, options: SamplingOptions, *, claimed: bool = True) -> int:
        """Queues one request; returns its id."""
        params = request_params(self._with_seed(options), self._shifts)
        params.grammar = grammar_of(options, self._grammars)
        return self._submit(given, options, params, claimed=claimed)

    def submit_many(
        self, many: Sequence[GivenPrompts], options: SamplingOptions, *, claimed: bool = True
    ) -> list[int]:
        """Queues requests that draw from streams of one seed: all of them, or none."""
        if isinstance(stop := options.get("stop"), Iterator):  # which is read once
            options = {**options, "stop": list(stop)}
        common = request_params(self._with_seed(options), self._shifts)
        common.grammar = grammar_of(options, self._grammars)
        requests: list[int] = []
        try:
            for i, given in enumerate(many):
                params = request_params(self._with_seed(options), self._shifts)
                params.substream += i
                params.seed, params.reproducible = common.seed, common.reproducible
                params.grammar = common.grammar
                requests.append(self._submit(given, options, params, claimed=claimed))
        except BaseException:
            self._engine.abandon(requests)
            raise
        return requests

    def score(self, given: GivenPrompts, continuation: Prompt, options: SamplingOptions) -> Score:
        """Scores a continuation.

        Raises:
            TypeError: For options that shape no law.
            ValueError: For a continuation that leaves its grammar before its last token.
        """
        require_score_options(options)
        self._require_shiftable(given, options)
        tokens = self._prompts.ids(
            continuation, add_special=False, parse_special=given.parse_special
        )
        params = request_params({"temperature": 1.0, **options}, self._shifts)
        params.grammar = grammar_of(options, self._grammars)
        _require_within(params.grammar, tokens)
        read = self._prompts.of_readers(given, self._panel)
        self._warn_of_length(read, len(tokens))
        scores = self._engine.core.score(read, tokens, params)
        return Score.from_core(scores, tokens, self._panel)

    def _submit(
        self,
        given: GivenPrompts,
        options: SamplingOptions,
        params: _core.RequestParams,
        *,
        claimed: bool,
    ) -> int:
        self._require_shiftable(given, options)
        read = self._prompts.of_readers(given, self._panel)
        most = params.max_tokens
        self._warn_of_length(read, self._engine.core.context_size if most < 0 else most)
        follows_costs = params.num_draft_tokens is None and not params.reproducible
        is_weighed = params.drafter is not None or params.prompt_lookup
        if is_weighed and follows_costs and self._prompts.has_text:
            self._engine.calibrate_once()  # where there is a draft, loading it did
        echoes = options.get("echo", False)
        return self._engine.submit(
            read,
            params,
            apart=is_deterministic(self._with_seed(options)),
            claimed=claimed,
            opening=self._shown(given, read) if echoes else "",
            complete=self._prepended(read, options) if echoes else None,
        )

    def _shown(self, given: GivenPrompts, read: list[list[int]]) -> str:
        """The target's prompt as text: as it was given, or as its ids spell it."""
        if isinstance(given.target, str):
            return given.target
        return self._prompts.text(read[0], special=True)

    def _prepended(
        self, read: list[list[int]], options: SamplingOptions
    ) -> Callable[[Completion], Completion]:
        """What ``echo`` makes of a completion: the prompt, scored beforehand, comes first."""
        prompt = read[0]
        scores = None
        if len(prompt) > 1:
            shaping = GOAL_OPTIONS.difference(GRAMMAR_OPTIONS)  # a grammar is the response's
            goal = cast("SamplingOptions", {k: v for k, v in options.items() if k in shaping})
            scores = self.score(GivenPrompts(prompt[:1]), prompt[1:], goal)

        def prepend(completion: Completion) -> Completion:
            return replace(completion, tokens=(*prompt, *completion.tokens), prompt_scores=scores)

        return prepend

    def _require_shiftable(self, given: GivenPrompts, options: SamplingOptions) -> None:
        """A prompt that would shift nothing is a mistake to point out."""
        lossless = options.get("strength") == 0 or options.get("rule") == "speculative"
        is_base = not self._panel.shifts and self._panel.draft is not None
        if given.draft is not None and is_base and not lossless:
            raise ValueError(
                "to shift by prompt the Decoder needs a reference: give it the draft's file as "
                "reference too, or strength=0 to draft without a shift"
            )

    def _warn_of_length(self, read: list[list[int]], more: int) -> None:
        """Warns where a request may be longer than what a reader was trained for."""
        for own, reader in zip(read, self._panel.names, strict=True):
            trained = self._trained.get(reader, 0)
            prompt = own or read[0]
            longest = min(len(prompt) + more, self._engine.core.context_size)
            if 0 < trained < longest:
                warn(
                    f"this request may have {longest} tokens (n_ctx, max_tokens), and the {reader} "
                    f"was trained for {trained}: what it says beyond them may be poor",
                    LengthWarning,
                )

    def _with_seed(self, options: SamplingOptions) -> SamplingOptions:
        return options if "seed" in options else {**options, "seed": self._seed}


def _require_within(grammar: _core.Grammar | None, tokens: Sequence[int]) -> None:
    """Raises ValueError where the goal has no law for the last token: nothing may follow there."""
    if grammar is None or not tokens or grammar.start().count_after(list(tokens[:-1])):
        return
    walk = grammar.start()
    left = next(i for i in range(len(tokens)) if not walk.count_after(list(tokens[:i])))
    raise ValueError(
        f"the continuation has left its grammar, or ended, with token {left} of {len(tokens)}: "
        "what follows has no probability"
    )
