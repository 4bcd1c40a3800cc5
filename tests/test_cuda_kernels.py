"""What CUDA's kernels were not compiled for, and llama.cpp would abort on: told before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gguf import GGUFValueType

from rewardshift import ModelLoadError, _core

from .support.mutate_gguf import GgufFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Files


@pytest.mark.parametrize(
    ("arch", "key", "known", "unknown"),
    [
        ("qwen3next", "ssm.state_size", (16, 32, 64, 128), (8, 48, 256)),
        ("kimi-linear", "kda.head_dim", (16, 128), (8, 96)),
        ("rwkv7", "wkv.head_size", (64, 128), (192,)),
        ("mamba", "ssm.conv_kernel", (3, 4), (2, 6)),
        ("lfm2", "shortconv.l_cache", (3, 4), (2, 16)),
    ],
)
def test_sizes_without_a_kernel_are_named(
    files: Files,
    new_file: Callable[[bytes], Path],
    arch: str,
    key: str,
    known: tuple[int, ...],
    unknown: tuple[int, ...],
) -> None:
    file = GgufFile.parse(files.recurrent(arch).path.read_bytes())

    def told(size: int) -> str | None:
        file.put(f"{arch}.{key}", GGUFValueType.UINT32, size)
        return _core.cuda_lacks(str(new_file(bytes(file))))

    assert [told(size) for size in known] == [None] * len(known)
    for size in unknown:
        assert f"{arch}.{key} is {size}, none of" in (told(size) or "")


def test_other_layers_may_have_any_size(files: Files) -> None:
    """The state of mamba's has 8 values, which is too few for a delta net."""
    models = [files.recurrent(arch) for arch in ("mamba", "mamba2", "jamba", "falcon-h1")]
    assert [_core.cuda_lacks(str(model.path)) for model in [*models, files.model()]] == [None] * 5


def test_a_damaged_file_is_a_typed_error(new_file: Callable[[bytes], Path]) -> None:
    with pytest.raises(ModelLoadError):
        _core.cuda_lacks(str(new_file(b"GGUF")))


@pytest.mark.parametrize("arch", ["kimi-linear", "mamba"])
def test_only_where_cuda_is_used_it_is_refused(files: Files, arch: str) -> None:
    """By its reason where a GPU takes the layers, and by nothing else."""
    path = str(files.recurrent(arch).path)
    on_cpu = _core.ModelOptions()
    on_cpu.n_gpu_layers = 0
    assert _core.Model.load(path, on_cpu, None).is_on_cpu
    lacking = _core.cuda_lacks(path)
    if lacking and any(device.backend == "CUDA" for device in _core.devices()):
        with pytest.raises(ModelLoadError, match=r"CUDA's kernels: .*n_gpu_layers=0"):
            _core.Model.load(path, _core.ModelOptions(), None)
    else:
        _core.Model.load(path, _core.ModelOptions(), None)
