"""Breaks the core in small ways and checks that the tests notice: ``python tests/mutants.py``.

Each mutant replaces one string in one C++ source of a copy of the tree in build/mutants, which is
built there (llama.cpp once, then only what a mutant touches). The fast tests must pass on the
unmutated copy and fail on every mutant. Exits with 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "mutants"
SOURCE, BUILD, PACKAGE = WORK / "source", WORK / "cmake", WORK / "python"
INPUTS = ("CMakeLists.txt", "pyproject.toml", "bindings", "cmake", "cpp", "third_party")
TESTS = ("test_rule.py", "test_engine_invariance.py", "test_engine_law.py")
TEST_SECONDS = 600  # then a mutant counts as killed

RULE = "math/rule.cpp"
DISTRIBUTION = "math/distribution.cpp"
LOOPS = "math/vector_loops.h"
RNG = "math/rng.cpp"
ROUND = "decode/round.cpp"
DESCRIBE = "decode/describe.cpp"
DRAFTER = "decode/model_drafter.cpp"
TEXT = "decode/text_stream.cpp"
PARAMS = "decode/params.cpp"
DECODER = "decode/decoder.cpp"
SCORE = "decode/score.cpp"
TREE = "decode/draft_tree.cpp"

SHAPE_GOAL = """\
  goal_logits(roles, strength, probs);
  adjust(probs, shaping.adjustments);
  const Shaped shaped = shape(probs, shaping.temperature, shaping.truncation, workspace);
"""
SHAPE_TARGET_ALONE = """\
  std::vector<double> cut(roles.target.begin(), roles.target.end());
  adjust(cut, shaping.adjustments);
  shape(cut, shaping.temperature, shaping.truncation, workspace);
  goal_logits(roles, strength, probs);
  adjust(probs, shaping.adjustments);
  for (std::size_t i = 0; i < cut.size(); ++i) {
    if (cut[i] == 0.0) probs[i] = -std::numeric_limits<double>::infinity();
  }
  const Shaped shaped = shape(probs, shaping.temperature, {}, workspace);
