"""What the target's tokens are in the vocabularies of other models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.boundary import warn
from rewardshift.errors import VocabularyMismatchError, VocabularyWarning

if TYPE_CHECKING:
    from rewardshift.readers import Panel

LEAST_SHARE = 0.8
"""Of the target's tokens in ``USUAL_TEXT``, what another vocabulary has without a warning."""

USUAL_TEXT = """\
Thank you for your question! Learning to play the piano takes patience, but it's easier than most
people think. Here are three things that helped me when I was starting out:

1. Practise a little every day; fifteen minutes are worth more than two hours on Sunday.
2. Listen carefully, and don't be afraid of mistakes. You won't sound like Rubinstein at first.
3. Find somebody who'll play with you: a friend, a teacher, or your grandmother.

"Where did you put the keys?" she asked, looking out of the window at the rain. He shrugged. In 1969
about 600 million people watched the first landing on the Moon; according to the report, the mission
cost $355 million, i.e. roughly 0.2 % of that year's budget.

```python
def mean(values: list[float]) -> float:
    if not values:
        raise ValueError("there are no values")
    return sum(values) / len(values)
```

The water boils at 100 °C (212 °F), which is why temperature, pressure and altitude all matter.
Could you please summarise the following paragraph, and explain why the government's decision was so
important for the development of international trade?
"""
"""Prose, dialogue, a list, figures and a little code: what assistants are asked, and say."""


def different(a: _core.Model, b: _core.Model) -> bool:
    """Whether two files' vocabularies differ."""
    try:
        _core.require_same_vocabulary(a, "one", b, "other")
    except VocabularyMismatchError:
        return True
    return False


def map_between(target: _core.Model, other: _core.Model) -> _core.VocabularyMap:
    """What the target's tokens are in the other's vocabulary."""
    return _core.VocabularyMap(_core.Vocabulary.of_model(target), _core.Vocabulary.of_model(other))


def usual_share(target: _core.Model, known: _core.VocabularyMap) -> float:
    """The share of the target's tokens in ``USUAL_TEXT`` that the other vocabulary has as well.

    It stands for the share of the target's mass, which only decoding can tell: ``check-pair`` and
    ``statistics.shifts`` do. A target of few words, which cuts everything into tokens that any
    vocabulary has, scores high here, and rightly so.
    """
    try:
        tokens = target.tokenize(USUAL_TEXT, False, False)
    except ValueError:  # it has no tokens for such texts: all of its own count alike
        return known.share
    return sum(map(known.has_twin, tokens)) / len(tokens)


def with_vocabularies(panel: Panel[_core.Model]) -> Panel[_core.Model]:
    """The same readers, those of other vocabularies with what the target's tokens are in theirs.

    Warns:
        VocabularyWarning: Of a vocabulary that lacks many of the tokens that the target usually
            says.
    """
    maps = _Maps(panel.readers[0].source)
    readers = (replace(r, vocabulary=maps.of(r.source, r.name)) for r in panel.readers)
    return replace(panel, readers=tuple(readers))


class _Maps:
    """From one target's vocabulary to others, each made once."""

    def __init__(self, target: _core.Model) -> None:
        self._target = target
        self._known: list[tuple[_core.Model, _core.VocabularyMap]] = []

    def of(self, model: _core.Model, name: str) -> _core.VocabularyMap | None:
        """To a model's; None where that is the target's."""
        if not different(self._target, model):
            return None
        for other, found in self._known:
            if model.facts.vocab_size == other.facts.vocab_size and not different(model, other):
                return found
        made = map_between(self._target, model)
        self._known.append((model, made))
        if (share := usual_share(self._target, made)) < LEAST_SHARE:
            warn(
                f"of the tokens that the target usually says, the {name} has only {share:.0%} in "
                "its vocabulary: what it says of the others is made up of their pieces",
                VocabularyWarning,
            )
        return made
