"""The training loop: set up, then data, step, log and save, until the planned steps are done.

One loop runs every stage, on one CPU core or on many GPUs: what differs between stages is a `Phase`, what differs between
machines is accelerate's. All chance is a function of (seed, stage, step, rank), so a resumed run repeats the losses of an
uninterrupted one.
"""

import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from models.training.average import WeightAverage
from models.training.checkpoint import RunFolder
from models.training.phase import Phase, Turn
from models.training.progress import Report, Reporter
from models.training.recipe import TrainedStage
from models.training.schedule import Plan, rate_factor

#: steps between two agreements of the processes on the plan and on saving
_AGREE_EVERY = 20
_SMOOTHING = 0.98


@dataclass
class Position:
    """Where a run stands; saved with every checkpoint. `used_seconds` counts training only, not saving."""

    step: int = 0
    pictures: int = 0
    used_seconds: float = 0.0
    loss: float = 0.0
    total_steps: int = 0


class Trainer:
    """Runs one phase; `run` returns when the planned steps are done or `stop_at_step` is reached."""

    def __init__(
        self,
        phase: Phase,
        stage: TrainedStage,
        seed: int,
        folder: RunFolder,
        accelerator: Accelerator,
        reporter: Reporter,
    ) -> None:
        self.stage, self.seed, self.folder = stage, seed, folder
        self.accelerator, self.reporter = accelerator, reporter
        self.position = Position()
        trained = [p for p in phase.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            trained, stage.learning_rate, stage.betas, weight_decay=stage.weight_decay, fused=True
        )
        self.model, self.optimizer = accelerator.prepare(phase, optimizer)
        self.phase: Phase = accelerator.unwrap_model(self.model)
        self.trained = [p for p in self.phase.parameters() if p.requires_grad]
        self.average = WeightAverage(self.trained, stage.ema_decay)
        self.plan = Plan(stage)
        self._resume()

    def run(self, stop_at_step: int | None = None) -> list[float]:
        """Train; the losses of this process's steps."""
        losses: list[float] = []
        self._since = time.monotonic()
        self._saved_at = self._since
        self._agreed = (self.position.step, self.position.used_seconds)
        self.reporter.start(self._report())
        while self.position.step < self.plan.total_steps:
            losses.append(self._step())
            if self.position.step % _AGREE_EVERY == 0:
                save = self._agree()
                self.reporter.update(self._report())
                if save and self.position.step < self.plan.total_steps:
                    self.save()
            if self.position.step == stop_at_step:
                break
        self.save()
        self.reporter.finish()
        return losses

    def save(self) -> None:
        """Measure, draw samples, write a checkpoint and the averaged weights; its time does not count as training."""
        self._count_time()
        self.position.total_steps = self.plan.total_steps
        self.folder.save(self.accelerator, self.position, self.average, self.stage.keep)
        with self.average.applied():
            self.folder.publish(self.accelerator, self.model, self.phase)
            if self.accelerator.is_main_process:
                self.phase.eval()
                measures = self.phase.measure()
                self.reporter.milestone(self._report(), measures, self.phase.samples())
                self.phase.train()
        self.accelerator.wait_for_everyone()
        self._since = self._saved_at = time.monotonic()

    def _resume(self) -> None:
        saved = self.folder.load(self.accelerator, self.average)
        if saved is not None:
            self.position = Position(**saved)
            self.plan = Plan(self.stage, self.position.total_steps)

    def _step(self) -> float:
        """One optimiser step over `accumulate` batches."""
        factor = rate_factor(self.stage, self.position.step, self.plan.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.learning_rate * factor
        total = 0.0
        for part in range(self.stage.accumulate):
            total += float(self._backward(part)) / self.stage.accumulate
        self.accelerator.clip_grad_norm_(self.trained, self.stage.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        place = self.position
        place.step += 1
        self.average.update(place.step)
        place.loss = total if place.step == 1 else _SMOOTHING * place.loss + (1 - _SMOOTHING) * total
        return total

    def _backward(self, part: int) -> Tensor:
        """Forward and backward of one batch; gradients add up over the parts of a step."""
        ranks, place = self.accelerator.num_processes, self.position
        number = place.step * self.stage.accumulate + part
        turn = Turn(
            seed=self.seed,
            stage=self.stage.name,
            step=number,
            rank=self.accelerator.process_index,
            ranks=ranks,
        )
        torch.manual_seed(turn.draw().getrandbits(60))
        batch = {name: value.to(self.accelerator.device) for name, value in self.phase.batch(turn).items()}
        place.pictures += len(next(iter(batch.values()))) * ranks
        last = part + 1 == self.stage.accumulate
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            loss: Tensor = self.model(batch)
            self.accelerator.backward(loss / self.stage.accumulate)
        return loss.detach()

    def _agree(self) -> bool:
        """Let the first process decide on the plan and on saving; True where it is time to save."""
        self._count_time()
        place, now = self.position, time.monotonic()
        recent = (place.used_seconds - self._agreed[1]) / max(1, place.step - self._agreed[0])
        self._agreed = (place.step, place.used_seconds)
        self.plan.revise(place.step, place.used_seconds, recent)
        due = now - self._saved_at >= self.stage.save_minutes * 60
        if self.stage.save_steps is not None:
            due = place.step % self.stage.save_steps < _AGREE_EVERY
        if self.accelerator.num_processes > 1:
            word = torch.tensor([self.plan.total_steps, int(due)], device=self.accelerator.device)
            torch.distributed.broadcast(word, 0)
            total, saving = word.tolist()
            self.plan.total_steps, due = total, bool(saving)
        return due

    def _count_time(self) -> None:
        now = time.monotonic()
        self.position.used_seconds += now - self._since
        self._since = now

    def _report(self) -> Report:
        place = self.position
        rate = self.stage.learning_rate * rate_factor(self.stage, place.step, self.plan.total_steps)
        return Report(stage=self.stage.name, learning_rate=rate, plan=self.plan.total_steps, **{
            name: value for name, value in asdict(place).items() if name != "total_steps"
        })  # fmt: skip
