"""Rewards for style count what they say they count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rewardshift.cli.reward_names import REWARDS, reward_named
from rewardshift.rewards import (
    CautionReward,
    ConcisenessReward,
    FormalityReward,
    FScoreReward,
    LexicalDensityReward,
    LineLengthReward,
    PossibilityReward,
    ProseReward,
    ReadabilityReward,
    scores,
)
from rewardshift.rewards.caution import _BOOSTERS, _HEDGES, _POSSIBILITY

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from rewardshift.rewards import Reward

EASY = "The cat sat on the mat. The sun was out, and it was warm."
HARD = (
    "Notwithstanding considerable methodological limitations, the investigation demonstrated "
    "statistically significant amelioration."
)
OFFICIAL = "The committee of the parliament approved the annual report on public health."
CHATTY = "Well, I don't think you'll like it! We just ran away, and you really couldn't see us."


def of(reward: Reward, *texts: str) -> list[float]:
    return scores(reward, [("I never asked: perhaps?", text) for text in texts])


# --- readability ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "by_hand"),
    [
        # 14 words, 2 sentences, 14 syllables, 42 letters; no word is outside the list.
        ("flesch", 206.835 - 1.015 * 14 / 2 - 84.6 * 14 / 14),
        ("dale-chall", -0.0496 * 14 / 2),
        ("coleman-liau", -max(0.0, 0.0588 * 100 * 42 / 14 - 0.296 * 100 * 2 / 14 - 15.8)),
    ],
)
def test_readability_is_the_published_formula(formula: Any, by_hand: float) -> None:
    expected = min(by_hand, 100.0)
    assert of(ReadabilityReward(formula), EASY)[0] == pytest.approx(expected, abs=0.02)


def test_reading_ease_in_the_middle_of_its_scale_is_the_published_formula() -> None:
    # 12 words, 1 sentence, 21 syllables by the dictionary (com-mit-tee, par-lia-ment, ...).
    (found,) = of(ReadabilityReward(), OFFICIAL)
    assert found == pytest.approx(206.835 - 1.015 * 12 - 84.6 * 21 / 12, abs=0.02)


@pytest.mark.parametrize("formula", ["flesch", "dale-chall", "coleman-liau"])
def test_readability_tells_easy_from_hard_and_nothing_is_the_worst(formula: Any) -> None:
    easy, official, hard, nothing, word = of(
        ReadabilityReward(formula), EASY, OFFICIAL, HARD, "", "Yes."
    )
    assert easy > official > hard
    assert nothing == word <= hard


def test_lines_are_sentences_and_marks_of_lists_are_no_part_of_them() -> None:
    listed = "1. The cat sat on the mat\n2. The sun was out, and it was warm\n"
    for formula in ("flesch", "dale-chall", "coleman-liau"):
        reward = ReadabilityReward(formula)
        plain, numbered, bulleted = of(reward, EASY, listed, listed.replace("1.", "-"))
        assert numbered == plain == bulleted


def test_there_are_no_other_formulas() -> None:
    with pytest.raises(ValueError, match="flesch, dale-chall, coleman-liau, not 'fog'"):
        ReadabilityReward("fog")  # type: ignore[arg-type]


# --- conciseness ---------------------------------------------------------------------------------


def test_conciseness_falls_with_words_beyond_the_few_an_answer_needs() -> None:
    lengths = (1, 4, 8, 20, 50, 200)
    found = of(ConcisenessReward(), *("word " * (n - 1) + "end." for n in lengths))
    assert found == pytest.approx([min(1, n / 8) / (1 + n / 50) for n in lengths])
    assert found.index(max(found)) == lengths.index(8)


@pytest.mark.parametrize("cut", ["", "The oven should be", "Bread:\n- flour\n- salt", "Well,"])
def test_what_is_cut_has_no_conciseness(cut: str) -> None:
    assert of(ConcisenessReward(), cut) == [0]


@pytest.mark.parametrize("end", [".", "!", "?", '."', ".)", "!**", "! 😊", "…", ".\n"])
def test_a_sentence_may_end_in_quotes_brackets_or_a_smiley(end: str) -> None:
    whole = f"Bake it for an hour and let it rest{end}"
    assert of(ConcisenessReward(), whole) == pytest.approx([1 / (1 + 9 / 50)])


# --- formality -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "marks", "words"),
    [
        (OFFICIAL, 0, 12),
        ("You are in the red room.", 1, 6),
        ("They're late and that's not good.", 2, 6),
        ("They’re late and that’s not good.", 2, 6),
        ("The dog's bone lies there again.", 0, 6),  # a genitive
        ("You're late and that's not good.", 3, 6),  # you, and two contractions
        ("Maybe the cat is kind of small.", 2, 7),
        ("Well, the cat is asleep now.", 1, 6),  # "now" opens no sentence
        ("The cat does well. Now it sleeps!", 2, 7),
        ("Anyway, a lot of cats just sleep.", 3, 7),
    ],
)
def test_formality_counts_marks_of_talk(text: str, marks: int, words: int) -> None:
    assert of(FormalityReward(), text) == pytest.approx([1 - marks / words])


def test_nothing_is_not_formal() -> None:
    for reward in (FormalityReward(), FScoreReward(), LexicalDensityReward()):
        assert of(reward, "", "No.", "!!!") == [0, 0, 0]


def test_the_f_score_is_the_published_formula() -> None:
    # article, noun, preposition, article, noun, verb, article, adjective, noun, preposition,
    # adjective, noun: 11 of 12 words are of formal kinds, 1 of the others.
    assert of(FScoreReward(), OFFICIAL) == pytest.approx([50 * (11 / 12 - 1 / 12 + 1)])


def test_both_formalities_tell_official_from_chatty() -> None:
    for reward in (FormalityReward(), FScoreReward()):
        official, chatty = of(reward, OFFICIAL, CHATTY)
        assert official > chatty + 0.3


def test_lexical_density_is_the_share_of_words_that_say_something() -> None:
    assert of(LexicalDensityReward(), OFFICIAL) == pytest.approx([100 * 7 / 12])
    dense, thin = of(
        LexicalDensityReward(),
        "Slowly roast chopped onions.\nAdd crushed garlic.",
        "It is in what you and I have that there is to be some of it.",
    )
    assert dense > 80 > 30 > thin


# --- caution -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hedges", "boosters", "modals", "words"),
    [
        ("It is perhaps usually quite warm in the south " + "of Spain " * 10, 2, 0, 0, 29),
        ("It is of course always very warm in the south " + "of Spain " * 10, 0, 2, 0, 30),
        ("It may be, could be, and in general is " + "warm " * 30, 1, 0, 2, 39),
    ],
)
def test_caution_counts_hedges_less_boosters_and_modals_are_apart(
    text: str, hedges: int, boosters: int, modals: int, words: int
) -> None:
    assert of(CautionReward(), text) == pytest.approx([100 * (hedges - boosters) / words])
    assert of(PossibilityReward(), text) == pytest.approx([100 * modals / words])


def test_caution_is_bounded_and_nothing_has_the_least() -> None:
    hedged, boosted, nothing = of(
        CautionReward(), "perhaps " * 50, "It certainly never always truly is.", ""
    )
    assert (hedged, boosted, nothing) == (10, -10, -10)
    assert of(PossibilityReward(), "") == [0]


def test_what_judges_caution_shares_no_word_with_what_trains_it() -> None:
    def listed(pattern: re.Pattern[str]) -> set[str]:
        inner = pattern.pattern.removeprefix(r"(?<![\w'])(?:").removesuffix(r")(?![\w'])")
        return {word for phrase in inner.split("|") for word in phrase.split(r"\ ")}

    assert "maybe" in listed(_HEDGES)
    assert not listed(_POSSIBILITY) & (listed(_HEDGES) | listed(_BOOSTERS))


# --- prose ---------------------------------------------------------------------------------------

MARKED = (
    "- one two three four five",
    "  * one two three four five",
    "• one two three four five",
    "12. one two three four five",
    "(2) one two three four five",
    "## one two three four five",
    "> one two three four five",
    "| one | two | three four five |",
    "**One two three four five:**",
)


@pytest.mark.parametrize("line", MARKED)
def test_words_in_lines_with_markup_are_no_prose(line: str) -> None:
    assert of(ProseReward(), line) == [0.0]
    assert of(ProseReward(), f"One two three four five.\n\n{line}") == [0.5]


@pytest.mark.parametrize(
    "line",
    [
        "I bought 3. Then two more of them.",
        "It is **very** warm in the south of Spain.",
        "-5 degrees are cold for a day in May.",
        "#winter is what people write about now.",
        "1990 was a good year for wine there.",
    ],
)
def test_prose_may_have_numbers_and_bold_words(line: str) -> None:
    assert of(ProseReward(), line) == [1.0]


def test_line_length_is_words_by_line_that_is_not_empty() -> None:
    assert of(LineLengthReward(), "One two three four.\n\nFive six.", "one " * 300) == [3.0, 100.0]


def test_what_says_next_to_nothing_is_no_prose() -> None:
    assert of(ProseReward(), "", "Yes, I do.") == [0.0, 0.0]
    assert of(LineLengthReward(), "", "Yes, I do.") == [0.0, 0.0]


# --- their names ---------------------------------------------------------------------------------

NAMED: tuple[tuple[str, Callable[[], Reward]], ...] = (
    ("flesch", ReadabilityReward),
    ("dale-chall", lambda: ReadabilityReward("dale-chall")),
    ("coleman-liau", lambda: ReadabilityReward("coleman-liau")),
    ("conciseness", ConcisenessReward),
    ("lexical-density", LexicalDensityReward),
    ("formality", FormalityReward),
    ("f-score", FScoreReward),
    ("caution", CautionReward),
    ("possibility", PossibilityReward),
    ("prose", ProseReward),
    ("line-length", LineLengthReward),
)


@pytest.mark.parametrize(("name", "make"), NAMED, ids=[name for name, _ in NAMED])
def test_the_command_line_knows_them_by_name(name: str, make: Callable[[], Reward]) -> None:
    texts = (EASY, OFFICIAL, CHATTY, "It may perhaps rain all day.")
    assert of(reward_named(name, None, flag="--reward"), *texts) == of(make(), *texts)
    assert name in REWARDS
