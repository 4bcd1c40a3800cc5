"""Evaluation: what is asked, what is run, what is kept, and the command."""

from __future__ import annotations

import difflib
import itertools
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rewardshift
from rewardshift import Decoder, ModelLoadError
from rewardshift.bench import PROMPTS
from rewardshift.cli.app import app
from rewardshift.evaluate import (
    EvaluateOptions,
    Judges,
    Sample,
    evaluate,
    evaluation_prompts,
    read_samples,
    samples_beside,
    summarise,
)
from rewardshift.evaluate.run import jobs, seed_of
from rewardshift.methods import CARDS, SSS, BestOfN, Question, TargetOnly
from rewardshift.train import topics
from tests.support import precision
from tests.support.engine import EXACT
from tests.support.own_methods import Own, length
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinySpec, bpe_vocab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.methods import Method
    from rewardshift.rewards import Exchange
    from tests.conftest import Files

SPEC: dict[str, Any] = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
TINY = TinySpec(**SPEC)
ROOT = Path(__file__).parents[1]
ASKED = ("a", "b b", "cd")
METHODS: dict[str, Method] = {
    "target": TargetOnly(),
    "sss:strength=1": SSS(),
    "best-of-n:n=2": BestOfN(length, n=2),
    "best-of-n:n=4": BestOfN(length, n=4),
}
QUICK = EvaluateOptions(max_tokens=12, seeds=2)


def count_of_a(exchanges: Sequence[Exchange]) -> list[float]:
    return [float(response.count("a")) for _, response in exchanges]


JUDGES = Judges(gold=count_of_a, training=length, gold_name="a", training_name="length")


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


# --- the prompts --------------------------------------------------------------------------------


def test_the_prompts_are_of_several_kinds_and_two_parts() -> None:
    prompts = evaluation_prompts()
    assert len({p.prompt for p in prompts}) == len(prompts) >= 120
    kinds = {p.kind for p in prompts}
    assert len(kinds) == 7
    assert {p.kind for p in prompts[:7]} == kinds  # the first few are of all kinds
    held_out, calibration = evaluation_prompts("held_out"), evaluation_prompts("calibration")
    assert len(held_out) + len(calibration) == len(prompts)
    assert min(len(held_out), len(calibration)) >= 40
    for part in (held_out, calibration):
        assert {p.kind for p in part} == kinds


def test_no_prompt_is_one_that_something_else_uses() -> None:
    others = (ROOT / "benchmarks/held_out_prompts.txt").read_text(encoding="utf-8").splitlines()
    matchers = [difflib.SequenceMatcher(b=words(other)) for other in (*others, *PROMPTS)]
    made_up = [re.compile(pattern_of(form)) for form in topics._FORMS]
    for prompt in evaluation_prompts():
        assert not any(form.fullmatch(prompt.prompt.lower()) for form in made_up), prompt
        for matcher in matchers:
            matcher.set_seq1(words(prompt.prompt))
            assert matcher.ratio() < 0.6, prompt


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def pattern_of(form: str) -> str:
    """Everything that a form of the built-in training prompts can become."""
    events = [event.replace("my ", "their ") for event in topics._EVENTS]
    fillings = {"thing": topics._THINGS, "thing2": topics._THINGS, "task": topics._TASKS}
    fillings |= {"event": topics._EVENTS, "person": topics._PEOPLE, "place": topics._PLACES}
    pattern = re.escape(form.lower())
    for name, choices in {**fillings, "event2": events}.items():
        either = "|".join(re.escape(choice.lower()) for choice in choices)
        pattern = pattern.replace(re.escape(f"{{{name}}}"), f"(?:{either})")
    return pattern


# --- the run ------------------------------------------------------------------------------------


