"""``rewardshift doctor``."""

import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from rewardshift import _core
from rewardshift._core import version as __version__

from .command import command
from .encode import print_json
from .options import OutputFlags
from .render import amount, facts_table, stdout


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(doctor)


@command
def doctor(output: OutputFlags) -> None:
    """Show what this build of rewardshift can use on this machine."""
    output.set_up_log()
    report = examine()
    if output.json:
        print_json(report)
    else:
        _show(report)


@dataclass(frozen=True)
class Gpu:
    """A GPU that the operating system knows of.

    Attributes:
        vendor: Its maker.
        found: Where it shows.
        backends: Names of ggml's backends that could drive it.
        define: The CMake option that compiles the best of them in.
    """

    vendor: str
    found: str
    backends: tuple[str, ...]
    define: str


@dataclass(frozen=True)
class Report:
    """Everything that ``doctor`` tells."""

    version: str
    llama_cpp_version: str
    llama_cpp_commit: str
    python: str
    system: str
    cores: int
    compiled_for: str
    cpu_features: list[str]
    backends: list[str]
    devices: list[dict[str, object]]
    gpus: list[Gpu]
    problems: list[str]


_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_DRIVEN_BY: dict[str, tuple[tuple[str, ...], str]] = {
    "NVIDIA": (("CUDA", "Vulkan"), "GGML_CUDA"),
    "AMD": (("ROCm", "HIP", "Vulkan"), "GGML_VULKAN"),
    "Intel": (("SYCL", "Vulkan"), "GGML_VULKAN"),
    "Apple": (("MTL", "Metal"), "GGML_METAL"),
}


def examine(root: Path = Path("/")) -> Report:
    """Asks the core and the system.

    Args:
        root: Where the system's files are.
    """
    backends, gpus = _core.backends(), list(find_gpus(root))
    devices = [
        {name: getattr(device, name) for name in dir(type(device)) if name[0] != "_"}
        for device in _core.devices()
    ]
    return Report(
        version=__version__,
        llama_cpp_version=_core.llama_cpp_version,
        llama_cpp_commit=_core.llama_cpp_commit,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=_core.usable_cores(),
        compiled_for=_core.cpu,
        cpu_features=[
            name if value == "1" else f"{name}={value}" for name, value in _core.cpu_features()
        ],
        backends=backends,
        devices=devices,
        gpus=gpus,
        problems=[
            *gpu_problems(gpus, backends, [str(d["backend"]) for d in devices]),
            *page_problems(root),
        ],
    )


def find_gpus(
    root: Path, *, system: str = sys.platform, machine: str = platform.machine()
) -> Iterator[Gpu]:
    """GPUs that the operating system knows of, one for each vendor.

    Args:
        root: Where the system's files are.
        system: As ``sys.platform``.
        machine: As ``platform.machine()``.
    """
    places: dict[str, Path] = {}
    for vendor in sorted(root.glob("sys/class/drm/card*/device/vendor")):
        if name := _VENDORS.get(vendor.read_text().strip()):
            places.setdefault(name, vendor)
    for sign in ("proc/driver/nvidia/version", "dev/nvidia0"):
        if (root / sign).exists():
            places["NVIDIA"] = root / sign
    for vendor_name, place in places.items():
        yield Gpu(vendor_name, str(place), *_DRIVEN_BY[vendor_name])
    if system == "darwin" and machine == "arm64":
        yield Gpu("Apple", "Apple Silicon", *_DRIVEN_BY["Apple"])


def page_problems(root: Path) -> Iterator[str]:
    """Whether the system keeps large buffers in small pages only, and what to do.

    Args:
        root: Where the system's files are.
    """
    setting = root / "sys/kernel/mm/transparent_hugepage/enabled"
    if setting.exists() and "[never]" in setting.read_text():
        yield (
            "This system gives no huge pages, without which large models were seen to be 1.4 times "
            "as slow. To have them until the next start: "
            f"echo madvise | sudo tee /{setting.relative_to(root)}"
        )


def gpu_problems(
    gpus: Sequence[Gpu], backends: Sequence[str], device_backends: Sequence[str]
) -> Iterator[str]:
    """What keeps GPUs from being used, and what to do.

    Args:
        gpus: Those present.
        backends: Those compiled in.
        device_backends: The backend of each usable device.
    """
    if len(device_backends) > device_backends.count("CPU"):
        return  # one that works is enough: the other may be there for the screen
    for gpu in gpus:
        compiled = [name for name in gpu.backends if name in backends]
        if not compiled:
            yield (
                f"There is a GPU of {gpu.vendor} ({gpu.found}), but this build has no backend for "
                "it and computes on the CPU. To use it, install again from the source folder: "
                f"pip install --force-reinstall . -Ccmake.define.{gpu.define}=ON"
            )
        elif not set(compiled) & set(device_backends):
            yield (
                f"There is a GPU of {gpu.vendor} ({gpu.found}) and this build has {compiled[0]}, "
                "but no device is usable: check that its driver is installed and loaded."
            )


def _show(report: Report) -> None:
    console = stdout()
    console.print(facts_table(_rows(report)))
    for problem in report.problems:
        console.print()
        console.print(problem, style="bold yellow", soft_wrap=not console.is_terminal)


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    yield "rewardshift", report.version
    if report.llama_cpp_version == "custom":
        yield "llama.cpp", "sources of your own (REWARDSHIFT_LLAMA_CPP_DIR)"
    else:
        origin = f"of llama-cpp-python {report.llama_cpp_version}"
        yield "llama.cpp", f"{report.llama_cpp_commit} ({origin})"
    yield "Python", f"{report.python} on {report.system}"
    yield "cores", f"{report.cores} usable"
    yield "compiled for", report.compiled_for
    yield "CPU features", " ".join(report.cpu_features)
    yield "backends", ", ".join(report.backends)
    for device in report.devices:
        memory = amount(float(str(device["total_memory"])), "B")
        if device["kind"] != "cpu":  # what llama.cpp calls free there is all there is
            memory = f"{amount(float(str(device['free_memory'])), 'B')} free of {memory}"
        yield (
            "device",
            f"{device['description']} ({device['name']}, {device['kind']}), {memory}",
        )
    if not report.gpus:
        yield "GPU", "none found"
    elif not report.problems:
        yield "GPU", ", ".join(f"{gpu.vendor}, in use" for gpu in report.gpus)