"""


@dataclass(frozen=True)
class Mutant:
    """One way to be wrong. `old` occurs exactly once in cpp/rewardshift/`path`."""

    name: str
    path: str
    old: str
    new: str


MUTANTS = (
    # the rule
    Mutant(
        "subtraction dropped",
        RULE,
        "return std::max(scale_ * goal_[i] - proposal_[i], 0.0);",
        "return scale_ * goal_[i];",
    ),
    Mutant(
        "subtraction dropped where tokens are drawn, not in law()",
        RULE,
        "[&law](std::size_t i) { return law.residual(i); }",
        "[&](std::size_t i) { return scale * goal[i]; }",
    ),
    Mutant(
        "q and r swapped",
        RULE,
        "strength * (static_cast<double>(q[i]) - static_cast<double>(r[i]));",
        "strength * (static_cast<double>(r[i]) - static_cast<double>(q[i]));",
    ),
    Mutant(
        "Z left out",
        RULE,
        "return rule == Rule::paper ? goal.paper_scale : 1.0;",
        "return rule == Rule::paper ? goal.paper_scale : goal.paper_scale;",
    ),
    Mutant(
        "residual not renormalised in law()",
        RULE,
        "per_residual_ = empty_ ? 0.0 : rejected / mass;",
        "per_residual_ = empty_ ? 0.0 : 1.0;",
    ),
    Mutant(
        "residual not renormalised where tokens are drawn",
        LOOPS,
        "const double goal = u * total;",
        "const double goal = u;",
    ),
    Mutant("truncation applied to p alone", RULE, SHAPE_GOAL, SHAPE_TARGET_ALONE),
    Mutant(
        "acceptance reversed",
        RULE,
        "if (accept_uniform < accept_probability(",
        "if (accept_uniform >= accept_probability(",
    ),
    Mutant(
        "truncated mass left out of the paper's scale",
        RULE,
        "std::min(std::exp(result.log_z) * shaped.kept, kMost)",
        "std::min(std::exp(result.log_z), kMost)",
    ),
    Mutant(
        "what rounding leaves of a residual decides",
        RULE,
        "empty_ = mass <= kRounding * rejected || mass == 0.0;",
        "empty_ = mass == 0.0;",
    ),
    Mutant(
        "greedy ties go to the highest id",
        DISTRIBUTION,
        "greedy ? std::max_element(p, p + n) - p : 0;",
        "greedy ? std::max_element(p, p + n, std::less_equal<>()) - p : 0;",
    ),
    Mutant(
        "top_k ties go to the highest id",
        DISTRIBUTION,
        "(a.first == b.first && a.second < b.second)",
        "(a.first == b.first && a.second > b.second)",
    ),
    # random numbers
    Mutant(
        "one uniform used twice: acceptance and residual",
        ROUND,
        "request.uniforms(position, Purpose::residual)",
        "request.uniforms(position, Purpose::accept)",
    ),
    Mutant(
        "one uniform used twice: proposal and acceptance",
        ROUND,
        "request.uniforms(position, Purpose::accept),",
        "request.uniforms(position, Purpose::proposal),",
    ),
    Mutant(
        "one uniform for all positions of a draft",
        DRAFTER,
        "(request.position + i, Purpose::proposal)",
        "(request.position, Purpose::proposal)",
    ),
    Mutant(
        "one uniform for all decisions of a round",
        ROUND,
        "const std::size_t position = request.generated + request.round.accepted.size();",
        "const std::size_t position = request.generated;",
    ),
    Mutant(
        "all streams draw alike",
        RNG,
        "                  substream_, static_cast",
        "                  0, static_cast",
    ),
    # the round
    Mutant(
        "bonus drawn from p",
        ROUND,
        "const Goal goal = goal_at(request, accepted, rows);\n  const Token token",
        "const Goal goal = accepted == 0 ? goal_at(request, 0, rows)\n"
        "      : rewardshift::goal(rows, 0.0, Shaping{request.params.temperature, {}, {}},\n"
        "                          workspace_, goal_);\n"
        "  const Token token",
    ),
    Mutant(
        "last draft row used again for the bonus",
        ROUND,
        "if (is_waiting(request)) request->round.bonus.draft = {rows[next++], goal_.size()};",
        "if (is_waiting(request)) {\n"
        "      const std::size_t k = request->block.tokens.size();\n"
        "      if (k == 0) request->round.bonus.draft = {rows[next++], goal_.size()};\n"
        "      else request->round.bonus.draft = request->block.draft_logits(k - 1), ++next;\n"
        "    }",
    ),
    Mutant(
        "reference row off by one",
        ROUND,
        "rows.reference = {round.rows_of(Role::reference)[row], n};",
        "rows.reference = {round.rows_of(Role::reference)[row > 0 ? row - 1 : 0], n};",
    ),
    Mutant(
        "target row off by one",
        ROUND,
        "rows.target = {round.rows_of(Role::target)[row], n};",
        "rows.target = {round.rows_of(Role::target)[row > 0 ? row - 1 : 0], n};",
    ),
    Mutant(
        "reported proposal is not the one drawn from",
        DRAFTER,
        "  block.add(token, i, i);\n",
        "  std::copy(logits.begin(), logits.end(), proposal.begin());\n"
        "  shape(proposal, request.params->temperature, {}, workspace_);\n"
        "  block.add(token, i, i);\n",
    ),
    Mutant(
        "penalties do not see the drafted tokens",
        ROUND,
        "history.first(request.prompt_of(Role::target) + request.generated + i)",
        "history.first(request.prompt_of(Role::target) + request.generated)",
    ),
    Mutant(
        "draft decoded from the target's prompt",
        ROUND,
        "request->tokens_of(from_table ? Role::target : Role::draft)",
        "request->tokens_of(from_table ? Role::target : Role::target)",
    ),
    Mutant(
        "rows kept for the bonus are another's",
        ROUND,
        "std::ranges::copy(*row, free);",
        "std::ranges::copy(bonus.target, free);",
    ),
    Mutant(
        "rows the next call overwrites are not kept",
        ROUND,
        "  keep_bonus_rows();\n",
        "",
    ),
    Mutant(
        "one sequence for draft and reference",
        "decode/decoder.cpp",
        "(comes_second ? static_cast<int>(last_history_.size()) + 1 : 0)",
        "(comes_second ? 0 : 0)",
    ),
    Mutant(
        "a measured length for a seed",
        "decode/decoder.cpp",
        "calibrated && !params.num_draft_tokens && !params.reproducible",
        "calibrated && !params.num_draft_tokens",
    ),
    Mutant(
        "end of generation does not end",
        ROUND,
        "if (last || stopped) {",
        "if (stopped) {",
    ),
    Mutant(
        "paper's log-probabilities are those of pi*",
        DESCRIBE,
        "if (request.params.rule == Rule::paper &&",
        "if (request.params.rule == Rule::speculative &&",
    ),
    Mutant(
        "drafts behind a stop string count as accepted",
        "decode/statistics.cpp",
        "const std::size_t kept = std::min(accepted_tokens, emitted);",
        "const std::size_t kept = accepted_tokens;",
    ),
    # text and limits
    Mutant(
        "streamed text shows the beginning of a stop string",
        TEXT,
        "return release(std::min(possible_stop(), unfinished_character(text_)));",
        "return release(unfinished_character(text_));",
    ),
    Mutant(
        "stop strings found only inside a token",
        TEXT,
        "const std::size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;",
        "const std::size_t from = before;",
    ),
    Mutant(
        "penalty window counts from the beginning",
        PARAMS,
        "history.last(std::min(",
        "history.first(std::min(",
    ),
    Mutant(
        "finished requests keep their sequence",
        DECODER,
        "if (request->sequences.empty() || request->is_finished()) continue;",
        "if (request->sequences.empty()) continue;",
    ),
    # trees
    Mutant(
        "goal left as it was after a rejection in a tree",
        RULE,
        "of_token = std::max(of_token - scale * weight, 0.0);",
        "of_token = std::max(of_token, 0.0 * scale * weight);",
    ),
    Mutant(
        "residual of a tree not renormalised",
        RULE,
        "mass = vector_sum(left.size(), [values](std::size_t k) { return values[k]; });",
        "mass = values[0] >= 0.0 ? 1.0 : 0.0;",
    ),
    Mutant("drawn with replacement", RULE, "    drawn->first = 0.0;\n", ""),
    Mutant(
        "proposal of a tree not renormalised",
        RULE,
        "drawn->first / proposal_mass, 1.0)",
        "drawn->first, 1.0)",
    ),
    Mutant(
        "one uniform for all drafts of a position",
        ROUND,
        "request.uniforms(position, Purpose::accept, i)",
        "request.uniforms(position, Purpose::accept, i > 64 ? i : 0)",
    ),
    Mutant(
        "a tree's draws used again by the next round's",
        "decode/drafter.h",
        "return (*uniforms)(position, Purpose::proposal, static_cast",
        "return (*uniforms)(0, Purpose::proposal, static_cast",
    ),
    Mutant(
        "a branch scored without what it branches from",
        ROUND,
        "block.append_path(end, tokens);",
        "block.append_path(end, tokens);\n"
        "    if (i > 0 && block.follows[i] > 0) tokens[before] = block.tokens[i];",
    ),
    Mutant(
        "the accepted branch not followed",
        ROUND,
        "    request.follow(round.accepted.size(), decision.token);\n",
        "",
    ),
    Mutant(
        "the tree keeps only the better draws",
        TREE,
        "  from.children.push_back(static_cast<int>(nodes_.size()));\n",
        "  if (probability < 0.3) return;\n"
        "  from.children.push_back(static_cast<int>(nodes_.size()));\n",
    ),
    Mutant(
        "scores shifted by one",
        SCORE,
        "score_token(request, tokens[i], i, {row[0]",
        "score_token(request, tokens[i], i > 0 ? i - 1 : 0, {row[0]",
    ),
)


class BrokenError(Exception):
    """What should work whatever the mutant does not."""


def write_if_changed(path: Path, data: bytes) -> None:
    """Leaves an equal file's time alone, so that only what differs is built again."""
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def copy_tree() -> None:
    """Copies the sources to build and the Python package to run."""
    inputs = [ROOT / name for name in INPUTS]
    for top in inputs:
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                write_if_changed(SOURCE / path.relative_to(ROOT), path.read_bytes())
    shutil.rmtree(PACKAGE, ignore_errors=True)
    ignore = shutil.ignore_patterns("_core*.so", "_core*.pyd", "__pycache__")
    shutil.copytree(ROOT / "python", PACKAGE, ignore=ignore)


