"""What each role is to read: text, token ids and messages become token ids here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rewardshift.boundary import NO_SEQUENCE, described, require_truth, shown, token_ids
from rewardshift.chat.messages import checked_messages, checked_tools, with_system
from rewardshift.chat.template import ChatTemplate, template_of
from rewardshift.errors import ChatTemplateError
from rewardshift.text.chat_prompt import ChatPrompt
from rewardshift.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift import _core
    from rewardshift.chat.messages import Messages, Tools
    from rewardshift.readers import AnyPanel

Prompt = str | Sequence[int]
"""Text, or token ids."""

DraftPrompt = Prompt | Mapping[str, Prompt]
"""What the only draft sees, or what the drafts of several shifts see, by the shift's name."""


@dataclass(frozen=True, slots=True)
class GivenPrompts:
    """The prompts of a request as its user gave them, and how text among them is read."""

    target: Prompt
    draft: DraftPrompt | None = None
    reference: Prompt | None = None
    add_special: bool = True
    parse_special: bool = True

    def __post_init__(self) -> None:
        """Checks what the core would misread."""
        require_truth(add_special=self.add_special, parse_special=self.parse_special)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A reader of another vocabulary.

    Attributes:
        vocabulary: Its own.
        first: The id that stands for its token 0 in what it reads: behind the target's ids.
    """

    vocabulary: Vocabulary
    first: int

    def own(self, tokens: Iterable[int]) -> list[int]:
        """Tokens of its own vocabulary, as it reads them among the target's."""
        return [self.first + token for token in tokens]


