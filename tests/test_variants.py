"""Which of a wheel's cores is loaded. The cores themselves are run by tools/check_wheel.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rewardshift import _core, _variants

NEEDS = {"new": "SSE42 AVX AVX512", "middle": "SSE42 AVX", "old": "SSE42"}


@pytest.mark.parametrize(
    ("features", "core"),
    [
        ({"SSE42", "AVX", "AVX512", "BMI2"}, "new"),
        ({"SSE42", "AVX"}, "middle"),
        ({"SSE42", "AVX512"}, "old"),
    ],
)
def test_the_best_core_that_can_run_is_chosen(features: set[str], core: str) -> None:
    assert _variants.choose(NEEDS, features) == core


def test_a_processor_below_the_least_core_is_told_what_it_lacks() -> None:
    with pytest.raises(ImportError, match="needs a processor with SSE42; this one lacks SSE42"):
        _variants.choose(NEEDS, {"AVX"})


def test_another_core_can_be_asked_for() -> None:
    assert _variants.choose(NEEDS, {"SSE42", "AVX", "AVX512"}, "old") == "old"
    assert _variants.choose(NEEDS, {"SSE42"}, "") == "old"


def test_a_core_that_cannot_run_is_refused() -> None:
    with pytest.raises(ImportError, match="'new', but this processor lacks AVX, AVX512"):
        _variants.choose(NEEDS, {"SSE42"}, "new")


def test_an_unknown_core_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ImportError, match="'newest'; this wheel has new, middle, old"):
        _variants.choose(NEEDS, {"SSE42"}, "newest")


LIBRARY = Path(_core.__file__)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package laid out as in a wheel of two cores, both of them the one under test."""
    package = tmp_path / "rewardshift"
    unneeded = shutil.ignore_patterns("_core*", "_cores", "_cpu*", "__pycache__")
    shutil.copytree(Path(_variants.__file__).parent, package, ignore=unneeded)
    for core in ("new", "old"):
        (package / "_cores" / core).mkdir(parents=True)
        (package / "_cores" / core / LIBRARY.name).symlink_to(LIBRARY)
    (package / "_core.py").write_text(
        "import sys\n"
        "from ._variants import load\n"
        "needs = {'new': 'SSE42 AVX', 'old': 'SSE42'}\n"
        "sys.modules[__name__] = load(__name__, needs, {'SSE42'})\n"
    )
    return tmp_path


def run(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: v for name, v in os.environ.items() if name != _variants.OVERRIDE}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_chosen_core_takes_the_place_of_the_module(wheel: Path) -> None:
    code = (
        "import sys, rewardshift\n"
        "from rewardshift import _core\n"
        "assert _core is rewardshift._core is sys.modules['rewardshift._core']\n"
        "assert issubclass(rewardshift.TableModel, _core.TableModel)\n"
        "print(_core.__name__, _core.TableModel.__module__, _core.__file__)"
    )
    process = run(wheel, code)
    chosen = wheel / "rewardshift" / "_cores" / "old" / LIBRARY.name
    assert process.stdout.split() == ["rewardshift._core", "rewardshift._core", str(chosen)], (
        process.stderr
    )


def test_the_environment_overrides_the_choice_but_not_the_processor(wheel: Path) -> None:
    process = run(wheel, "from rewardshift import Decoder", REWARDSHIFT_CPU="new")
    assert process.returncode == 1
    assert "ImportError: REWARDSHIFT_CPU is 'new', but this processor lacks AVX" in process.stderr


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="has nothing to compare with")
def test_the_processors_features_are_those_the_kernel_names() -> None:
    cpu = pytest.importorskip("rewardshift._cpu", reason="only a wheel of several cores has it")
    names = {
        "SSE42": {"sse4_2", "popcnt"},
        "AVX": {"avx"},
        "F16C": {"f16c"},
        "FMA": {"fma"},
        "AVX2": {"avx2"},
        "BMI2": {"bmi2"},
        "AVX_VNNI": {"avx_vnni"},
        "AVX512": {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"},
        "AVX512_VBMI": {"avx512vbmi"},
        "AVX512_VNNI": {"avx512_vnni"},
        "AVX512_BF16": {"avx512_bf16"},
    }
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = set(next(line for line in lines if line.startswith("flags")).split())
    assert cpu.features() == {name for name, needed in names.items() if needed <= flags}