def environment() -> dict[str, str]:
    """The surroundings of a build or test: this Python's tools, and the copied package."""
    tools = str(Path(sys.executable).parent)
    path = tools + os.pathsep + os.environ.get("PATH", "")
    return {**os.environ, "PATH": path, "PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1"}


def run(*command: str | Path, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


def must_run(*command: str | Path) -> None:
    done = run(*command)
    if done.returncode:
        raise BrokenError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")


def configure() -> None:
    must_run(
        "cmake", "-S", SOURCE, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        f"-DPython_EXECUTABLE={sys.executable}",
    )  # fmt: skip


def build() -> None:
    """Builds the core and puts it into the copied package."""
    must_run("cmake", "--build", BUILD, "--target", "_core")
    (core,) = [p for p in BUILD.glob("_core*") if p.suffix in {".so", ".pyd"}]
    target = PACKAGE / "rewardshift" / core.name
    target.unlink(missing_ok=True)  # a new file: the old one may still be mapped
    shutil.copy2(core, target)


def killer() -> str | None:
    """What fails in the tests, None if nothing does."""
    pytest = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
    try:
        done = run(*pytest, *(ROOT / "tests" / name for name in TESTS), seconds=TEST_SECONDS)
    except subprocess.TimeoutExpired:
        return "timeout"
    if done.returncode == 0:
        return None
    failed = re.search(r"^FAILED tests/(.+?)(?: - |$)", done.stdout, re.MULTILINE)
    if failed:
        return failed[1]
    if done.returncode < 0 or "Fatal Python error" in done.stdout:
        return f"crash (exit {done.returncode})"
    raise BrokenError(f"pytest exited with {done.returncode}:\n{done.stdout[-4000:]}")


def source_of(mutant: Mutant) -> tuple[Path, str]:
    """The file that a mutant changes, in the copy, and its unmutated text."""
    path = SOURCE / "cpp" / "rewardshift" / mutant.path
    original = path.read_text()
    times = original.count(mutant.old)
    if times != 1:
        raise BrokenError(f"{mutant.name!r}: its string occurs {times} times in {mutant.path}")
    return path, original


@contextlib.contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Applies a mutant to the copy, for as long as it is looked at."""
    path, original = source_of(mutant)
    path.write_text(original.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        path.write_text(original)


def prepare(mutants: list[Mutant]) -> None:
    """Builds the unmutated copy and requires that it passes."""
    start = time.monotonic()
    copy_tree()
    for mutant in mutants:  # a string that is gone should not be found out after an hour
        source_of(mutant)
    configure()
    build()
    print(f"built the copy in {time.monotonic() - start:.0f} s", flush=True)
    start = time.monotonic()
    failure = killer()
    if failure is not None:
        raise BrokenError(f"the unmutated tree fails {failure}")
    print(f"the unmutated tree passes in {time.monotonic() - start:.0f} s", flush=True)


def check(mutants: list[Mutant]) -> int:
    """Prints the table; returns how many survived."""
    width = max(len(mutant.name) for mutant in mutants)
    print(f"{'mutant':{width}}  seconds  killed by", flush=True)
    survivors = 0
    for mutant in mutants:
        start = time.monotonic()
        with mutated(mutant):
            build()
            verdict = killer()
        survivors += verdict is None
        seconds = time.monotonic() - start
        print(f"{mutant.name:{width}}  {seconds:7.1f}  {verdict or 'SURVIVED'}", flush=True)
    return survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only mutants whose names contain one of these")
    names = parser.parse_args().names
    mutants = [m for m in MUTANTS if not names or any(name in m.name for name in names)]
    if not mutants:
        parser.error(f"no mutant is named like {names}")
    try:
        prepare(mutants)
        survivors = check(mutants)
    except BrokenError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
