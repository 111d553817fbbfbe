"""The data card of a synthetic data set: the content of its manifest for readers."""

from ganzoo.markdown import code, escaped
from ganzoo.synthetic.manifest import Manifest

MANIFEST, CARD = "manifest.json", "README.md"


def card(manifest: Manifest) -> str:
    """Return the card in Markdown."""
    model, flat = manifest.model, manifest.format == "png" and manifest.labels is None
    channels, height, width = manifest.image_shape
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
    parts = " and ".join(f"{part.kept:,} in {code(name)}" for name, part in manifest.parts.items())
    step = "" if model.step is None else f" after {model.step} steps"
    return f"""# {manifest.kept:,} synthetic images

Drawn by a generative model. None of them is a real image.

- **What**: {kind} images of {height} x {width} pixels, 8 bits per channel: {parts}.
- **Drawn by**: {code(model.variant)}{step}, trained on {code(model.trained_on.source)}; \
the model {code(model.name)} has the SHA-256 `{model.sha256}`, the random seed is {manifest.seed}.
- **Labels**: {_about_labels(manifest)}
- **Selection**: {_about_choice(manifest)}

`{MANIFEST}` contains the same for programs. The same model, seed and settings produce the same files.

{_table(manifest)}## Loading

```python
{_LOADING["flat" if flat else manifest.format]}
```

## Limits

- The images repeat what the model learnt from {code(model.trained_on.source)}, including its gaps and biases. They are
  not new observations, and may vary less than real images.
- Do not use them in test sets. If you mix them with real images, report that, together with a result without them.
- The labels come from the generator or a classifier. Both make errors, mostly on images that are hard to classify.
"""


_LOADING = {
    "idx": """from torchvision.datasets import MNIST

train = MNIST("FOLDER", train=True)
further = MNIST("FOLDER", train=False)  # drawn by the same model: not a test set of real images""",
    "png": """from torchvision.datasets import ImageFolder

images = ImageFolder("FOLDER")  # in ganzoo: --dataset folder:FOLDER""",
    "flat": """from pathlib import Path

from PIL import Image

images = [Image.open(path) for path in sorted(Path("FOLDER").glob("*.png"))]  # in ganzoo: --dataset folder:FOLDER""",
    "npz": """import numpy as np

file = np.load("images.npz")  # in ganzoo: --dataset npz:FILE
images, labels = file["images"], file.get("labels")""",
}


def _about_labels(manifest: Manifest) -> str:
    reason = manifest.unavailable.get("label_accuracy")
    if manifest.labels is None:
        return f"none: {reason}."
    asked, judge = "the classes that the generator was asked for", manifest.judge
    if judge is None:
        return f"{asked}, not verified: {reason}."
    judged = (
        f"the judge {code(judge['name'])}, a classifier with an accuracy of {judge['accuracy']:.2%} on the real test "
        f"images (SHA-256 `{judge['sha256']}`)"
    )
    if manifest.labels == "judge":
        return (
            f"assigned by {judged}. Its mean confidence is {manifest.mean_confidence:.2%}; the share of correct labels "
            f"was not measured: {reason}."
        )
    return f"{asked}. **{manifest.label_accuracy:.2%}** of the images are classified as their label by {judged}."


def _about_choice(manifest: Manifest) -> str:
    kept, drawn = manifest.kept, manifest.drawn
    shares = {"uniform": "equal numbers per class", "real": "classes in the proportions of the training data"}
    balance = f"{shares[manifest.balance]}; " if manifest.balance else ""
    if manifest.filter is None:
        return f"{balance}{kept:,} images kept of {drawn:,} drawn."
    before = manifest.label_accuracy_before_filter
    compare = "" if before is None else f"; it classifies {before:.2%} of all drawn images as their label"
    return (
        f"{balance}{kept:,} images kept of {drawn:,} drawn: those to whose label the judge assigns a probability of "
        f"{manifest.filter.min_confidence:g} or more. The same judge selected and measured the images, so its "
        f"agreement with the labels is too high{compare}."
    )


def _table(manifest: Manifest) -> str:
    """Return a table of the images per class and part, and the label accuracy of each class."""
    names, parts, accuracy = manifest.class_names, manifest.parts, manifest.label_accuracy_by_class
    if names is None:
        return ""
    columns = ["label", "class", *parts, *(["classified as its label"] if accuracy else [])]
    rows = [columns, ["---"] * len(columns)]
    for label, name in enumerate(names):
        shares = [f"{part.class_counts[label]:,}" for part in parts.values() if part.class_counts]
        read = accuracy and accuracy[label]
        rows.append(
            [
                str(label),
                escaped(name),
                *shares,
                *([f"{read:.2%}" if read is not None else "-"] if accuracy else []),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\n"
