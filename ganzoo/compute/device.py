"""Where and how precisely a run computes, and torch's global settings while it does."""

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
NO_KERNEL = "not implemented for 'BFloat16'"  # what torch says of an operator that it cannot compute in bfloat16
SELF_TEST_TOLERANCE = 0.05  # bfloat16 keeps 8 bits: a right convolution errs by less than 1 %


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make tensors and weights float32 where no type is named, whatever the process has set; restore it after."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(former)


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA, else MPS, else the CPU. Raises MachineError where it is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device in available if available[device])
        raise MachineError(f"device '{name}' is not there; this machine has {there} (--device auto takes the first)")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """For people: which processor this is."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", "cpu")) if device.type == "cpu" else device.type


def choose_precision(name: str, device: torch.device) -> str:
    """ "auto" is bfloat16 where the hardware has it and computes it rightly, else float32."""
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
    """Some builds return wrong bfloat16 convolutions (pytorch#163347): compare one, and its gradient, with float32."""
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
    """The context of the networks' passes."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def choose_matmul(name: str, device: torch.device) -> str:
    """How float32 matrices are multiplied, as torch.set_float32_matmul_precision names it.

    "auto" is TF32 ("high") on CUDA, and oneDNN ("medium") on a CPU; where a processor computes that in bfloat16, it
    is "highest".
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
    """Set torch as a run needs it: threads, matrix products, gradients on, a generator of its own; restore it after."""
    compute, exact = config.chosen, config.train.deterministic
    threads, matmul = torch.get_num_threads(), torch.get_float32_matmul_precision()
    deterministic, workspace = torch.get_deterministic_debug_mode(), os.environ.get(_WORKSPACE)
    benchmark, tf32 = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    devices = [torch.cuda.current_device()] if compute.device == "cuda" else []
    try:
        torch.set_num_threads(compute.threads)
        torch.set_float32_matmul_precision(compute.matmul)
        if exact:
            os.environ.setdefault(_WORKSPACE, ":4096:8")  # without it cuBLAS refuses
            torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = compute.device == "cuda" and not exact
        torch.backends.cudnn.allow_tf32 = compute.matmul != "highest"  # of convolutions, as of matrices
        with (
            float32_by_default(),
            torch.random.fork_rng(devices),
            torch.inference_mode(False),
            torch.enable_grad(),
            _compiler(compute.compiled),
            _freed_memory_kept(),
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
    """The compiler's settings: it refuses a function's ninth version, and runs of one process share their functions."""
    if not compiled:
        return nullcontext()
    import torch._dynamo  # takes a second

    patched: AbstractContextManager[None] = torch._dynamo.config.patch(recompile_limit=256)
    return patched


@contextmanager
def _freed_memory_kept() -> Iterator[None]:
    """Have glibc keep what is freed meanwhile, for the next step asks for the same again.

    Otherwise it returns large blocks to the system, which hands them out page by page, zeroed: a sixth of a step of
    DCGAN's. What else the process has set there is lost; other C libraries are left alone.
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
