"""Memory that is not there is an error that says so; memory that was used comes back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from rewardshift import _core, quantize
from tests.support.engine import SANITIZED, run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

GIB = 1 << 30
limited = pytest.mark.skipif(SANITIZED, reason="sanitizers take terabytes of address space")
measured = pytest.mark.skipif(SANITIZED, reason="sanitizers keep what was freed")


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return str(root)


MEMINFO = {"proc/meminfo": "MemTotal: 9437184 kB\nMemAvailable: 8388608 kB\nSwapFree: 1048576 kB\n"}
V2 = "sys/fs/cgroup/job/inner"
V1 = "sys/fs/cgroup/memory/job"


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({}, 9 * GIB),
        ({"proc/self/cgroup": "0::/job/inner\n", f"{V2}/memory.max": "max\n"}, 9 * GIB),
        # Of 4 GiB, 3 are in use, of which 2 are cached files and half a GiB of that is shared.
        (
            {
                "proc/self/cgroup": "0::/job/inner\n",
                f"{V2}/memory.max": f"{4 * GIB}\n",
                f"{V2}/memory.current": f"{3 * GIB}\n",
                f"{V2}/memory.stat": f"anon {GIB}\nfile {2 * GIB}\nshmem {GIB // 2}\n",
            },
            2.5 * GIB,
        ),
        # The limit of a group above counts as well.
        (
            {
                "proc/self/cgroup": "0::/job/inner\n",
                f"{V2}/memory.max": "max\n",
                f"{V2}/memory.current": "0\n",
                f"{V2}/../memory.max": f"{GIB}\n",
                f"{V2}/../memory.current": "0\n",
            },
            GIB,
        ),
        # A container that shows its own group as the root.
        (
            {
                "proc/self/cgroup": "0::/../elsewhere\n",
                "sys/fs/cgroup/memory.max": f"{GIB}\n",
                "sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
            },
            0,
        ),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:memory:/job\n0::/\n",
                f"{V1}/memory.limit_in_bytes": f"{2 * GIB}\n",
                f"{V1}/memory.usage_in_bytes": f"{GIB}\n",
                f"{V1}/memory.stat": f"cache 1\ntotal_cache {GIB // 4}\ntotal_shmem 0\n",
            },
            1.25 * GIB,
        ),
    ],
    ids=["system", "v2 unlimited", "v2", "v2 parent", "v2 root", "v1"],
)
def test_available_memory_heeds_the_limits_of_a_container(
    tmp_path: Path, tree: dict[str, str], expected: float
) -> None:
    (tmp_path / V2).mkdir(parents=True)
    assert _core.available_memory(write(tmp_path, MEMINFO | tree)) == expected


def test_available_memory_of_this_machine_is_something() -> None:
    assert 0 < _core.available_memory() < 1 << 50


@limited
@pytest.mark.parametrize("flash_attn", [True, False])
def test_a_context_beyond_the_process_s_limit_is_an_error_never_the_end(
    files: Files, flash_attn: bool
) -> None:
    """Address space is limited to 400 MB more than is in use: sizes from just too large to absurd,
    and those around the border in small steps."""
    process = run_python(
        f"""
        import resource
        from pathlib import Path
        import rewardshift

        options = {{"n_threads": 1, "flash_attn": {flash_attn}}}
        with rewardshift.Decoder({str(files.model().path)!r}, n_ctx=256, **options) as decoder:
            expected = decoder.generate([1, 3], max_tokens=4, seed=1).tokens

        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 400_000_000,) * 2)

        def fits(n_ctx):
            try:
                with rewardshift.Decoder({str(files.model().path)!r}, n_ctx=n_ctx, **options) as d:
                    assert d.generate([1, 3], max_tokens=4, seed=1).tokens == expected
                return True
            except rewardshift.OutOfMemoryError as error:
                assert f"n_ctx {{n_ctx}} needs" in str(error), error
                return False

        fit, too_large = 256, 2**31 - 1
        assert fits(fit) and not fits(too_large)
        while too_large - fit > 64:
            middle = (fit + too_large) // 2
            if fits(middle):
                fit = middle
            else:
                too_large = middle
        for n_ctx in range(max(64, fit - 20_000), fit + 20_000, 4_000):
            fits(n_ctx)
        for n_ctx in (10**8, 10**9, 2**31 - 1):
            assert not fits(n_ctx)
        assert fits(256)
        print("alive")
        """
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.strip() == "alive"


@limited
def test_threads_that_cannot_be_had_are_an_error(files: Files) -> None:
    process = run_python(
        f"""
        import resource
        from pathlib import Path
        import rewardshift
        from rewardshift import _core, quantize

        rewardshift.Decoder({str(files.model().path)!r}, n_ctx=64, n_threads=1).close()
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 200_000_000,) * 2)
        try:
            _core.Threadpool(500)
        except rewardshift.OutOfMemoryError as error:
            print(error)
        """
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert "of 500 threads could be had" in process.stdout


MAPPED = """
import logging, re, sys
from pathlib import Path
import rewardshift