def test_methods_take_turns_prompt_by_prompt() -> None:
    found = jobs(["x", "y", "z"], ["a", "b", "a"], 2)
    assert len(found) == len(set(found)) == 3 * 2 * 2  # a prompt that is repeated counts once
    for start in range(0, len(found), 3):
        block = found[start : start + 3]
        assert {job.method for job in block} == {"x", "y", "z"}
        assert len({(job.prompt, job.seed) for job in block}) == 1
    assert jobs(["x", "y", "z"], ["b"], 2) == [job for job in found if job.prompt == "b"]


def test_every_method_comes_first_and_after_every_other() -> None:
    methods = ["w", "x", "y", "z"]
    order = [job.method for job in jobs(methods, [str(n) for n in range(50)], 1)]
    assert set(order[::4]) == set(methods)
    blocks = [order[start : start + 4] for start in range(0, len(order), 4)]
    follows = {pair for block in blocks for pair in itertools.pairwise(block)}
    assert follows == set(itertools.permutations(methods, 2))


def test_seeds_depend_on_the_job_alone() -> None:
    planned = jobs(["x", "y"], ["a", "b"], 3)
    seeds = {job: seed_of(job) for job in planned}
    assert len(set(seeds.values())) == len(planned)
    assert all(0 <= seed < 2**63 for seed in seeds.values())
    more = jobs(["x", "w", "y"], ["c", "a", "b"], 4)
    assert all(seed_of(job) == seeds[job] for job in more if job in seeds)


@pytest.mark.numeric
def test_every_sample_says_what_the_method_said(roles: dict[str, Any], tmp_path: Path) -> None:
    of_token, of_goal = precision.of_logprobs(TINY), precision.of_goal(TINY, 1.0, QUICK.temperature)
    samples = evaluate(roles, METHODS, ASKED, tmp_path, JUDGES, QUICK)
    planned = jobs(list(METHODS), ASKED, QUICK.seeds)
    assert [s.key for s in read_samples(tmp_path / "samples.jsonl")] == planned
    assert sorted(s.key for s in samples) == sorted(planned)
    assert list(dict.fromkeys(s.method for s in samples)) == list(METHODS)
    with Decoder(**roles) as decoder:
        for sample in samples:
            tokens, _ = decoder.chat_prompts([{"role": "user", "content": sample.prompt}])
            question = Question(
                sample.prompt,
                tokens,
                seed=seed_of(jobs([sample.method], [sample.prompt], sample.seed)[-1]),
                max_tokens=QUICK.max_tokens,
                temperature=QUICK.temperature,
            )
            decoder.forget()
            decoder.score(tokens, tokens[-1:])  # what evaluate does, so that caches hold as much
            answer = METHODS[sample.method].answer(decoder, question)
            assert (sample.text, sample.tokens) == (answer.text, len(answer.tokens))
            assert sample.name == METHODS[sample.method].name
            assert sample.gold == answer.text.count("a")
            assert sample.training == len(answer.text)
            assert sample.evaluated == answer.evaluated
            assert len(sample.log_z) == len(answer.log_z)
            assert sample.target_nats == pytest.approx(
                -np.mean(answer.target_logprobs), abs=of_token
            )
            if sample.method.startswith("best"):
                assert sample.kl is None
            else:
                own = decoder.score(tokens, answer.tokens, strength=0, temperature=0.8)
                expected = sum(answer.goal_logprobs) - own.goal_logprob
                assert sample.kl == pytest.approx(expected, abs=2 * of_goal * sample.tokens)


@pytest.mark.numeric
def test_answers_together_are_those_of_one_by_one(roles: dict[str, Any], tmp_path: Path) -> None:
    """With less in a batch the logits are rounded otherwise, which here changes no token."""
    apart = evaluate(roles, METHODS, ASKED, tmp_path / "apart", JUDGES, QUICK)
    together = evaluate(roles, METHODS, ASKED, tmp_path / "both", JUDGES, QUICK, at_once=5)
    assert [(s.key, s.text, s.gold) for s in together] == [(s.key, s.text, s.gold) for s in apart]
    tolerance = precision.of_logprobs(TINY)
    for one, other in zip(together, apart, strict=True):
        assert one.target_nats == pytest.approx(other.target_nats, abs=tolerance)
    with pytest.raises(ValueError, match="answers_at_once = 5, not None"):
        evaluate(roles, METHODS, ASKED, tmp_path / "both", JUDGES, QUICK)


