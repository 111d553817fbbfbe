"""Examples at the end of each command's help."""

EXAMPLES = {
    "data": ("ganzoo data folder:photos", "ganzoo data mnist-5k --out sheet.png"),
    "train": (
        "ganzoo train --variant dcgan --minutes 5",
        "ganzoo train --variant dcgan --dataset folder:photos --image-size 64",
        "ganzoo train --variant dcgan --set loss=hinge --set generator.width=32",
    ),
    "resume": ("ganzoo resume", "ganzoo resume runs/digits --minutes 5"),
    "sample": (
        "ganzoo sample mnist --labels 0-9 -n 100 --out digits.png",
        "ganzoo sample runs/digits -n 1000 --format npz --out digits.npz",
    ),
    "evaluate": ("ganzoo evaluate", "ganzoo evaluate digits.onnx --dataset mnist --n 2000 --seeds 1"),
    "compare": (
        "ganzoo compare --variants gan,dcgan --seeds 3 --minutes 5",
        "ganzoo compare runs/a runs/b --out a-and-b",
    ),
    "study": ("ganzoo study --dataset mnist-5k --out study",),
    "report": ("ganzoo report runs/a runs/b --out report",),
    "export": (
        "ganzoo export --onnx",
        "ganzoo export runs/digits --onnx --precision int8 --layout uint8 -o digits.onnx",
        "ganzoo export runs/digits --web site",
    ),
    "info": ("ganzoo info mnist", "ganzoo info digits.onnx --json"),
    "verify": ("ganzoo verify digits.onnx", "ganzoo verify digits.onnx --run runs/digits"),
    "benchmark": ("ganzoo benchmark runtime mnist",),
    "list": ("ganzoo list variants", "ganzoo list --matrix"),
    "new": ("ganzoo new variant my-gan",),
}


def epilog(command: str) -> str | None:
    """Return the text below the options in a command's help; None if there are no examples."""
    lines = [f"  {example}" for example in EXAMPLES.get(command, ())]
    return "\n".join(["\b", "Examples:", *lines]) if lines else None
