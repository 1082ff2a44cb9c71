"""Whether this host can train: asked of the installed packages' names, without importing any of them."""

from __future__ import annotations

import importlib.util

#: What a trainer imports of the [train] extra.
_PACKAGES = ("accelerate", "diffusers", "imagehash", "pdqhash", "peft", "torch", "transformers")
INSTALL = "pip install 'aquatint[train]'"


def missing_for_training() -> tuple[str, ...]:
    """The packages that a trainer would miss here; empty where the [train] extra is installed."""
    return tuple(name for name in _PACKAGES if importlib.util.find_spec(name) is None)