said = []
class Log(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logger = logging.getLogger("rewardshift.llama")
logger.addHandler(Log())
logger.setLevel(logging.DEBUG)
with rewardshift.Decoder(path, n_ctx=64, n_threads=1, n_gpu_layers=0, use_mmap=use_mmap) as decoder:
    decoder.generate([1, 3], max_tokens=2)
    mapped = path in Path("/proc/self/maps").read_text()
sizes = re.findall(r"(?:CPU_REPACK|AMX) model buffer size = *([\\d.]+)", "\\n".join(said))
print(mapped, int(sum(map(float, sizes)) * 2**20))
"""
"""Whether a model file is mapped, and how many bytes of it llama.cpp rearranged."""


@pytest.mark.parametrize("kind", ["F16", "Q4_0"])
@pytest.mark.parametrize("use_mmap", [None, True, False])
def test_a_file_is_mapped_unless_most_of_it_is_rearranged(
    files: Files, tmp_path: Path, kind: str, use_mmap: bool | None
) -> None:
    """Whether this processor has an order of its own for a type is llama.cpp's to say."""
    path = tmp_path / "model.gguf"
    quantize(files.model(n_embd=256, n_ff=1024, n_layer=4).path, path, kind)
    process = run_python(f"path, use_mmap = {str(path)!r}, {use_mmap}\n" + MAPPED)
    assert process.returncode == 0, process.stderr[-2000:]
    mapped, rearranged = process.stdout.split()
    twice = 2 * int(rearranged) > path.stat().st_size
    assert mapped == str(not twice if use_mmap is None else use_mmap)


RESIDENT = """
import gc
from pathlib import Path
import rewardshift

def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
"""


@measured
@pytest.mark.slow
def test_two_hundred_lives_of_a_decoder_need_no_more_memory_than_fifty(files: Files) -> None:
    """The bound is reached by 28 KiB kept of each of the last 150; a context has megabytes."""
    path = str(files.model(n_embd=64).path)
    process = run_python(
        RESIDENT
        + f"""
def once(n_threads):
    with rewardshift.Decoder({path!r}, n_ctx=1024, n_threads=n_threads) as decoder:
        decoder.generate([1, 3], max_tokens=2)

for i in range(50):
    once(1 + (i % 10 == 0))
before = resident()
for i in range(150):
    once(1 + (i % 10 == 0))
print(resident() - before)
"""
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) < 4 << 20


@measured
@pytest.mark.slow
def test_five_thousand_requests_need_no_more_memory_than_five_hundred(files: Files) -> None:
    """Of every kind: whole, streamed, dropped half-way, batched, scored, refused and failed. A
    kilobyte kept of each would be 4.4 MiB."""
    paths = [str(m.path) for m in files.trio()]
    process = run_python(
        RESIDENT
        + f"""
decoder = rewardshift.Decoder(*{paths!r}, n_ctx=512, n_threads=1)
forbid = dict.fromkeys(range(12), float("-inf"))

def ten(i):
    settings = dict(max_tokens=3, seed=i)
    decoder.generate([1, 3 + i % 5, 4], **settings)
    decoder.generate([1, 3], stop="ab", top_logprobs=2, echo=True, **settings)
    list(decoder.stream([1, 3], **settings))
    next(decoder.stream([1, 4, 3], logit_bias={{2: -50}}, **settings))
    decoder.generate_batch([[1, 3], [1, 4], [1, 5]], **settings)
    decoder.cancel(decoder.submit([1, 3], **settings))
    decoder.step()
    decoder.score([1, 3], [3, 4])
    for wrong in (dict(top_p=7.0), dict(logit_bias=forbid)):
        try:
            decoder.generate([1, 3], **wrong)
        except (ValueError, rewardshift.EvaluationError):
            pass

for i in range(50):
    ten(i)
before = resident()
for i in range(450):
    ten(i)
assert not decoder.has_work
print(resident() - before)
"""
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) < 4 << 20
