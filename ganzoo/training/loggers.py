"""The built-in loggers: `ganzoo train --log csv,tensorboard`, `ganzoo.train(..., log=["csv"])`."""

import csv
import io
import os
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


def figures_of(line: EvaluationLine) -> dict[str, float]:
    """Return the metrics of an evaluation by name."""
    return {f"evaluation/{name}": value for name, value in line.figures.items()}


@loggers.register("csv")
class CsvLogger(Callback):
    """Writes the log lines to `metrics.csv` in the run's directory, one column per loss."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def on_log(self, run: Run, line: LogLine) -> None:
        path, row = run.path / "metrics.csv", {"step": line.step, **scalars_of(line)}
        if not set(row) <= set(self._columns):  # the first line of a session, or a new loss: write all lines again
            rows: list[dict[str, Any]] = [{"step": one.step, **scalars_of(one)} for one in run.read_metrics()]
            self._columns = list(dict.fromkeys(name for one in [*rows, row] for name in one))
            atomic_write(path, (",".join(self._columns) + "\n" + "".join(map(self._format, rows))).encode())
            return
        with writing(path), path.open("a") as file:
            file.write(self._format(row))

    def _format(self, row: dict[str, Any]) -> str:
        buffer = io.StringIO()
        csv.DictWriter(buffer, self._columns, lineterminator="\n").writerow(row)
        return buffer.getvalue()


@loggers.register("tensorboard")
class TensorBoardLogger(Callback):
    """Writes losses, metrics and sample images to the run's `tensorboard/`: `tensorboard --logdir runs`."""

    def __init__(self) -> None:
        require("tensorboard")
        self._writer: Any = None
        self._step = 0

    def _open(self, run: Run, step: int) -> Any:
        """Return the writer; events of later steps, by a session that was killed, are hidden."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step)
        self._step = step
        return self._writer

    def on_log(self, run: Run, line: LogLine) -> None:
        for name, value in scalars_of(line).items():
            self._open(run, line.step).add_scalar(name, value, line.step)

    def on_picture(self, run: Run, path: Path) -> None:
        with Image.open(path) as image:
            pixels = np.atleast_3d(np.asarray(image))
        self._open(run, self._step).add_image("samples", pixels, self._step, dataformats="HWC")

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        for name, value in figures_of(line).items():
            self._open(run, line.step).add_scalar(name, value, line.step)

    def on_end(self, run: Run) -> None:
        if self._writer is not None:
            self._writer.close()


@loggers.register("wandb")
class WandbLogger(Callback):
    """Sends losses, metrics and sample images to Weights & Biases: project WANDB_PROJECT, by default `ganzoo`."""

    def __init__(self) -> None:
        require("wandb")
        self._run: Any = None

    def _open(self, run: Run) -> Any:
        if self._run is None:
            import wandb

            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "ganzoo"),
                name=run.path.name,
                config=run.config.model_dump(mode="json"),
            )
        return self._run

    def on_log(self, run: Run, line: LogLine) -> None:
        self._open(run).log(scalars_of(line), step=line.step)

    def on_picture(self, run: Run, path: Path) -> None:
        import wandb

        self._open(run).log({"samples": wandb.Image(str(path))})

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        self._open(run).log(figures_of(line))

    def on_end(self, run: Run) -> None:
        if self._run is not None:
            self._run.finish()


@loggers.register("mlflow")
class MlflowLogger(Callback):
    """Sends losses, metrics and sample images to MLflow, at MLFLOW_TRACKING_URI."""

    def __init__(self) -> None:
        require("mlflow")
        self._started = False

    def _open(self, run: Run) -> Any:
        import mlflow

        if not self._started:
            self._started = True
            mlflow.start_run(run_name=run.path.name)
            mlflow.log_dict(run.config.model_dump(mode="json"), "config.json")
        return mlflow

    def on_log(self, run: Run, line: LogLine) -> None:
        self._open(run).log_metrics(scalars_of(line), step=line.step)

    def on_picture(self, run: Run, path: Path) -> None:
        self._open(run).log_artifact(str(path), "samples")

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        self._open(run).log_metrics(figures_of(line), step=line.step)

    def on_end(self, run: Run) -> None:
        if self._started:
            self._open(run).end_run()
