"""Faces: `faces-lfw`, 100 small images that the package scikit-image includes."""

import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import torch

from ganzoo.data.dataset import Dataset, Request
from ganzoo.errors import MachineError, NoSplitError, UsageError
from ganzoo.registry import datasets

SHA256 = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"  # of the array float64 [200, 25, 25]
FACES = 100  # the first ones; the others show no face


@datasets.register("faces-lfw")
def faces_lfw(request: Request) -> Dataset:
    """100 faces, 1 x 25 x 25, of Labeled Faces in the Wild (Huang et al. 2007): few images to try augmentations on.

    They come with the package scikit-image, without labels and without test images. They are photographs of public
    figures, collected from the web for research; their licence is not known. Raises MachineError.
    """
    if request.argument is not None:
        raise UsageError(f"{request.name} takes no argument, but was given '{request.argument}'")
    if request.split != "train":
        raise NoSplitError("faces-lfw has no test images")
    package = importlib.util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise MachineError('faces-lfw needs a package that is not installed: pip install "torch-ganzoo[faces]"')
    path = Path(package.submodule_search_locations[0], "data", "lfw_subset.npy")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path} cannot be read ({error.strerror}): install scikit-image again") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise MachineError(f"{path} is not the file that faces-lfw needs: install another version of scikit-image")
    faces = np.load(io.BytesIO(content), allow_pickle=False)[:FACES]
    images = torch.from_numpy((255 * faces).round().astype(np.uint8)).unsqueeze(1)
    return Dataset(images=images, source="faces-lfw")