def test_a_method_that_fails_ends_the_answers_beside_it(
    roles: dict[str, Any], tmp_path: Path
) -> None:
    def refuse(_: Sequence[Exchange]) -> list[float]:
        raise OSError("no judge")

    methods: dict[str, Method] = {"target": TargetOnly(), "best": BestOfN(refuse, n=2)}
    with pytest.raises(OSError, match="no judge"):
        evaluate(roles, methods, ASKED, tmp_path, JUDGES, QUICK, at_once=4)
    assert not read_samples(tmp_path / "samples.jsonl")


@pytest.mark.numeric
def test_the_target_does_not_diverge_from_itself_and_a_shift_does(
    roles: dict[str, Any], tmp_path: Path
) -> None:
    two: dict[str, Method] = {"target": TargetOnly(), "sss:strength=2": SSS(2.0)}
    options = replace(QUICK, seeds=8, max_tokens=20)
    plain, shifted = summarise(evaluate(roles, two, ASKED, tmp_path, JUDGES, options)).rows
    assert plain.kl is not None
    close = precision.of_goal(TINY, 0.0, QUICK.temperature)
    assert plain.kl.value == pytest.approx(0, abs=2 * close)
    assert shifted.kl is not None
    assert shifted.kl.value > 0.1
    assert plain.z == []
    assert plain.acceptance is None
    assert len(shifted.z) == 20
    assert len(shifted.acceptance_by_position) == 3


@pytest.mark.numeric
def test_a_system_message_for_the_draft_shifts(roles: dict[str, Any], tmp_path: Path) -> None:
    two: dict[str, Method] = {"target": TargetOnly(), "sss": SSS()}
    by_prompt = {**roles, "draft": roles["reference"]}  # without the message there is no shift
    options = replace(QUICK, seeds=1)
    plain = evaluate(by_prompt, two, ASKED, tmp_path / "plain", JUDGES, options)
    options = replace(options, draft_system="cd ab")
    shifted = evaluate(by_prompt, two, ASKED, tmp_path / "shifted", JUDGES, options)
    close = precision.of_goal(TINY, 1.0, QUICK.temperature)  # the two roles round differently
    for before, after in zip(plain, shifted, strict=True):
        is_shifted = after.method == "sss"
        assert (before.text != after.text) == is_shifted
        assert any(abs(z or 0) > 10 * close for z in after.log_z) == is_shifted
        assert not any(abs(z or 0) > close for z in before.log_z)
    with pytest.raises(ValueError, match="begun with draft_system = cd ab, not None"):
        evaluate(by_prompt, two, ASKED, tmp_path / "shifted", JUDGES, replace(QUICK, seeds=1))


# --- beside another run ---------------------------------------------------------------------------


@pytest.fixture
def two_runs(roles: dict[str, Any], tmp_path: Path) -> tuple[Path, list[Sample], Path]:
    """A run, its samples, and another one by another draft with one method that is not complete."""
    few = {"target": TargetOnly(), "sss:strength=1": SSS()}
    other = {**roles, "draft": roles["reference"], "reference": roles["draft"]}
    ours = evaluate(roles, few, ASKED[:2], tmp_path / "ours", JUDGES, QUICK)
    evaluate(other, few, ASKED, tmp_path / "theirs", JUDGES, QUICK)
    evaluate(other, METHODS, ASKED[:1], tmp_path / "theirs", JUDGES, QUICK)
    return tmp_path / "ours", ours, tmp_path / "theirs"


