"""The built-in loggers: `ganzoo train --log csv,tensorboard`, `ganzoo.train(..., log=["csv"])`."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganzoo.files import atomic_write, writing
from ganzoo.registry import loggers
from ganzoo.runs.records import EvaluationLine, LogLine
from ganzoo.runs.run import Run
from ganzoo.training.callbacks import Callback, require


def scalars_of(line: LogLine) -> dict[str, float]:
    """Return the numbers of a log line by name."""
    return {"epoch": line.epoch, "seconds": line.seconds, "images_per_s": line.images_per_s, **line.losses}


@loggers.register("csv")
class CsvLogger(Callback):
    """Writes the log lines to `metrics.csv` in the run's directory, one column per loss."""

    def __init__(self) -> None:
        self._columns: list[str] = []
        self._step = 0

    def on_log(self, run: Run, line: LogLine) -> None:
        path, row = run.path / "metrics.csv", {"step": line.step, **scalars_of(line)}
        if set(row) <= set(self._columns) and line.step > self._step:
            with writing(path), path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:  # the first line of a session or after a rollback, or a new loss: write all lines again
            rows: list[dict[str, Any]] = [{"step": one.step, **scalars_of(one)} for one in run.read_metrics()]
            self._columns = list(dict.fromkeys(name for one in [*rows, row] for name in one))
            buffer = io.StringIO(newline="")
            writer = csv.DictWriter(buffer, self._columns)
            writer.writeheader()
            writer.writerows(rows)
            atomic_write(path, buffer.getvalue().encode())
        self._step = line.step


@loggers.register("tensorboard")
class TensorBoardLogger(Callback):
    """Writes losses, metrics and sample images to the run's `tensorboard/`: `tensorboard --logdir runs`."""

    def __init__(self) -> None:
        require("tensorboard")
        self._writer: Any = None
        self._step = 0  # of the last log line

    def _open(self, run: Run, step: int) -> Any:
        """Return the writer. When it is opened, it hides recorded events of this step and later ones."""
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step)
        return self._writer

    def on_log(self, run: Run, line: LogLine) -> None:
        if self._writer is not None and line.step <= self._step:  # after a rollback
            self._writer.close()
            self._writer = None
        self._step = line.step
        for name, value in scalars_of(line).items():
            self._open(run, line.step).add_scalar(name, value, line.step)

    def on_picture(self, run: Run, path: Path, step: int) -> None:
        with Image.open(path) as image:
            pixels = np.atleast_3d(np.asarray(image))
        self._open(run, step).add_image("samples", pixels, step, dataformats="HWC")

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        for name, value in line.figures.items():
            self._open(run, line.step).add_scalar(f"evaluation/{name}", value, line.step)

    def on_end(self, run: Run) -> None:
        if self._writer is not None:
            self._writer.close()
