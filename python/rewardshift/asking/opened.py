"""What is open behind a decoder: its vocabulary, the work under way, and the way to close it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from rewardshift.boundary import StaysHere, require_text, require_truth, require_whole
from rewardshift.engine.engine import Engine
from rewardshift.grammar import Vocabulary as GrammarVocabulary
from rewardshift.grammar import grammar_of
from rewardshift.results import Chunk, Work
from rewardshift.text.vocabulary import Vocabulary

from .prompts import Foreign, Prompts
from .requests import Requests

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from rewardshift import _core
    from rewardshift.grammar import ResponseFormat
    from rewardshift.loading.contexts import Contexts
    from rewardshift.readers import AnyPanel
    from rewardshift.shifts import Shift


class Opened(StaysHere):
    """What every ``Decoder`` has, however it was made; not made by itself."""

    _models: dict[str, _core.Model]
    _shifts: dict[str, Shift]
    _contexts: Contexts | None
    _seed: int | None

    def _open(
        self,
        panel: AnyPanel,
        models: Mapping[str, _core.LanguageModel],
        open_apart: Callable[[], Mapping[str, _core.LanguageModel]] | None = None,
        *,
        lock: threading.RLock | None = None,
    ) -> None:
        """Makes the engine; the attributes above are set before."""
        n_threads = 1 if self._contexts is None else self._contexts.n_threads
        self._engine = Engine(panel, models, open_apart=open_apart, n_threads=n_threads, lock=lock)
        core = self._engine.core
        self._own_prompts: Prompts | None = Prompts(
            self._models.get("target"),
            vocab_size=core.vocab_size,
            piece=core.piece,
            limits={name: _limit_of(model, core) for name, model in models.items()},
            foreign={
                name: Foreign(Vocabulary(self._models[name]), models[name].vocab_size)
                for name in panel.names
                if self.has_own_vocabulary(name)
            },
        )
        self._grammars: GrammarVocabulary | None = GrammarVocabulary(
            models["target"], core.vocab_size
        )
        self._trained = {
            name: model.facts.context_size_trained for name, model in self._models.items()
        }

    # --- the work under way ------------------------------------------------------------------

    def step(self) -> list[Chunk]:
        """Advances all requests by one step and returns what is new, in order of submission.

        Empty when nothing became known (a long prompt takes several steps) and when there is
        nothing to do; ``has_work`` tells the two apart. Ctrl-C raises KeyboardInterrupt and loses
        nothing: the next step goes on.
        """
        return self._engine.step()

    def cancel(self, request: int) -> None:
        """Ends a request; its last chunk, with what there is, comes with the next step."""
        require_whole(request=request)
        self._engine.cancel(request)

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return self._engine.has_work

    # --- vocabulary ---------------------------------------------------------------------------

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Token ids of a text.

        Args:
            text: Any text.
            add_special: Whether to add the begin- and end-of-text tokens that the model wants,
                where the text does not have them already.
            parse_special: Whether control tokens are recognised in the text; else they are text.

        Raises:
            ValueError: If the model has no tokenizer, or no tokens for the text.
        """
        require_text(text=text)
        require_truth(add_special=add_special, parse_special=parse_special)
        return self._prompts.vocabulary.tokenize(
            text, add_special=add_special, parse_special=parse_special
        )

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of token ids; bytes that are no UTF-8 show as U+FFFD.

        Args:
            tokens: Ids.
            special: Whether control tokens show; those of models that are no files never do.
        """
        return self._prompts.text(tokens, special=special)

    def compile_grammar(
        self,
        *,
        response_format: ResponseFormat | None = None,
        grammar: str | None = None,
        regex: str | None = None,
        choice: Iterable[str] | None = None,
        visible_tokens: Sequence[int] | None = None,
    ) -> None:
        """Compiles what a response may be, which may take seconds: a request then finds it done.

        Unlike all else it may be called while another thread is inside. Arguments and errors as for
        ``generate``.
        """
        _ = self._engine.core  # closed?
        form: dict[str, Any] = {
            "response_format": response_format,
            "grammar": grammar,
            "regex": regex,
            "choice": choice,
            "visible_tokens": visible_tokens,
        }
        grammar_of(form, cast("GrammarVocabulary", self._grammars))

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes that a token adds to the text; they may end inside a character.

        Args:
            token: Its id.
            special: Whether a control token shows; those of models that are no files never do.
        """
        require_whole(token=token)
        require_truth(special=special)
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"token {token} is outside the vocabulary [0, {self.vocab_size})")
        core = self._engine.core
        return core.spelling(token) if special else core.piece(token)

    @property
    def end_of_generation(self) -> tuple[int, ...]:
        """The ids that end a response; a ``logit_bias`` of -inf on them makes it go on."""
        if not self._prompts.has_text:
            models = self._engine.models.values()
            ids = range(self.vocab_size)
            return tuple(i for i in ids if any(model.is_end_of_generation(i) for model in models))
        return tuple(self._prompts.vocabulary.model.facts.end_of_generation)

    @property
    def context_size(self) -> int:
        """Tokens that all requests under way hold together."""
        return self._engine.core.context_size

    @property
    def vocab_size(self) -> int:
        """Ids below this are known to all roles."""
        return self._engine.core.vocab_size

    @property
    def places(self) -> int:
        """Requests that are decoded at the same time; others wait."""
        return self._engine.core.places

    @property
    def files(self) -> dict[str, str]:
        """The file that each reader, named as in ``work``, is loaded from; none of others."""
        _ = self._engine.core  # closed?
        return {name: model.path for name, model in self._models.items()}

    @property
    def chat_template(self) -> str | None:
        """The source of the target's own chat template; None where it has none."""
        _ = self._engine.core  # closed?
        model = self._models.get("target")
        return None if model is None else model.chat_template

    @property
    def work(self) -> dict[str, Work]:
        """What each reader's model has evaluated so far, for whichever decoder and request.

        Readers are called ``target``, ``draft`` and ``reference``; with several shifts the draft of
        each is called after it, "plain shift", and so is a reference that not all share, "reference
        of plain". The difference of two readings is what lay between them. A model that several
        readers share is counted once, as the first of them.
        """
        found: dict[int, tuple[str, Work]] = {}
        for name, model in self._engine.models.items():
            found.setdefault(id(model), (name, _work_of(model)))
        total = dict(found.values())
        for name, model in self._engine.own_models.items():
            total[name] = total.get(name, Work(0, 0)) + _work_of(model)
        return total

    @property
    def shifts(self) -> dict[str, Shift]:
        """What shifts the target, by name; none in a decoder of one model."""
        _ = self._engine.core  # closed?
        return dict(self._shifts)

    def forget(self) -> None:
        """Drops what the models' caches hold, so that what comes next is evaluated anew.

        It changes no result, only ``work`` and time: for comparisons in which nobody is to profit
        from the prompts that another one read.
        """
        self._engine.forget()

    def has_own_vocabulary(self, reader: str) -> bool:
        """Whether a reader, named as in ``work``, speaks another vocabulary than the target.

        It reads the same text in tokens of its own. False for readers that there are not.
        """
        _ = self._engine.core  # closed?
        require_text(reader=reader)
        return any(
            known.name == reader and known.vocabulary is not None
            for known in self._engine.panel.readers
        )

    # --- life ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Frees the models and their memory; every later call but this raises ``Error``."""
        self._engine.close()
        self._models = {}
        self._shifts = {}
        self._contexts = None
        self._own_prompts = None
        self._grammars = None

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

    @property
    def _requests(self) -> Requests:
        return Requests(
            self._engine,
            self._prompts,
            grammars=cast("GrammarVocabulary", self._grammars),
            seed=self._seed,
            trained=self._trained,
        )


def _limit_of(model: _core.LanguageModel, core: _core.Decoder) -> int:
    """Ids below this may stand in what the model reads."""
    knows_more = model.history_vocab_size > model.vocab_size
    return model.history_vocab_size if knows_more else core.vocab_size


def _work_of(model: _core.LanguageModel) -> Work:
    return Work(model.evaluated_tokens, model.evaluated_batches)
