"""Loads and runs mutated GGUF files, each in a process of its own: ``make fuzz``.

Every mutant must end in a typed error or a working model: never in a signal, a hang, another
exception, or more memory than the bound below. What fails is saved with the command that
repeats it.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from support.engine import SANITIZED
from support.mutate_gguf import Seed, mutant, write_seeds

import rewardshift
from rewardshift.rewards import GGUFRewardModel

CPU_SECONDS, SECONDS = 20, 120
"""A mutant that takes more, of the processor or by the clock, hangs."""

MIB = 1 << 20
SLACK = 256 * MIB
PER_BYTE = 16
"""The bound: a process that loads a mutant and decodes with it grows by no more than
`SLACK` + `PER_BYTE` × the file's size, in resident memory."""

ADDRESS_SPACE = 8 << 30
OPTIONS = {"n_threads": 1, "n_ctx": 64}
TEXTS = ("", "ab cd a", "a\n\u00e9\u4e2d\U0001f600 <|im_start|>b</s>", "  12 don't\tx" * 5)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a mutant ended: `kind` is "working", a typed error's class, or begins with "FAILED"."""

    number: int
    kind: str
    said: str
    what: str

    @property
    def failed(self) -> bool:
        """Whether it is not what was promised."""
        return self.kind.startswith("FAILED")


def exercise(path: Path, seed: Seed) -> None:
    """Loads what a seed became, and does with it whatever a caller can."""
    if seed.is_reward:
        score(path)
    else:
        decode(path, seed)


def score(path: Path) -> None:
    """Loads a reward model, and asks it about exchanges."""
    reward = GGUFRewardModel(path, **OPTIONS)
    str(reward.labels)
    for text in TEXTS:
        accept(reward, [("ab", text)])
    accept(reward, [(text, "cd ab") for text in TEXTS])
    accept(GGUFRewardModel(path, form="{response} {prompt}", **OPTIONS), [("ab cd", "a")])


def roles_of(path: Path, seed: Seed) -> dict[str, object]:
    """Arguments of a Decoder with a file in every role that it can have."""
    if seed.base is None:
        return {"target": path, "draft": path, "reference": path}
    if seed.head == "base":
        return {"target": seed.base, "base": path}
    if seed.head == "shift":
        return {"target": seed.base, "shift": rewardshift.Shift(head=path), "base": seed.base}
    return {"target": seed.base, "reference": seed.base, "draft_lora": path}


def decode(path: Path, seed: Seed) -> None:
    """Loads a model, or what goes with one, and decodes with it."""
    with rewardshift.Decoder(**roles_of(path, seed), progress=False, **OPTIONS) as decoder:
        ids = [token % decoder.vocab_size for token in (1, 3, 4)]
        facts = decoder._models["target"].facts
        str(facts), decoder._models["target"].metadata
        for special in (False, True):
            decoder.detokenize(range(decoder.vocab_size), special=special)
        for text in TEXTS:
            for special in (False, True):
                accept(decoder.tokenize, text, add_special=special, parse_special=special)
        settings = {"max_tokens": 4, "seed": 1}
        accept(decoder.chat, [{"role": "user", "content": "ab"}], **settings)
        accept(decoder.generate, ids, num_draft_tokens=2, **settings)
        accept(decoder.generate_batch, [ids, ids[:1]], temperature=0.0, **settings)
        accept(decoder.score, ids[:2], ids)


def accept(call: object, *arguments: object, **options: object) -> None:
    """A call that may fail, in a typed way, without the rest being less worth a trial."""
    try:
        call(*arguments, **options)
    except UnicodeError:
        raise
    except (rewardshift.Error, ValueError):
        pass


def verdict(path: Path, seed: Seed) -> tuple[str, str]:
    """Runs in the child."""
    try:
        exercise(path, seed)
    except UnicodeError:
        return "FAILED untyped", traceback.format_exc()
    except (rewardshift.Error, ValueError) as error:
        str(error).encode()
        return type(error).__name__, str(error)
    except BaseException:  # noqa: BLE001 - which it was is the result
        return "FAILED untyped", traceback.format_exc()
    return "working", ""


def resident() -> int:
    """This process's peak resident memory, in bytes."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def how_it_died(status: int) -> str:
    """A signal's name, or the exit status: sanitizers end a process with one."""
    if status > 0:
        return f"exit {status}"
    return "hang" if -status in (signal.SIGALRM, signal.SIGXCPU) else signal.Signals(-status).name


def run(number: int, path: Path, seed: Seed, what: str) -> Outcome:
    """Loads one file in a forked child."""
    receive, send = os.pipe()
    last_words = path.with_name("stderr")
    child = os.fork()
    if child == 0:
        os.dup2(os.open(last_words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.environ["GGML_NO_BACKTRACE"] = "1"
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
        if not SANITIZED:  # they take terabytes
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before = resident()
        kind, said = verdict(path, seed)
        os.write(send, json.dumps([kind, said[-3000:], resident() - before]).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        said = last_words.read_text(errors="replace")[-3000:].strip()
        return Outcome(number, f"FAILED {how_it_died(status)}", said, what)
    kind, said, grown = json.loads(answer)
    bound = SLACK + PER_BYTE * path.stat().st_size
    if grown > bound:
        return Outcome(
            number, "FAILED memory", f"{grown} bytes, {bound} allowed: {kind} {said}", what
        )
    return Outcome(number, kind, said, what)


def run_share(arguments: argparse.Namespace, share: int, folder: Path) -> list[Outcome]:
    """Every jobs-th mutant; those that fail are saved."""
    folder = folder / str(share)
    folder.mkdir()
    seeds = write_seeds(folder)
    path = folder / "mutant.gguf"
    if share == 0:
        for seed in seeds:
            require_working(seed, path)
    outcomes = []
    for number in range(arguments.first + share, arguments.first + arguments.n, arguments.jobs):
        made = mutant(seeds, arguments.seed, number)
        path.write_bytes(made.content)
        outcome = run(number, path, made.seed, made.what)
        outcomes.append(outcome)
        if outcome.failed:
            arguments.save.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, arguments.save / f"{arguments.seed}-{number}.gguf")
            print(f"{outcome.kind}: {number}: {made.what}\n  {outcome.said}", flush=True)
    return outcomes


def require_working(seed: Seed, path: Path) -> None:
    """A seed that is refused would make every mutant of it worthless."""
    path.write_bytes(seed.content)
    outcome = run(-1, path, seed, seed.name)
    if outcome.kind != "working":
        raise RuntimeError(f"the valid file {seed.name} does not work: {outcome}")


def main() -> int:
    """Runs the mutants asked for, prints how they ended; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10000, help="how many mutants")
    parser.add_argument("--first", type=int, default=0, help="the first one's number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--save", type=Path, default=Path("build/fuzz"), help="for what fails")
    parser.add_argument("--errors", action="store_true", help="print each distinct error")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shares = [(arguments, share, Path(folder)) for share in range(arguments.jobs)]
        with multiprocessing.Pool(arguments.jobs) as pool:
            outcomes = [outcome for part in pool.starmap(run_share, shares) for outcome in part]
    counts = collections.Counter(outcome.kind for outcome in outcomes)
    if arguments.errors:
        for said, count in collections.Counter(o.said for o in outcomes).most_common():
            print(f"{count:6} {said}")
    for kind, count in counts.most_common():
        print(f"{count:6} {kind}")
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{failed} of {len(outcomes)} mutants of seed {arguments.seed} failed")
    if failed:
        again = f"--seed {arguments.seed} --n 1 --first NUMBER"
        print(f"saved in {arguments.save}; repeat one with {again}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
