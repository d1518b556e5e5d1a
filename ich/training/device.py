"""The device that computes, and in which numbers."""

import ctypes
import os
import platform
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def prepare(seed: int, threads: int | None) -> torch.device:
    """Seed every generator, choose reproducible algorithms, and choose the device: CUDA if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    random.seed(seed)  # this and the next for libraries: the package's own code uses neither
    np.random.seed(seed)  # noqa: NPY002
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS adds up in varying order
    # CUDA lacks such algorithms for some layers. A warning then: bits are promised for the CPU alone.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # A debugging aid that comes with these algorithms and costs DenseNet121 a tenth of its time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_memory()
    return device


def keep_memory() -> None:
    """Keep freed memory for the next step instead of handing it back to the system, where the C library is GNU's.

    Otherwise each step on the CPU asks for the same gigabytes again, which are filled with zeros page by page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, -1)
        mallopt(M_MMAP_MAX, 0)


def number_type(precision: str, device: torch.device) -> torch.dtype:
    """Choose what layers compute in that can do so safely; weights and sums stay float32.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16", "float16"}
        `auto` is float32 on the CPU; on a GPU bfloat16 or, where it has none, float16.
    device : torch.device
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def hardware(device: torch.device) -> dict[str, Any]:
    """Say what computed; the last digits depend on it."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device)}
    described = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    name = described[1] if described else platform.machine()  # ARM kernels give no name
    return {"device": name, "instructions": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
