"""What a training run says while it runs: a live line, a log of its own, TensorBoard curves, sample pictures."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_LINE_SECONDS = 15.0


def say(line: str) -> None:
    """Write one line to standard output at once, so that a log file can be followed."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where a run stands; `loss` is smoothed, `used_seconds` are seconds of training."""

    stage: str
    step: int
    plan: int
    pictures: int
    used_seconds: float
    loss: float
    learning_rate: float


class Reporter:
    """Says nothing; what processes other than the first use."""

    def start(self, report: Report) -> None:
        """The run begins, or goes on."""

    def update(self, report: Report) -> None:
        """Some steps later."""

    def milestone(
        self, report: Report, measures: Mapping[str, float], samples: npt.NDArray[np.uint8] | None
    ) -> None:
        """A checkpoint was written; `measures` and `samples` are those of the averaged weights."""

    def finish(self) -> None:
        """The run has ended or was stopped."""


class LiveReporter(Reporter):
    """A progress bar on a terminal, plain lines elsewhere; `log.jsonl`, TensorBoard files and `samples-N.png` in `folder`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._curves: Any = SummaryWriter(str(folder / "tensorboard"))
        self._last: tuple[float, int] = (0.0, 0)
        self._speed = 0.0
        self._said = 0.0
        self._bar: Any = None

    def start(self, report: Report) -> None:
        """Open the bar, or say from where the run goes on."""
        self._last = (report.used_seconds, report.pictures)
        if sys.stdout.isatty():
            self._bar = _open_bar()
            self._task = self._bar.add_task(report.stage, total=report.plan, loss=0.0, speed=0.0)
        else:
            say(f"{report.stage}: from step {report.step}")

    def update(self, report: Report) -> None:
        """Move the bar, or say a line every quarter of a minute."""
        seconds, pictures = report.used_seconds - self._last[0], report.pictures - self._last[1]
        self._last = (report.used_seconds, report.pictures)
        speed = pictures / max(seconds, 1e-9)
        self._speed = speed if self._speed == 0 else 0.8 * self._speed + 0.2 * speed
        self._curves.add_scalar(f"{report.stage}/loss", report.loss, report.step)
        self._curves.add_scalar(f"{report.stage}/learning_rate", report.learning_rate, report.step)
        if self._bar is not None:
            self._bar.update(
                self._task, completed=report.step, total=report.plan, loss=report.loss, speed=self._speed
            )
        elif time.monotonic() - self._said >= _LINE_SECONDS:
            self._said = time.monotonic()
            say(self._line(report))

    def milestone(
        self, report: Report, measures: Mapping[str, float], samples: npt.NDArray[np.uint8] | None
    ) -> None:
        """Append to the log, and keep the samples as a PNG."""
        row = {
            "stage": report.stage,
            "step": report.step,
            "of_steps": report.plan,
            "pictures": report.pictures,
            "minutes": round(report.used_seconds / 60, 2),
            "loss": round(report.loss, 5),
            "images_per_second": round(report.pictures / max(report.used_seconds, 1e-9), 1),
            **{name: round(value, 3) for name, value in measures.items()},
        }
        with (self._folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        for name, value in measures.items():
            self._curves.add_scalar(f"{report.stage}/{name}", value, report.step)
        if samples is not None:
            Image.fromarray(samples).save(self._folder / f"samples-{report.step:08d}.png")
            self._curves.add_image(f"{report.stage}/samples", samples, report.step, dataformats="HWC")
        self._curves.flush()
        if self._bar is None:
            told = "".join(f"  {name} {value:.3f}" for name, value in measures.items())
            say(f"{self._line(report)}  saved{told}")

    def finish(self) -> None:
        """Close the bar and the curves."""
        if self._bar is not None:
            self._bar.stop()
        self._curves.close()

    def _line(self, report: Report) -> str:
        share = report.step / max(report.plan, 1)
        speed = report.pictures / max(report.step, 1) / max(self._speed, 1e-9)
        left = max(0, report.plan - report.step) * speed
        return (
            f"{report.stage}  {report.used_seconds / 60:6.2f} min  step {report.step}/{report.plan} ({share:.0%})  "
            f"loss {report.loss:.4f}  {self._speed:.1f} images/s  {left / 60:.1f} min left"
        )


def _open_bar() -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(
            "{task.completed}/{task.total}  loss {task.fields[loss]:.4f}  {task.fields[speed]:.1f} images/s"
        ),
        TimeRemainingColumn(),
    )
    bar.start()
    return bar
