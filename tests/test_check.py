"""Checking a pair: what is measured is so, and the words follow from the numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rewardshift import Decoder, Shift
from rewardshift.check import (
    CheckOptions,
    PairReport,
    StrengthReport,
    TemperatureReport,
    check_pair,
    save_plot,
    verdict,
)
from rewardshift.check.measure import _decisions
from rewardshift.check.speed import Costs
from rewardshift.cli.app import app
from rewardshift.prompt_files import Preference
from tests.support import precision
from tests.support.engine import EXACT
from tests.support.heads import Head
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinySpec, bpe_vocab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

SPEC: dict[str, Any] = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
PROMPTS = ("a", "b b", "cd", "d")
QUICK = CheckOptions(temperatures=(0.8,), strengths=(0.5, 1.0), max_tokens=16)


@pytest.fixture
def roles(files: Files) -> dict[str, Any]:
    target, draft, reference = files.trio(**SPEC)
    return {
        "target": target.path,
        "draft": draft.path,
        "reference": reference.path,
        **EXACT,
        "n_ctx": 1024,
    }


def strength(s: float, spread: float, nats: float = 2.0) -> StrengthReport:
    return StrengthReport(
        strength=s,
        z=(1 / spread, 0.9, 1.0, 1.1, spread),
        paper_distance=0.02,
        acceptance=0.6,
        decisions=100,
        target_nats=nats,
        positions=100,
    )


REPORT = PairReport(
    temperatures=(TemperatureReport(0.8, 0.6, (0.6, 0.5), 100),),
    strengths=(strength(0.5, 1.2), strength(1, 1.5), strength(2, 3.0)),
    target_nats=1.9,
    kl=0.2,
    kl_error=0.01,
    kl_positions=100,
    accuracy=0.8,
    pairs=100,
    costs=Costs((10e-3, 11e-3, 12e-3, 13e-3, 20e-3), 1e-3, (1e-3, 1.1e-3, 1.2e-3, 1.3e-3, 2e-3)),
)


def words(report: PairReport) -> str:
    return " ".join(verdict(report, temperature=0.8).sentences)


# --- words --------------------------------------------------------------------------------------


def test_a_shift_is_mild_up_to_where_z_spreads() -> None:
    advice = verdict(REPORT, temperature=0.8)
    assert advice.mild_strength == 1
    assert advice.sentences[0].startswith("The shift is mild up to strength 1; at 2, Z spreads")
    mild = replace(REPORT, strengths=(strength(1, 1.1), strength(2, 1.2)))
    assert "mild up to strength 2, the highest that was measured" in words(mild)
    wild = replace(REPORT, strengths=(strength(0.5, 9), strength(1, 1.1)))
    assert verdict(wild, temperature=0.8).mild_strength == 0
    assert "not mild at any strength" in words(wild)


def test_a_shift_is_mild_up_to_where_the_target_finds_the_text_unlikely() -> None:
    off = replace(REPORT, strengths=(strength(1, 1.1, 2.2), strength(2, 1.2, 2.4)))
    assert verdict(off, temperature=0.8).mild_strength == 1
    assert "unlikely: 2.40 nats a token, 1.90 without" in words(off)


def test_the_verdict_says_what_the_default_strength_costs_and_that_rule_exact_stands() -> None:
    off = replace(REPORT, strengths=(strength(0.5, 1.1), replace(strength(1, 9), target_nats=2.0)))
    assert verdict(off, temperature=0.8).mild_strength == 0.5
    assert f"At strength 1 the text has {math.exp(2.0 - 1.9):.2f} times the perplexity" in words(
        off
    )
    assert "near enough for most uses; rule exact, the default, costs the same" in words(off)
    far = replace(off, strengths=(replace(strength(1, 9), paper_distance=0.06),))
    assert "0.060 in total variation a position from pi*: use rule exact" in words(far)
    assert "which gives pi* at any strength" in words(far)


def test_the_verdict_tells_a_draft_that_did_not_move_from_one_that_moved_wrongly() -> None:
    assert "prefers the better response in 80% of 100 pairs." in words(REPORT)
    assert "hardly differs" in words(replace(REPORT, kl=1e-4, kl_error=1e-5))
    assert "align it better" in words(replace(REPORT, accuracy=0.5))
    assert "too few" in words(replace(REPORT, pairs=5))
    assert "only preference pairs can tell" in words(replace(REPORT, accuracy=None, pairs=0))


def test_the_expected_speed_is_leviathan_s() -> None:
    a = 0.6
    tokens = (1 - a**4) / (1 - a)
    assert REPORT.costs.speed(3, a) == pytest.approx(tokens / (3e-3 + 13e-3 + 1.3e-3))
    assert REPORT.costs.speed(0, a) == pytest.approx(1 / 12e-3)
    best = max(REPORT.costs.speed(k, a) for k in range(5))
    assert REPORT.costs.best(a) == (2, pytest.approx(best))
    assert f"expect {best:.0f} tokens/s with drafts of 2" in words(REPORT)
    assert "no drafts" in words(replace(REPORT, strengths=(replace(strength(1, 1), acceptance=0),)))


def test_there_is_no_verdict_on_what_was_not_measured() -> None:
    few = [replace(strength(s, 1.1), positions=19) for s in (0.5, 1)]
    advice = verdict(replace(REPORT, strengths=tuple(few)), temperature=0.8)
    assert advice.mild_strength is None
    assert "Too little was measured" in advice.sentences[0]
    assert "19 positions only" in advice.sentences[0]
    later = replace(REPORT, strengths=(strength(0.5, 1.1), few[1]))
    assert verdict(later, temperature=0.8).mild_strength == 0.5
    assert "up to strength 0.5; at 1, Z is known at 19" in words(later)

    nothing = StrengthReport(1, None, None, None, decisions=0, target_nats=None, positions=0)
    empty = replace(
        REPORT, strengths=(nothing,), target_nats=None, kl=None, kl_error=None, kl_positions=0
    )
    said = verdict(empty, temperature=0.8).sentences
    assert [("not known" in text or "Too little" in text) for text in said] == [True] * 5
    assert not any("nan" in text.lower() or "None" in text for text in said)


def test_a_move_within_its_own_error_is_none() -> None:
    assert "not known: by -0.30 ± 0.40" in words(replace(REPORT, kl=-0.3, kl_error=0.4))
    assert "not known: it has said 19 tokens" in words(replace(REPORT, kl_positions=19))


def test_a_speed_is_not_expected_of_a_few_drafts() -> None:
    few = replace(strength(1, 1.1), decisions=19)
    assert "What speed to expect is not known" in words(replace(REPORT, strengths=(few,)))


# --- measures -----------------------------------------------------------------------------------


def test_decisions_are_counted_by_position(roles: dict[str, Any]) -> None:
    with Decoder(**roles) as decoder:
        found = [
            decoder.generate("ab", num_draft_tokens=4, seed=i, max_tokens=41) for i in range(8)
        ]
    accepted, decided = _decisions(found, 4)
    for i in range(4):
        wanted = [c.statistics.acceptance_by_position for c in found]
        shares = [row[i] for row in wanted if len(row) > i and not math.isnan(row[i])]
        assert min(shares) - 1e-9 <= accepted[i] / decided[i] <= max(shares) + 1e-9
    # Each further position is reached only where the one before accepted.
    assert all(decided[i + 1] <= accepted[i] for i in range(3))
    assert accepted.sum() == sum(s.origin == "draft" for c in found for s in c.steps)


def test_a_pair_is_measured(roles: dict[str, Any]) -> None:
    pairs = [Preference("a", "b b a", "d")] * 3 + [Preference("a", "d", "b b a")]
    report = check_pair(roles, PROMPTS, QUICK, preferences=pairs, progress=False)
    assert 0 < report.temperatures[0].acceptance < 1
    low, high = report.strengths
    assert low.z[4] / low.z[0] < high.z[4] / high.z[0]  # a stronger shift spreads more
    assert 0 < low.paper_distance < high.paper_distance + 0.1
    assert report.kl > 0
    with Decoder(**roles) as decoder:
        prompt = decoder.chat_prompts([{"role": "user", "content": "a"}])[0]
        better, worse = (
            decoder.score(prompt, decoder.tokenize(x, add_special=False)).implicit_reward or 0
            for x in ("b b a", "d")
        )
    assert report.accuracy == (0.75 if better > worse else 0.25)


@pytest.mark.numeric
def test_a_draft_that_is_its_reference_does_not_shift(roles: dict[str, Any]) -> None:
    same = {**roles, "draft": roles["reference"]}
    report = check_pair(same, PROMPTS, QUICK, progress=False)
    close = precision.of_goal(TinySpec(**SPEC), 1.0, 0.8)
    assert report.kl == pytest.approx(0, abs=close)
    for row in report.strengths:
        np.testing.assert_allclose(row.z, 1, rtol=0, atol=close)
    assert "hardly differs" in words(report)


def test_what_is_no_pair_is_refused(roles: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no prompts"):
        check_pair(roles, (), QUICK)
    with pytest.raises(ValueError, match="no reference"):
        check_pair({"target": roles["target"], "draft": roles["draft"]}, PROMPTS, QUICK)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": 0}, "max_tokens must be at least 2, not 0"),
        ({"max_tokens": 1}, "max_tokens must be at least 2, not 1"),
        ({"draft_tokens": 0}, "draft_tokens must be at least 1, not 0"),
        ({"strengths": ()}, "no strengths"),
        ({"temperatures": ()}, "no temperatures"),
        ({"strengths": (1.0, 0.0)}, "strengths must be finite and above 0, not 0"),
        ({"strengths": (math.nan,)}, "strengths must be finite"),
        ({"temperature": -1.0}, "temperature must be finite and at least 0, not -1"),
        ({"temperatures": (math.inf,)}, "temperature must be finite"),
    ],
)
def test_what_leaves_nothing_to_measure_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CheckOptions(**wrong)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_nothing_is_a_number_that_is_not_there(
    roles: dict[str, Any], tmp_path: Path, temperature: float
) -> None:
    """Two tokens and one prompt; and a target that ends at once."""
    least = replace(QUICK, max_tokens=2, temperature=temperature)
    report = check_pair(roles, PROMPTS[:1], least, progress=False)
    assert "nan" not in repr(report)
    assert verdict(report, temperature=temperature).mild_strength is None
    save_plot(report, tmp_path / "few.svg")
    silent = StrengthReport(1, None, None, None, decisions=0, target_nats=None, positions=0)
    none = TemperatureReport(0.8, None, (None, None), 0)
    save_plot(replace(report, strengths=(silent,), temperatures=(none,)), tmp_path / "none.svg")


def test_the_picture_shows_all_of_it(tmp_path: Path) -> None:
    save_plot(REPORT, tmp_path / "pair.svg")
    drawn = (tmp_path / "pair.svg").read_text()
    for text in ("accepted drafts", "Z by strength", "expected speed"):
        assert text in drawn


# --- the command --------------------------------------------------------------------------------


def test_the_command_prints_tables_and_words(roles: dict[str, Any], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        '{"done": 1, "options": {}}\n{"prompt": "a", "chosen": "b", "rejected": "d"}\n'
    )
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a\n\nb\nab\ncd\na b\nb a\n")
    options = [
        *("check-pair", "-m", str(roles["target"]), "-md", str(roles["draft"])),
        *("--reference", str(roles["reference"]), "-c", "1024", "-t", "1", "-n", "8"),
        *("--prompts", str(prompts), "--preferences", str(pairs), "--strengths", "1,0.5"),
    ]
    done = CliRunner().invoke(app, [*options, "--plot", str(tmp_path / "pair.png")])
    assert done.exit_code == 0, done.output
    assert "The shift is" in done.output
    assert (tmp_path / "pair.png").stat().st_size > 10_000
    told = json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)
    assert [row["strength"] for row in told["report"]["strengths"]] == [0.5, 1]
    assert told["report"]["pairs"] == 1
    short = [word if word != "8" else "1" for word in options]
    refused = CliRunner().invoke(app, short)
    assert refused.exit_code == 2
    assert "--max-tokens must be at least 2, not 1" in refused.output
    fewer = json.loads(CliRunner().invoke(app, [*options, "--num-prompts", "1", "--json"]).stdout)
    assert fewer["report"]["strengths"][0]["positions"] <= 8
    assert fewer["verdict"]["mild_strength"] is None
    pairs.write_text('{"prompt": "a", "chosen": "b"}\n')
    refused = CliRunner().invoke(app, options)
    assert refused.exit_code == 2
    assert "pairs.jsonl:1" in refused.output


def test_a_head_is_measured_without_drafts(files: Files, tmp_path: Path) -> None:
    """Its reward of a text is log pi* - log p, whatever constant it adds at a position."""
    model = files.model(**SPEC)
    head = Head.random(model.spec.n_embd, model.spec.n_vocab, seed=4)
    pairs = [Preference(a, b, c) for a in PROMPTS for b, c in (("a b", "d c"), ("dd", "b a"))]
    reports = []
    for shifted_by in (0, 3):
        up = np.clip(head.up // 2 + 10 * shifted_by, -127, 127).astype(np.int8)
        same = replace(head, up=up, scale=np.full_like(head.scale, 1 / 127))
        file = same.write(tmp_path / f"{shifted_by}.gguf")
        roles = {"target": model.path, "shift": Shift(head=file), **EXACT, "n_ctx": 1024}
        reports.append(check_pair(roles, PROMPTS, QUICK, preferences=pairs))
    plain, moved = reports
    assert plain.temperatures == ()
    assert plain.costs is None
    assert [row.acceptance for row in plain.strengths] == [None, None]
    assert plain.kl is not None
    assert plain.kl > 0
    assert plain.kl_positions > 0
    assert (plain.accuracy, plain.kl) == pytest.approx((moved.accuracy, moved.kl), abs=1e-4)
    sentences = " ".join(verdict(plain, temperature=0.8).sentences)
    assert "The head has moved by" in sentences
    assert "from the target" in sentences
    assert "A head needs no second model" in sentences
    save_plot(plain, tmp_path / "head.png")
    assert (tmp_path / "head.png").stat().st_size > 0
