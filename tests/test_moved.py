"""Modules are still imported by the names that they had before they stood in rooms."""

import importlib
import subprocess
import sys

import pytest
from conftest import environment

from ganzoo.moved import MOVED


@pytest.mark.parametrize("former", MOVED)
def test_a_former_name_gives_the_module_itself(former: str) -> None:
    module = importlib.import_module(former)
    assert module is importlib.import_module(MOVED[former])
    assert module.__name__ == MOVED[former]
    assert module.__spec__ is not None
    assert module.__spec__.name == MOVED[former]


SCRIPT = """
import ganzoo.networks.dcgan, ganzoo.variants.gan
from ganzoo.batch import Batch, Noise
from ganzoo.losses import Hinge, Loss
from ganzoo.networks.common import Output, logits_of
from ganzoo.penalties import GradientPenalty
from ganzoo.trainer import train
from ganzoo.registry import generators, variants
import ganzoo.zoo.networks.dcgan as now
assert ganzoo.networks.dcgan is now
assert generators["dcgan"] is now.DCGANGenerator
assert "gan" in variants
try:
    import ganzoo.no_such_module
except ModuleNotFoundError as error:
    assert error.name == "ganzoo.no_such_module"
else:
    raise AssertionError
try:
    import ganzoo.networks.no_such_module
except ModuleNotFoundError as error:
    assert "no_such_module" in str(error)
else:
    raise AssertionError
"""


@pytest.mark.slow
def test_old_imports_work_in_a_fresh_process_and_register_nothing_twice() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
