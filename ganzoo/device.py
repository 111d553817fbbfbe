"""Where and how precisely a run computes, and torch's global settings while it does."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ganzoo.config import TrainConfig
from ganzoo.errors import MachineError

SELF_TEST_TOLERANCE = 0.05  # bfloat16 keeps 8 bits: a right convolution errs by less than 1 %


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


@contextmanager
def torch_settings(train: TrainConfig) -> Iterator[None]:
    """Torch as a run needs it: threads, matrix products, gradients on, a generator of its own; restored afterwards."""
    threads, matmul, dtype = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_default_dtype()
    devices = [torch.cuda.current_device()] if train.device == "cuda" else []
    try:
        torch.set_num_threads(train.threads or threads)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision(_matmul_precision() if train.device == "cpu" else matmul)
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(matmul)


def _matmul_precision() -> str:
    """ "medium" sends a CPU's matrix products to oneDNN, faster; kept only where that still computes in float32."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 256, generator=generator), torch.randn(256, 64, generator=generator)
    torch.set_float32_matmul_precision("medium")
    exact = a.double() @ b.double()
    return "medium" if ((a @ b).double() - exact).norm() <= 1e-6 * exact.norm() else "highest"
