"""A recipe of tiny networks on tiny renders, for tests of training: every stage runs in about a second."""

from pathlib import Path

from models.training.recipe import Recipe

TINY = """
seed = 3
sample_prompts = ["a red mug on a white background", "a blue hat"]

[[buckets]]
width = 32
height = 32
share = 0.7
[[buckets]]
width = 48
height = 32
share = 0.3

[networks.autoencoder]
latent_channels = 4
widths = [8, 16]
[networks.transformer]
width = 32
layers = 2
head_width = 16
size = 32
[networks.text_encoder]
width = 32
layers = 1

[[stages]]
kind = "autoencoder"
steps = {steps}
warmup_steps = 2
batch = 2
save_steps = 20
[[stages]]
kind = "latents"
count = 40
encode_batch = 10
shard_rows = 16
[[stages]]
kind = "transformer"
steps = {steps}
warmup_steps = 2
batch = 4
save_steps = 20
[[stages]]
kind = "distil"
steps = {steps}
warmup_steps = 2
batch = 4
save_steps = 20
[[stages]]
kind = "decoder"
steps = {steps}
warmup_steps = 2
batch = 2
save_steps = 20
log_error_weight = 0.02
contrast_weight = 0.5
"""


def tiny_recipe(steps: int = 8) -> Recipe:
    """The recipe as an object."""
    import tomllib

    return Recipe.model_validate(tomllib.loads(TINY.format(steps=steps)))


def write_tiny_recipe(path: Path, steps: int = 8) -> Path:
    """The recipe as a file."""
    path.write_text(TINY.format(steps=steps))
    return path