class Prompts:
    """The prompts of one decoder, in the target's vocabulary and in those of other readers."""

    def __init__(
        self,
        model: _core.Model | None,
        *,
        vocab_size: int,
        piece: Callable[[int], bytes],
        limits: Mapping[str, int],
        foreign: Mapping[str, Foreign],
    ) -> None:
        """Of the target's file.

        Args:
            model: The file; None of models that are no files, whose prompts are token ids.
            vocab_size: Ids below this are known to all roles.
            piece: The bytes that a token adds to the text, for models that are no files.
            limits: Ids below this may stand in a reader's prompt, by its name.
            foreign: Files of other vocabularies, by reader.
        """
        self._vocabulary = None if model is None else Vocabulary(model)
        self._vocab_size = vocab_size
        self._piece = piece
        self._limits = limits
        self._foreign = foreign
        self._templates: dict[str, ChatTemplate] = {}  # by path

    @property
    def vocabulary(self) -> Vocabulary:
        """The file's; raises ValueError where there is none."""
        if self._vocabulary is None:
            raise ValueError("this Decoder's models have no text; give token ids")
        return self._vocabulary

    @property
    def has_text(self) -> bool:
        """Whether text can be a prompt."""
        return self._vocabulary is not None

    def of_readers(self, given: GivenPrompts, panel: AnyPanel) -> list[list[int]]:
        """The token ids that each reader is to see, none where that are the target's.

        One of another vocabulary reads text as the target's tokens: it sees their bytes, and cuts
        prompt and response as one text. Cut apart, what it says would depend on where the prompt
        ended. A conversation it reads in its own template, whose control tokens are its own.

        Raises:
            TypeError: For what is no prompt.
            ValueError: For ids outside the vocabulary, for prompts without tokens, and for those of
                readers that there are not.
        """
        own = _prompts_of_drafts(given.draft, panel)
        if given.reference is not None:
            own[_reference_of(panel)] = given.reference
        found: list[list[int]] = []
        for reader, name in enumerate(panel.names):
            if reader > 0 and reader not in own and name not in self._foreign:
                found.append([])
                continue
            prompt = own.get(reader, given.target)
            if isinstance(prompt, ChatPrompt):
                prompt = prompt.seen_by(name)
            ids = self.ids(
                prompt,
                add_special=given.add_special,
                parse_special=given.parse_special,
                limit=self._limits[name],
            )
            if not ids:
                whose = f"{name}'s " if reader > 0 else ""
                raise ValueError(f"the {whose}prompt has no tokens")
            found.append(ids)
        return found

    def ids(
        self,
        prompt: Prompt,
        *,
        add_special: bool = True,
        parse_special: bool = True,
        limit: int | None = None,
    ) -> list[int]:
        """The token ids of one text, or those given, which are below the limit."""
        if isinstance(prompt, str):
            return self.vocabulary.tokenize(
                prompt, add_special=add_special, parse_special=parse_special
            )
        return self.given_ids(prompt, "a prompt is text or token ids, not", limit=limit)

    def given_ids(
        self, tokens: Iterable[int], refusal: str, *, limit: int | None = None
    ) -> list[int]:
        """Token ids as given, checked; the refusal begins the error for what is none."""
        end = self._vocab_size if limit is None else limit
        found = token_ids(tokens, refusal)
        for token in found:
            if not 0 <= token < end:
                raise ValueError(f"token {token} is outside the vocabulary [0, {end})")
        return found

    def of_messages(
        self,
        messages: Messages,
        *,
        draft_systems: Mapping[str, str],
        drafts: Mapping[str, str],
        tools: Tools | None,
        chat_template_kwargs: Mapping[str, Any] | None,
    ) -> tuple[ChatPrompt, dict[str, list[int]]]:
        """The target's prompt, and those of the drafts that see another system message, by name.

        Each model reads the conversation in its own chat template.

        Args:
            messages: The conversation.
            draft_systems: What drafts see as their system message, by shift.
            drafts: The drafts' names as readers, by shift.
            tools: What the model may call.
            chat_template_kwargs: What else templates are to know.
        """
        turns = checked_messages(messages)
        offered = checked_tools(tools)

        def ids(vocabulary: Vocabulary, seen: Messages) -> list[int]:
            stretches = self._template_of(vocabulary).stretches(
                seen, tools=offered, chat_template_kwargs=chat_template_kwargs
            )
            return vocabulary.ids_of(stretches)

        def seen_by(reader: str | None, seen: Messages) -> list[int]:
            foreign = self._foreign.get(reader or "")
            if foreign is None:
                return ids(self.vocabulary, seen)
            return foreign.own(ids(foreign.vocabulary, seen))

        own = {name: seen_by(name, turns) for name in self._foreign}
        return ChatPrompt(ids(self.vocabulary, turns), own), {
            shift: seen_by(drafts.get(shift), with_system(turns, system))
            for shift, system in draft_systems.items()
        }

    def text(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of token ids; bytes that are no UTF-8 show as U+FFFD."""
        require_truth(special=special)
        ids = self.given_ids(tokens, "tokens must be token ids, not")
        if self._vocabulary is None:
            return b"".join(map(self._piece, ids)).decode(errors="replace")
        return self._vocabulary.detokenize(ids, special=special)

    def _template_of(self, vocabulary: Vocabulary) -> ChatTemplate:
        path = vocabulary.model.path
        if path not in self._templates:
            found = template_of(vocabulary)
            if found is None:
                raise ChatTemplateError(
                    f"{path} has no chat template; use generate() with a prompt of your own"
                )
            self._templates[path] = found
        return self._templates[path]


def _prompts_of_drafts(given: DraftPrompt | None, panel: AnyPanel) -> dict[int, Prompt]:
    """What drafts see in place of the target's prompt, by reader."""
    if given is None:
        return {}
    names = ", ".join(panel.shifts)
    if isinstance(given, Mapping) and panel.shifts:
        for name in given:
            if name not in panel.shifts:
                raise ValueError(f"draft_prompt names {shown(name)}, and the shifts are {names}")
            _require_pair(name, panel)
        return {panel.shifts[name].draft: prompt for name, prompt in given.items()}
    if panel.draft is not None:
        return {panel.draft: cast("Prompt", given)}
    if panel.shifts:
        _require_pair(next(iter(panel.shifts)), panel)
        raise ValueError(
            f"draft_prompt is for one shift, and here are {names}: give a mapping from these names"
        )
    raise ValueError("draft_prompt needs a draft model")


def _reference_of(panel: AnyPanel) -> int:
    if panel.reference is not None:
        return panel.reference
    if panel.shifts:
        _require_pair(next(iter(panel.shifts)), panel)
        raise ValueError(
            f"reference_prompt is for one shift, and here are {', '.join(panel.shifts)}"
        )
    raise ValueError("reference_prompt needs a reference model")


def _require_pair(shift: str, panel: AnyPanel) -> None:
    if panel.shifts[shift].reference is None:
        raise ValueError(
            f"the shift {shift} is a head, which reads what the target reads: it takes no prompt "
            "of its own"
        )


def many(prompts: Iterable[Any], name: str) -> list[Any]:
    """The prompts of a batch, read once.

    Raises:
        TypeError: If they have no order, or are one prompt.
    """
    if isinstance(prompts, NO_SEQUENCE) or not isinstance(prompts, Iterable):
        raise TypeError(f"{name} must be a list of prompts, not {described(prompts)}")
    return list(prompts)


def many_of_role(prompts: Iterable[Any] | None, name: str, *, requests: int) -> list[Any]:
    """The prompts that a role sees in a batch, one for each request.

    Raises:
        ValueError: If there are more or fewer.
    """
    if prompts is None:
        return [None] * requests
    found = many(prompts, name)
    if len(found) != requests:
        raise ValueError(f"{name} has {len(found)} prompts for {requests} requests")
    return found
