"""One launcher for all machines: a CPU, several GPUs under FSDP2, or DeepSpeed ZeRO-3."""

from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DeepSpeedPlugin,
    DistributedDataParallelKwargs,
    FullyShardedDataParallelPlugin,
)

from models.training.recipe import TrainedStage

Sharding = Literal["none", "fsdp", "zero3"]

#: layers sharded one by one; the rest of a model is one more unit
_LAYERS = ["BasicTransformerBlock", "T5Block"]


def open_accelerator(stage: TrainedStage, sharding: Sharding = "none") -> Accelerator:
    """What accelerate knows of this machine, in the stage's precision.

    Processes are started by `torchrun` or `accelerate launch`; on a CPU each gets one thread, since OpenMP barriers cost
    more than an all-reduce between processes.
    """
    cpu = not torch.cuda.is_available()
    AcceleratorState._reset_state()  # the stage before may have had another precision; the processes stay connected
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="no" if stage.precision == "fp32" else stage.precision,
        fsdp_plugin=_fsdp() if sharding == "fsdp" else None,
        deepspeed_plugin=_zero3(stage) if sharding == "zero3" else None,
        # the model has no buffers that training changes
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        ],
    )
    if cpu:
        torch.set_num_threads(1)
    return accelerator


def _fsdp() -> FullyShardedDataParallelPlugin:
    """FSDP2: parameters, gradients and optimiser state sharded, layer by layer (Zhao et al. 2023, arXiv:2304.11277)."""
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        reshard_after_forward=True,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=_LAYERS,
        state_dict_type="SHARDED_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )


def _zero3(stage: TrainedStage) -> DeepSpeedPlugin:
    """ZeRO stage 3 (Rajbhandari et al. 2020, arXiv:1910.02054), with our own optimiser and schedule."""
    return DeepSpeedPlugin(hf_ds_config=zero3_config(stage))


def zero3_config(stage: TrainedStage) -> dict[str, object]:
    """DeepSpeed's configuration of a stage."""
    return {
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": stage.precision == "bf16"},
        "train_micro_batch_size_per_gpu": stage.batch,
        "gradient_accumulation_steps": stage.accumulate,
        "gradient_clipping": stage.clip_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
