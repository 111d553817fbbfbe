"""Summary of a data set in one or two lines: number and shape of its images, its classes, and notes on loading."""

from collections.abc import Iterator

from ganzoo.data.dataset import Dataset

SHOWN = 12  # classes that are listed one by one
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}


def summarise(dataset: Dataset, *remarks: str) -> list[str]:
    """Return a line on the images and their classes, and a second one if there are notes.

    The `remarks` are added to the end of the second line.
    """
    channels, height, width = dataset.image_shape
    images = f"{len(dataset):,} image{'s' if len(dataset) != 1 else ''}, {width} x {height} {COLOURS[channels]}"
    aside = [*dataset.notes, *_empty_classes(dataset), *remarks]
    return [
        f"data: {dataset.source}: {images}; {describe_classes(dataset)}",
        *([f"data: {'; '.join(aside)}"] if aside else []),
    ]


def describe_classes(dataset: Dataset) -> str:
    """Return the classes, each with its label, name and number of images: `2 classes: 0 cat (50), 1 dog (40)`."""
    counts = dataset.class_counts
    if counts is None:
        return "no labels"
    bare = f", {dataset.unlabelled:,} images without a label (-1)" if dataset.unlabelled else ""
    many = f"{len(counts):,} class{'es' if len(counts) != 1 else ''}"
    words = [f"{_name(dataset, label)} ({count:,})" for label, count in enumerate(counts)]
    if len(counts) <= SHOWN:
        return f"{many}: {', '.join(words)}{bare}"
    least, most = (counts.index(function(counts)) for function in (min, max))
    return f"{many}, from {words[0]} to {words[-1]}; fewest images: {words[least]}, most: {words[most]}{bare}"


def _name(dataset: Dataset, label: int) -> str:
    """Return a class as its label and name, or the label alone if that is its name."""
    name = dataset.class_names[label] if dataset.class_names else str(label)
    return name if name == str(label) else f"{label} {name}"


def _empty_classes(dataset: Dataset) -> Iterator[str]:
    """Yield a note on classes that no image has, if there are any."""
    empty = [_name(dataset, label) for label, count in enumerate(dataset.class_counts or ()) if not count]
    if empty:
        shown = ", ".join([*empty[:SHOWN], *(["..."] if len(empty) > SHOWN else [])])
        yield f"class{'es' if len(empty) > 1 else ''} without images: {shown}"
