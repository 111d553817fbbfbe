"""The device and precision of a run, and torch's global settings during the run."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from ganzoo.config import RunConfig
from ganzoo.errors import MachineError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt
NO_KERNEL = "not implemented for 'BFloat16'"  # torch's message for an operator without bfloat16
SELF_TEST_TOLERANCE = 0.05  # bfloat16 has 8 bits of precision: the error of a correct convolution is below 1 %


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Set torch's default dtype to float32 during the block, and restore it afterwards."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(former)


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA, else MPS, else the CPU. Raises MachineError if it is missing."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device in available if available[device])
        raise MachineError(f"device '{name}' is not available; this machine has {there} (--device auto uses the first)")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return the name of the processor, for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", "cpu")) if device.type == "cpu" else device.type


def choose_precision(name: str, device: torch.device) -> str:
    """Return the precision; "auto" is bfloat16 if the hardware supports it and computes it correctly, else float32."""
    if name != "auto":
        return name
    return "bfloat16" if _has_bfloat16(device) and _bfloat16_is_right(device) else "float32"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@float32_by_default()
@torch.inference_mode(False)
@torch.enable_grad()
def _bfloat16_is_right(device: torch.device) -> bool:
    """Compare a bfloat16 convolution and its gradient with float32: some builds are wrong (pytorch#163347)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 16, 14, 14, generator=generator).to(device)
    weight = torch.randn(32, 16, 4, 4, generator=generator).to(device)
    answers = []
    for dtype in (torch.float32, torch.bfloat16):
        x = images.to(dtype).requires_grad_()
        y = torch.nn.functional.conv2d(x, weight.to(dtype), stride=2, padding=1)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        answers.append(torch.cat([y.flatten(), gradient.flatten()]).double())
    return bool((answers[0] - answers[1]).norm() <= SELF_TEST_TOLERANCE * answers[0].norm())


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for forward passes of the networks."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def choose_matmul(name: str, device: torch.device) -> str:
    """Return the precision of float32 matrix products, as named by torch.set_float32_matmul_precision.

    "auto" is TF32 ("high") on CUDA, and oneDNN ("medium") on a CPU, or "highest" if the CPU would compute "medium" in
    bfloat16.
    """
    if device.type == "cpu" and name in ("auto", "medium"):
        return "medium" if _onednn_is_float32() else "highest"
    if name == "auto":
        return "high" if device.type == "cuda" else "highest"
    return name


@float32_by_default()
def _onednn_is_float32() -> bool:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 256, generator=generator), torch.randn(256, 64, generator=generator)
    former = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        product = (a @ b).double()
    finally:
        torch.set_float32_matmul_precision(former)
    exact = a.double() @ b.double()
    return bool((product - exact).norm() <= 1e-6 * exact.norm())


@contextmanager
def torch_settings(config: RunConfig) -> Iterator[None]:
    """Set torch's global settings for a run (threads, matrix products, gradients, random state); restore them after."""
    compute, exact = config.chosen, config.train.deterministic
    threads, matmul = torch.get_num_threads(), torch.get_float32_matmul_precision()
    deterministic, workspace = torch.get_deterministic_debug_mode(), os.environ.get(_WORKSPACE)
    benchmark, tf32 = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    devices = [torch.cuda.current_device()] if compute.device == "cuda" else []
    try:
        torch.set_num_threads(compute.threads)
        torch.set_float32_matmul_precision(compute.matmul)
        if exact:
            os.environ.setdefault(_WORKSPACE, ":4096:8")  # cuBLAS requires it
            torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = compute.device == "cuda" and not exact
        torch.backends.cudnn.allow_tf32 = compute.matmul != "highest"  # the same for convolutions
        with (
            float32_by_default(),
            torch.random.fork_rng(devices),
            torch.inference_mode(False),
            torch.enable_grad(),
            _compiler(compute.compiled),
            _keep_freed_memory(),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(matmul)
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = benchmark, tf32
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


def _compiler(compiled: bool) -> AbstractContextManager[None]:
    """Raise torch's limit of 8 compiled versions per function, which all runs of a process share."""
    if not compiled:
        return nullcontext()
    import torch._dynamo  # takes a second

    patched: AbstractContextManager[None] = torch._dynamo.config.patch(recompile_limit=256)
    return patched


@contextmanager
def _keep_freed_memory() -> Iterator[None]:
    """Make glibc keep freed memory during the block, because the next step allocates the same sizes again.

    Otherwise glibc returns large blocks to the system, which must zero them page by page when they are allocated again:
    a sixth of a DCGAN step. Other mallopt settings of the process are lost; other C libraries are not changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, 65536)  # glibc's defaults
        mallopt(_TRIM_THRESHOLD, 128 * 1024)
        ctypes.CDLL(None).malloc_trim(0)