def test_answers_of_another_run_stand_beside(two_runs: tuple[Path, list[Sample], Path]) -> None:
    folder, ours, theirs = two_runs
    found = samples_beside(folder, ours, theirs)
    assert {s.method for s in found} == {"theirs/target", "theirs/sss:strength=1"}
    assert {s.name for s in found} == {"target (theirs)", "sss exact s=1 K=3 (theirs)"}
    summary = summarise([*ours, *found])
    assert [row.method for row in summary.rows[:2]] == ["target", "sss:strength=1"]
    assert summary.rows[3].strength is None  # of another pair: no point of this one's curve
    texts = {(s.method, s.prompt, s.seed): s.text for s in read_samples(theirs / "samples.jsonl")}
    assert all(s.text == texts[s.method.removeprefix("theirs/"), s.prompt, s.seed] for s in found)


def test_what_cannot_stand_beside_is_refused(
    two_runs: tuple[Path, list[Sample], Path], roles: dict[str, Any], tmp_path: Path
) -> None:
    folder, ours, theirs = two_runs
    with pytest.raises(ValueError, match=r"it has no options\.json"):
        samples_beside(folder, ours, tmp_path)
    warm = tmp_path / "warm"
    evaluate(roles, METHODS, ASKED[:2], warm, JUDGES, replace(QUICK, temperature=1.0))
    with pytest.raises(ValueError, match=r"warm was begun with temperature = 1\.0, not 0\.8"):
        samples_beside(folder, ours, warm)
    other = {"target": roles["draft"], **EXACT, "n_ctx": 1024}
    few: dict[str, Method] = {"target": METHODS["target"]}
    evaluate(other, few, ASKED[:2], tmp_path / "small", JUDGES, QUICK)
    said = f"small was begun with target = {roles['draft']}, not {roles['target']}"
    with pytest.raises(ValueError, match=re.escape(said)):
        samples_beside(folder, ours, tmp_path / "small")
    alone = {**other, "target": roles["target"]}
    for name, threads in (("fast", {"n_threads": 2}), ("far", {"n_gpu_layers": 0})):
        evaluate({**alone, **threads}, few, ASKED[:2], tmp_path / name, JUDGES, QUICK)
    with pytest.raises(ValueError, match="fast was begun with n_threads = 2, not 1"):
        samples_beside(folder, ours, tmp_path / "fast")
    with pytest.raises(ValueError, match="far was begun with n_gpu_layers = 0, not None"):
        samples_beside(folder, ours, tmp_path / "far")
    more = [*ours, replace(ours[0], prompt="another")]
    with pytest.raises(ValueError, match=r"no method of .*theirs answered every prompt"):
        samples_beside(folder, more, theirs)


