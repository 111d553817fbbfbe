"""The options of `ganzoo train` and `ganzoo.train`, each defined once.

`Options` types the keyword arguments of `ganzoo.train` and `configure`; its notes define the flags of the command with
their help, and `tables_of` puts each value into a configuration. No torch, no pydantic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from ganzoo.zoo.handing_over import VariantParts

# Data sets with fewer training images are augmented by default. The papers' small data sets have 100 to 400 images
# (Zhao et al. 2020, arXiv:2006.10738), and 1,336 and 1,944 (Karras et al. 2020, arXiv:2006.06676).
FEW_IMAGES = 2_000


@dataclass(frozen=True, kw_only=True)
class Option:
    """A note on an option: its help, the setting that it sets, and its form in the command."""

    help: str
    path: str | None = None  # of the setting, such as "train.steps"; None if `configure` reads the option itself
    flag: str | None = None  # by default the option's name: `batch_size` -> `--batch-size`
    metavar: str | None = None  # None for a switch
    default: str | None = None  # the behaviour without it, in words
    repeatable: bool = False  # whether the flag may be repeated


class Options(VariantParts, total=False):
    """The options of a run besides its variant and data set. Each may be omitted or None.

    The parts of the variant are only for Python; the command sets them with `--set`.
    """

    data_dir: Annotated[
        str | Path | None,
        Option(
            path="data.data_dir",
            metavar="DIR",
            default="GANZOO_DATA_DIR, else a cache",
            help="Directory of MNIST, which is downloaded if it is missing.",
        ),
    ]
    epochs: Annotated[
        float | None, Option(path="train.epochs", metavar="N", help="Budget: passes over the real images.")
    ]
    steps: Annotated[int | None, Option(path="train.steps", metavar="N", help="Budget: generator updates.")]
    minutes: Annotated[
        float | None, Option(path="train.minutes", metavar="M", default="5", help="Budget: minutes of training.")
    ]
    batch_size: Annotated[
        int | None, Option(path="data.batch_size", metavar="N", default="64", help="Images in each batch.")
    ]
    image_size: Annotated[
        int | str | None,
        Option(
            path="data.image_size",
            metavar="N|WxH",
            help="Resize the images to N x N, or to another width and height such as 80x60, with antialiasing.",
        ),
    ]
    fit: Annotated[
        str | None,
        Option(
            path="data.fit",
            metavar="NAME",
            default="crop",
            help="How images of another shape are brought to that size: crop, pad (with --background) or stretch.",
        ),
    ]
    background: Annotated[
        str | None,
        Option(
            path="data.background",
            metavar="COLOUR",
            default="white",
            help="Colour behind transparent pixels, such as black or #30a0ff.",
        ),
    ]
    skip_broken: Annotated[bool | None, Option(path="data.skip_broken", help="Skip image files that cannot be read.")]
    channels: Annotated[
        int | None,
        Option(path="data.channels", metavar="1|3|4", help="Convert the images to grey (1), RGB (3) or RGBA (4)."),
    ]
    bits: Annotated[
        int | None,
        Option(
            path="data.bits",
            metavar="N",
            default="as many as the values need",
            help="Bits of the values in 16-bit grey files, 1 to 16.",
        ),
    ]
    value_range: Annotated[
        str | None,
        Option(
            path="data.value_range",
            flag="--range",
            metavar="A..B",
            help="Range of the values in float arrays, from black to white: 0..1, -1..1 or 0..255.",
        ),
    ]
    channels_first: Annotated[
        bool | None, Option(path="data.channels_first", help="Arrays in files are [N, C, H, W], not [N, H, W, C].")
    ]
    folders: Annotated[
        str | None,
        Option(
            path="data.folders",
            metavar="auto|classes",
            default="auto",
            help="classes: every folder of images is a class, also train/ and test/, which otherwise are splits.",
        ),
    ]
    labels_per_class: Annotated[
        int | None,
        Option(
            path="data.labels_per_class",
            metavar="N",
            default="all",
            help="Train with the labels of N images of each class, chosen by the seed; the others are hidden.",
        ),
    ]
    augment: Annotated[
        str | Sequence[str] | None,
        Option(
            metavar="NAME,...",
            default="auto",
            help="Augmentations before the discriminator, such as translation,cut-out; none; or auto: those of the "
            f"variant, or default ones if there are fewer than {FEW_IMAGES:,} images.",
        ),
    ]
    start_from: Annotated[
        str | Path | None,
        Option(
            path="train.start_from",
            flag="--from",
            metavar="RUN",
            help="Start from another run's weights, with its variant unless --variant names one.",
        ),
    ]
    freeze_discriminator: Annotated[
        int | None,
        Option(
            path="train.freeze_discriminator",
            metavar="N",
            default="0",
            help="With --from: keep the weights of the discriminator's first N layers.",
        ),
    ]
    seed: Annotated[int | None, Option(path="train.seed", metavar="N", default="0", help="Seed of all randomness.")]
    device: Annotated[
        str | None, Option(path="train.device", metavar="NAME", default="auto", help="auto, cpu, cuda, mps.")
    ]
    sample_epochs: Annotated[
        Sequence[int] | None,
        Option(
            path="train.sample_epochs",
            metavar="N,N,...",
            default="even intervals",
            help="Epochs after which sample images are saved.",
        ),
    ]
    evaluate_every: Annotated[
        int | None,
        Option(
            path="train.evaluate_every",
            metavar="N",
            default="never",
            help="Steps between evaluations; the best checkpoint is kept.",
        ),
    ]
    target_fid: Annotated[
        float | None,
        Option(
            path="train.target_fid",
            metavar="FID",
            default="none",
            help="Stop training when an evaluation, and a second one on other latents, have at most this FID.",
        ),
    ]
    on_divergence: Annotated[
        str | None,
        Option(
            path="train.on_divergence",
            metavar="stop|rollback",
            default="stop",
            help="What to do if a loss is not finite. rollback: continue from the last checkpoint with half the "
            "learning rates, at most three times.",
        ),
    ]
    log: Annotated[
        str | Sequence[str] | None,
        Option(
            metavar="NAME,...",
            default="metrics.jsonl only",
            help="Also log to csv, tensorboard or a plug-in's logger (ganzoo list loggers); or none.",
        ),
    ]
    precision: Annotated[
        str | None,
        Option(
            path="train.precision",
            metavar="NAME",
            default="auto",
            help="auto (bf16 if the processor computes it correctly), fp32 (also computes layer by layer), bf16.",
        ),
    ]
    threads: Annotated[
        int | None,
        Option(
            path="train.threads",
            metavar="N",
            default="by the work and the free processors",
            help="CPU threads; with another number, sums are rounded differently.",
        ),
    ]
    deterministic: Annotated[
        bool | None,
        Option(path="train.deterministic", help="Compute in fp32, layer by layer, with deterministic algorithms only."),
    ]
    tune: Annotated[
        bool | None,
        Option(
            path="train.tune",
            help="Measure a few steps of each way to compute and use the fastest; two runs may then differ in bits.",
        ),
    ]
    config: Annotated[
        str | Path | None,
        Option(metavar="FILE", help="TOML file that overrides the variant's values, such as a run's config.toml."),
    ]
    settings: Annotated[
        Sequence[str] | Mapping[str, Any] | None,
        Option(
            flag="--set",
            metavar="KEY=VALUE",
            repeatable=True,
            help="One setting, such as loss=hinge or generator.width=32. May be repeated.",
        ),
    ]


# Options for reading images, also of other commands that inspect data or evaluate with them.
READING_OPTIONS = (
    "image_size", "fit", "background", "skip_broken", "channels", "bits", "value_range", "channels_first",
    "folders",
)  # fmt: skip


def notes() -> dict[str, tuple[Any, Option]]:
    """Return the type and note of each option that is also a flag, by name, in the order of `Options`."""
    found = {}
    for name, hint in Options.__annotations__.items():
        if name not in VariantParts.__annotations__:
            kind, note = get_args(hint)
            found[name] = (kind, note)
    return found


def tables_of(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options that are set, as a configuration's tables `data` and `train`."""
    tables: dict[str, dict[str, Any]] = {}
    for name, (_, note) in notes().items():
        value = options.get(name)
        if note.path is None or value is None:
            continue
        table, _, key = note.path.partition(".")
        tables.setdefault(table, {})[key] = _plain(value)
    return tables


def _plain(value: Any) -> Any:
    """Return a value in a type that TOML and JSON have."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
