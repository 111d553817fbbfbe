"""CelebA (Liu et al. 2015): `celeba`, 162,770 + 19,962 aligned faces; `celeba:Smiling`, labelled by that attribute."""

from dataclasses import replace
from pathlib import Path

from ganzoo.data.archives import unpack
from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.folder import read_folder
from ganzoo.data.published import MISSING, Published, find_files, get_files
from ganzoo.data.scanning import Scan
from ganzoo.errors import UsageError
from ganzoo.registry import datasets

IMAGES, SPLITS, ATTRIBUTES = "img_align_celeba.zip", "list_eval_partition.txt", "list_attr_celeba.txt"
CELEBA = Published(
    source="celeba",
    title="CelebA",
    files={
        IMAGES: "00d2c5bc6d35e252742224ab0c1e8fcb",
        SPLITS: "d32c9cbf5e040fd4025c592c306e6668",
        ATTRIBUTES: "75e246fa4810816ffd6ee81facbd244c",
    },
    folders=("CelebA/Img", "CelebA/Eval", "CelebA/Anno"),  # in the authors' shared drive
    hint="; http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html links to them",
)
SIZE = 178  # the width of the images, which are 218 high
UNCHECKED = "unpacked images are used without checking a hash: only the archive's hash is published"


@datasets.register("celeba")
def celeba(request: Request) -> Dataset:
    """162,770 training or 19,962 test faces in colour (Liu et al. 2015), cropped to the middle 178 x 178 and resized.

    `celeba:Smiling`, or another of the 40 attributes, has the classes "not Smiling" and "Smiling". The files are never
    fetched. The images are unpacked once, into the cache. If there is no archive, a folder `img_align_celeba` is used,
    and `notes` reports that it was not hashed. Raises MachineError with the missing files, their hashes and the folder
    to put them into; UsageError for an unknown attribute.
    """
    texts = (SPLITS,) if request.argument is None else (SPLITS, ATTRIBUTES)
    wanted = replace(CELEBA, files={name: CELEBA.files[name] for name in (IMAGES, *texts)})
    places = wanted.places(request.data_dir)
    found, faults = find_files(wanted, places)
    folder = next((path for place in places if (path := place / Path(IMAGES).stem).is_dir()), None)
    notes: tuple[str, ...] = (UNCHECKED,)
    unpacked = folder is not None and faults.get(IMAGES) == MISSING  # then the archive is not needed
    lacking = {name: wanted.files[name] for name in faults if not (unpacked and name == IMAGES)}
    if lacking:
        found |= get_files(replace(wanted, files=lacking), request)
    if folder is None or not unpacked:
        folder, notes = unpack(found[IMAGES])
    part = "0" if request.split == "train" else "2"  # 1 is for validation
    names = [name for name, number in map(str.split, found[SPLITS].read_text().splitlines()) if number == part]
    root = folder.resolve()
    chosen = Scan(paths=[root / name for name in names], labels=None, names=(), notes=())
    if request.argument is not None:
        labels, classes = _read_attribute(found[ATTRIBUTES], request.argument, names)
        chosen = replace(chosen, labels=labels, names=classes)
    sized = replace(request, image_size=request.image_size or SIZE)
    dataset = read_folder(root, sized, "celeba", notes, chosen)  # decoded once for all attributes
    return replace(dataset, source="celeba" if request.argument is None else f"celeba:{request.argument}")


def _read_attribute(path: Path, attribute: str, names: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Return the labels of images for one attribute, and the names of the two classes. Raises UsageError."""
    _, head, *lines = path.read_text().splitlines()
    attributes = head.split()
    if attribute not in attributes:
        raise UsageError(f"celeba has no attribute '{attribute}': expected one of {', '.join(attributes)}")
    column = attributes.index(attribute) + 1
    values = {row[0]: row[column] for row in map(str.split, lines)}
    return [int(values[name] == "1") for name in names], (f"not {attribute}", attribute)