def test_no_row_is_lost_to_another_of_its_name(
    two_runs: tuple[Path, list[Sample], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ours, theirs = two_runs
    monkeypatch.chdir(theirs)
    found = samples_beside(folder, ours, Path())
    assert found == samples_beside(folder, ours, theirs)  # it is named by where it is
    with pytest.raises(ValueError, match="there is another run named theirs"):
        samples_beside(folder, [*ours, *found], theirs)
    with pytest.raises(ValueError, match="there is another run named ours"):
        samples_beside(folder, ours, folder)


def test_a_threshold_comes_from_the_calibration_prompts(
    roles: dict[str, Any], tmp_path: Path
) -> None:
    cards = CARDS(length)
    (found,) = evaluate(roles, {"cards": cards}, ["a"], tmp_path, JUDGES, replace(QUICK, seeds=1))
    with Decoder(**roles) as decoder:
        asked = [p.prompt for p in evaluation_prompts("calibration")]
        prompts = [
            (text, decoder.chat_prompts([{"role": "user", "content": text}])[0]) for text in asked
        ]
        expected = cards.calibrated(decoder, prompts, seed=0, max_tokens=12, temperature=0.8)
    assert found.name == expected.name != cards.name
    known = tmp_path / "calibrated.json"
    assert json.loads(known.read_text(encoding="utf-8")) == {"cards": expected.r_star}

    # A run that goes on does not look again, or it would find the first one's threshold.
    assert expected.r_star is not None
    other = replace(cards, r_star=expected.r_star + 1)
    known.write_text(json.dumps({"cards": other.r_star}), encoding="utf-8")
    path = tmp_path / "samples.jsonl"
    moved = path.read_text(encoding="utf-8").replace(found.name, other.name)
    path.write_text(moved, encoding="utf-8")
    options = replace(QUICK, seeds=2)
    both = evaluate(roles, {"cards": cards}, ["a"], tmp_path, JUDGES, options)
    assert [s.name for s in both] == [other.name] * 2


def test_more_methods_prompts_and_seeds_add_to_a_run(roles: dict[str, Any], tmp_path: Path) -> None:
    few = dict(list(METHODS.items())[:2])
    evaluate(roles, few, ASKED[:2], tmp_path, JUDGES, replace(QUICK, seeds=1))
    path = tmp_path / "samples.jsonl"
    before = path.read_bytes()
    found = evaluate(roles, METHODS, ASKED, tmp_path, JUDGES, QUICK)
    assert path.read_bytes().startswith(before)
    assert len(read_samples(path)) == len(found) == len(METHODS) * len(ASKED) * QUICK.seeds
    # With everything there, nothing is written.
    gone = {**roles, "target": tmp_path / "gone.gguf"}
    with pytest.raises(ValueError, match="begun with models"):
        evaluate(gone, METHODS, ASKED, tmp_path, JUDGES, QUICK)
    written = path.stat().st_mtime_ns
    assert evaluate(roles, METHODS, ASKED, tmp_path, JUDGES, QUICK) == found
    less = evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, replace(QUICK, seeds=1))
    assert [s.key for s in less] == [(spec, ASKED[0], 1) for spec in few]
    assert path.stat().st_mtime_ns == written


def test_a_run_does_not_go_on_with_other_options(roles: dict[str, Any], tmp_path: Path) -> None:
    few = {"target": METHODS["target"]}
    evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, QUICK)
    for other in (replace(QUICK, temperature=1.0), replace(QUICK, max_tokens=13)):
        with pytest.raises(ValueError, match="was begun with"):
            evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, other)
    with pytest.raises(ValueError, match="begun with gold"):
        evaluate(roles, few, ASKED[:1], tmp_path, replace(JUDGES, gold_name="b"), QUICK)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(roles, {}, ASKED, tmp_path / "empty", JUDGES, QUICK)


def test_a_model_that_was_trained_again_does_not_take_over_answers(
    roles: dict[str, Any], tmp_path: Path
) -> None:
    few = {"target": METHODS["target"]}
    draft = tmp_path / "draft.gguf"
    content = bytearray(Path(roles["draft"]).read_bytes())
    draft.write_bytes(content)
    with_copy = {**roles, "draft": draft}
    evaluate(with_copy, few, ASKED[:1], tmp_path / "run", JUDGES, QUICK)
    content[-1] ^= 1
    draft.write_bytes(content)
    with pytest.raises(ValueError, match="was begun with files = "):
        evaluate(with_copy, few, ASKED[:1], tmp_path / "run", JUDGES, QUICK)


def test_a_run_that_came_to_nothing_does_not_bind(roles: dict[str, Any], tmp_path: Path) -> None:
    few = {"target": METHODS["target"]}
    run = tmp_path / "run"
    with pytest.raises(ModelLoadError):
        evaluate({**roles, "target": tmp_path / "tpyo"}, few, ASKED[:1], run, JUDGES, QUICK)
    assert (run / "options.json").exists()
    (run / "calibrated.json").write_text('{"cards": 1.0}', encoding="utf-8")
    assert len(evaluate(roles, few, ASKED[:1], run, JUDGES, QUICK)) == QUICK.seeds
    assert not (run / "calibrated.json").exists()  # it was of another target
    (tmp_path / "options.json").write_text('{"prompts": null}', encoding="utf-8")
    with pytest.raises(ValueError, match="was begun with"):  # of something else, such as a corpus
        evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, QUICK)


