"""Checkpoints of a stage: whole or absent, the newest few kept, and the averaged weights published for later stages."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.training.average import WeightAverage

if TYPE_CHECKING:
    from models.training.phase import Phase
    from models.training.trainer import Position

_POSITION = "position.json"


class RunFolder:
    """The folder of one stage.

    It holds `step-N/` (accelerate's state, the weight average and the position) and one `<part>.safetensors` for each
    network the stage trains: its averaged weights, float32.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, accelerator: Accelerator, position: "Position", average: WeightAverage, keep: int) -> Path:
        """Write a checkpoint under another name and move it into place once every process has finished."""
        target = self.path / f"step-{position.step:08d}"
        draft = target.with_suffix(".writing")
        if accelerator.is_main_process:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(draft))
        if average.sharded or accelerator.is_main_process:
            save_file(_numbered(average.weights), draft / self._average_file(accelerator, average))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (draft / _POSITION).write_text(json.dumps(asdict(position)))
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
            for old in self.checkpoints()[:-keep]:
                shutil.rmtree(old)
        accelerator.wait_for_everyone()
        return target

    def load(self, accelerator: Accelerator, average: WeightAverage) -> dict[str, Any] | None:
        """Restore the newest checkpoint into what `accelerator` has prepared; its position, or None where there is none.

        Sharded weight averages need as many processes as wrote them.
        """
        found = self.checkpoints()
        if not found:
            return None
        accelerator.load_state(str(found[-1]))
        saved = load_file(found[-1] / self._average_file(accelerator, average))
        for own, name in zip(average.weights, sorted(saved), strict=True):
            own.copy_(saved[name])
        return cast(dict[str, Any], json.loads((found[-1] / _POSITION).read_text()))

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path.parent for path in self.path.glob(f"step-????????/{_POSITION}"))

    def publish(self, accelerator: Accelerator, model: nn.Module, phase: "Phase") -> None:
        """Write the weights as they are now, one file per part; every process must call it."""
        state = accelerator.get_state_dict(model)
        if not accelerator.is_main_process:
            return
        for part, module in phase.parts().items():
            prefix = _prefix_of(phase, module)
            save_weights(
                {
                    name.removeprefix(prefix): value
                    for name, value in state.items()
                    if name.startswith(prefix)
                },
                self.weights_file(part),
            )

    def weights_file(self, part: str) -> Path:
        """Where the averaged weights of a part are published."""
        return self.path / f"{part}.safetensors"

    @staticmethod
    def _average_file(accelerator: Accelerator, average: WeightAverage) -> str:
        return f"average-{accelerator.process_index if average.sharded else 0}.safetensors"


def save_weights(state: dict[str, Tensor], path: Path) -> None:
    """Replace `path` by these tensors in one move: a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".writing")
    # tied weights share memory, which the format refuses: each name gets its own copy
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in state.items()}, draft)
    draft.replace(path)


def _prefix_of(root: nn.Module, module: nn.Module) -> str:
    return next(f"{name}." if name else "" for name, found in root.named_modules() if found is module)


def _numbered(tensors: list[Tensor]) -> dict[str, Tensor]:
    return {f"{i:05d}": torch.empty_like(t).copy_(t).contiguous() for i, t in enumerate(tensors)}
