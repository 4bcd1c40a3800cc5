"""What users ask for becomes requests of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from rewardshift.boundary import warn
from rewardshift.errors import LengthWarning
from rewardshift.options import GOAL_OPTIONS, is_deterministic, request_params, require_goal_options
from rewardshift.results import Score

from .prompts import GivenPrompts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rewardshift import _core
    from rewardshift.engine.engine import Engine
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Completion

    from .prompts import Prompt, Prompts, RolePrompts


class Requests:
    """Submits what is asked of one decoder."""

    def __init__(
        self, engine: Engine, prompts: Prompts, *, seed: int | None, trained: Mapping[str, int]
    ) -> None:
        """Of an engine.

        Args:
            engine: What decodes.
            prompts: What its roles can read.
            seed: For requests that name none.
            trained: Tokens that the roles were trained for, as far as known.
        """
        self._trained = trained
        self._engine = engine
        self._prompts = prompts
        self._seed = seed
        self._roles = frozenset(engine.models)

    def submit(self, given: GivenPrompts, options: SamplingOptions, *, claimed: bool = True) -> int:
        """Queues one request; returns its id."""
        params = request_params(self._with_seed(options))
        return self._submit(given, options, params, claimed=claimed)

    def submit_many(self, many: Sequence[GivenPrompts], options: SamplingOptions) -> list[int]:
        """Queues requests that draw from streams of one seed: all of them, or none."""
        if isinstance(stop := options.get("stop"), Iterator):  # which is read once
            options = {**options, "stop": list(stop)}
        common = request_params(self._with_seed(options))
        requests: list[int] = []
        try:
            for i, given in enumerate(many):
                params = request_params(self._with_seed(options))
                params.substream += i
                params.seed, params.reproducible = common.seed, common.reproducible
                requests.append(self._submit(given, options, params, claimed=True))
        except BaseException:
            self._engine.abandon(requests)
            raise
        return requests

    def score(self, given: GivenPrompts, continuation: Prompt, options: SamplingOptions) -> Score:
        """Scores a continuation.

        Raises:
            TypeError: For options that shape no law.
        """
        require_goal_options(options)
        self._require_shiftable(given, options)
        tokens = self._prompts.ids(
            continuation, add_special=False, parse_special=given.parse_special
        )
        params = request_params({"temperature": 1.0, **options})
        read = self._prompts.of_roles(given)
        self._warn_of_length(read, len(tokens))
        scores = self._engine.core.score(*read, tokens, params)
        return Score.from_core(scores, tokens, self._roles)

    def _submit(
        self,
        given: GivenPrompts,
        options: SamplingOptions,
        params: _core.RequestParams,
        *,
        claimed: bool,
    ) -> int:
        self._require_shiftable(given, options)
        read = self._prompts.of_roles(given)
        most = params.max_tokens
        self._warn_of_length(read, self._engine.core.context_size if most < 0 else most)
        follows_costs = params.num_draft_tokens is None and not params.reproducible
        if params.drafter is not None and follows_costs and self._prompts.has_text:
            self._engine.calibrate_once()  # where there is a draft, loading it did
        echoes = options.get("echo", False)
        return self._engine.submit(
            *read,
            params,
            apart=is_deterministic(self._with_seed(options)),
            claimed=claimed,
            opening=self._shown(given, read) if echoes else "",
            complete=self._prepended(read, options) if echoes else None,
        )

    def _shown(self, given: GivenPrompts, read: RolePrompts) -> str:
        """The target's prompt as text: as it was given, or as its ids spell it."""
        if isinstance(given.target, str):
            return given.target
        return self._prompts.text(read.target, special=True)

    def _prepended(
        self, read: RolePrompts, options: SamplingOptions
    ) -> Callable[[Completion], Completion]:
        """What ``echo`` makes of a completion: the prompt, scored beforehand, comes first."""
        prompt = read.target
        scores = None
        if len(prompt) > 1:
            goal = cast("SamplingOptions", {k: v for k, v in options.items() if k in GOAL_OPTIONS})
            scores = self.score(GivenPrompts(prompt[:1]), prompt[1:], goal)

        def prepend(completion: Completion) -> Completion:
            return replace(completion, tokens=(*prompt, *completion.tokens), prompt_scores=scores)

        return prepend

    def _require_shiftable(self, given: GivenPrompts, options: SamplingOptions) -> None:
        """A prompt that would be for nobody, or shift nothing, is a mistake to point out."""
        if given.draft is not None and "draft" not in self._roles:
            raise ValueError("draft_prompt needs a draft model")
        if given.reference is not None and "reference" not in self._roles:
            raise ValueError("reference_prompt needs a reference model")
        lossless = options.get("strength") == 0 or options.get("rule") == "speculative"
        if given.draft is not None and "reference" not in self._roles and not lossless:
            raise ValueError(
                "to shift by prompt the Decoder needs a reference: give it the draft's file as "
                "reference too, or strength=0 to draft without a shift"
            )

    def _warn_of_length(self, read: RolePrompts, more: int) -> None:
        """Warns where a request may be longer than what a role was trained for."""
        for role, trained in self._trained.items():
            prompt = getattr(read, role) or read.target
            longest = min(len(prompt) + more, self._engine.core.context_size)
            if 0 < trained < longest:
                warn(
                    f"this request may have {longest} tokens (n_ctx, max_tokens), and the {role} "
                    f"was trained for {trained}: what it says beyond them may be poor",
                    LengthWarning,
                )

    def _with_seed(self, options: SamplingOptions) -> SamplingOptions:
        return options if "seed" in options else {**options, "seed": self._seed}