def test_another_method_does_not_take_over_answers(roles: dict[str, Any], tmp_path: Path) -> None:
    evaluate(roles, {"mine": Own("first", SSS())}, ASKED[:1], tmp_path, JUDGES, QUICK)
    changed = {"mine": Own("second", SSS(2.0))}
    with pytest.raises(ValueError, match="has answers of mine as 'first', and it is 'second' now"):
        evaluate(roles, changed, ASKED, tmp_path, JUDGES, QUICK)


def test_the_gold_reward_cannot_be_the_training_reward() -> None:
    with pytest.raises(ValueError, match="judged by another"):
        Judges(gold=length, training=length, gold_name="a", training_name="b")
    with pytest.raises(ValueError, match="judged by another"):
        Judges(gold=length, training=count_of_a, gold_name="vader", training_name="vader")


def test_a_run_that_was_killed_goes_on(roles: dict[str, Any], tmp_path: Path) -> None:
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    path = folder / "samples.jsonl"
    code = f"""
import sys; sys.path[:0] = {[str(ROOT), str(Path(rewardshift.__file__).parents[1])]!r}
from pathlib import Path
from tests.test_evaluate import ASKED, JUDGES, METHODS, QUICK, evaluate
from tests.support.own_methods import Own
roles = { ({k: str(v) if isinstance(v, Path) else v for k, v in roles.items()})!r}
two = {{spec: METHODS[spec] for spec in ("target", "sss:strength=1")}}
methods = {{spec: Own(method.name, method, pause=0.2) for spec, method in two.items()}}
evaluate(roles, methods, ASKED, Path({str(folder)!r}), JUDGES, QUICK, progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()
    begun = path.read_bytes()
    count = begun.count(b"\n")
    assert 3 <= count < len(ASKED) * 2 * QUICK.seeds
    with path.open("ab") as file:
        file.write(b'{"method": "target", "na')  # what a kill amid a write leaves

    two = {spec: METHODS[spec] for spec in ("target", "sss:strength=1")}
    found = evaluate(roles, two, ASKED, folder, JUDGES, QUICK)
    content = path.read_bytes()
    assert content.startswith(begun[: begun.rfind(b"\n") + 1])
    assert content.count(b"\n") == len(found) == len(ASKED) * 2 * QUICK.seeds
    assert b'"na{' not in content
    uninterrupted = evaluate(roles, two, ASKED, whole, JUDGES, QUICK)
    assert [(s.key, s.text) for s in found] == [(s.key, s.text) for s in uninterrupted]


def test_a_damaged_line_is_named(roles: dict[str, Any], tmp_path: Path) -> None:
    few = {"target": METHODS["target"]}
    evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, QUICK)
    path = tmp_path / "samples.jsonl"
    path.write_text('{"method": "target"}\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"samples\.jsonl:1 is no sample"):
        evaluate(roles, few, ASKED[:1], tmp_path, JUDGES, QUICK)


# --- the command --------------------------------------------------------------------------------

OWN = "tests.support.own_methods"


@pytest.fixture
def command(
    roles: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs ``rewardshift eval`` on little in a folder of its own: exit code and output."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in ASKED), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    models = ("-m", roles["target"], "-md", roles["draft"], "--reference", roles["reference"])
    little = (
        "-t",
        1,
        "-n",
        12,
        "--num-prompts",
        2,
        "--seeds",
        2,
        "--prompts",
        prompts,
        "--out",
        "run",
    )

    def run(*arguments: object) -> tuple[int, str]:
        words = ["eval", *map(str, (*models, *little, *arguments))]
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return run


def test_the_command_runs_methods_of_the_user_s_own(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    methods = f"{OWN}.target {OWN}.shifted"
    set_up = ("-c", 1024, "-ngl", 0)
    code, out = command("--methods", methods, "--methods", f"{OWN}.longest", *set_up)
    assert code == 0, out
    for text in ("2 prompts × 2", "plain s=1", "longest-of-4", "run/report.html"):
        assert text in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"samples.jsonl", "options.json", "summary.json", "report.md", "report.html"}
    assert names >= {"cost.svg", "acceptance.svg", "z.svg"}
    report = (tmp_path / "run/report.md").read_text(encoding="utf-8")
    assert "-c 1024 -ngl 0 -t 1" in report
    assert "--out run" in report
    assert f"--methods '{methods} {OWN}.longest'" in report
    assert "reference: llama-" in report

    written = (tmp_path / "run/samples.jsonl").read_bytes()
    code, out = command("--methods", methods, "--against", f"{OWN}.target", "--json", *set_up)
    assert code == 0, out
    told = json.loads(out)
    assert [row["name"] for row in told["rows"]] == ["plain s=0", "plain s=1"]
    assert told["rows"][0]["speed_up"]["value"] == 1
    assert (tmp_path / "run/samples.jsonl").read_bytes() == written


def test_the_command_compares_by_default_what_the_models_can_do(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, out = command()
    assert code == 0, out
    assert "at equal gold reward" in out
    told = json.loads((tmp_path / "run/summary.json").read_text(encoding="utf-8"))
    kinds = [row["method"] for row in told["rows"]]
    assert kinds[:3] == ["target", "three-model", "sss:strength=0.5"]
    assert kinds[6:] == [f"best-of-n:n={n}" for n in (2, 4, 8, 16)]
    assert all(found["smallest"] == 1 for found in told["equal"].values())  # that is the target
    assert told["baseline"] == "best-of-n:n=8"
    assert set(told["equal"]) == set(kinds[1:6])
    assert {path.name for path in (tmp_path / "run").glob("*.svg")} == {
        *("cost.svg", "strength.svg", "acceptance.svg", "z.svg")
    }


def test_the_command_shows_another_draft_beside(
    command: Callable[..., tuple[int, str]], roles: dict[str, Any], tmp_path: Path
) -> None:
    methods = ("--methods", "target sss:strength=1")
    shift = ("--draft-system", "cd ab")
    code, out = command(*methods, *shift, "-md", roles["reference"], "--out", "other")
    assert code == 0, out
    code, out = command(*methods, *shift, "--beside", "other", "--json")
    assert code == 0, out
    rows = json.loads(out)["rows"]
    assert [row["name"] for row in rows][2:] == ["target (other)", "sss exact s=1 K=3 (other)"]
    perplexities = [row["perplexity"]["value"] for row in rows]
    assert perplexities[0] == pytest.approx(perplexities[2])  # the target, asked in the same way
    assert perplexities[1] != pytest.approx(perplexities[3], rel=0.01)  # of other texts
    report = (tmp_path / "run/report.md").read_text(encoding="utf-8")
    assert "--draft-system 'cd ab'" in report
    assert "--beside other" in report


def test_the_command_says_that_its_judges_are_of_sentiment(
    command: Callable[..., tuple[int, str]],
) -> None:
    hint, wrong = (
        "judges with --gold and --reward",
        ("--against", "nobody"),
    )  # refused before anything is loaded
    assert hint in command(*wrong)[1]
    for chosen in (("--gold", "afinn"), ("--reward", "vader"), ("--json",)):
        assert hint not in command(*wrong, *chosen)[1]


def test_the_command_refuses_what_cannot_be(command: Callable[..., tuple[int, str]]) -> None:
    for arguments, said in (
        (("--gold", "vader"), "judge by another reward"),
        (("--gold", "nice"), "not 'nice'"),
        (("--question", "good? {response}"), "for a judge"),
        (("--num-prompts", 0), "--num-prompts"),
        (("--n", 2), "--num-prompts says how many"),
        (("--count", 2), "--num-prompts says how many"),
        (("--methods", "no-such-method"), "no-such-method"),
        (("--methods", f"{OWN}.no_such"), "no_such"),
        (("--methods", f"{OWN}.target", "--against", "best-of-n"), "none of"),
    ):
        code, out = command(*arguments)
        assert code == 2, out
        assert said in out
