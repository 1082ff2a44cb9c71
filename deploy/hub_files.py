"""Files from a model hub, at a commit that the operator has named."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.errors import BadSettings

FILES = ("config.json", "model.safetensors")


def fetch_classifier(repository: str, revision: str | None) -> Path:
    """The folder with the files of a classifier; BadSettings where there is no hub client, or the hub does not answer."""
    if revision is None or re.fullmatch(r"[0-9a-f]{40}", revision) is None:
        raise BadSettings(
            f"say which commit of {repository} you mean: a branch may point elsewhere tomorrow",
            field="--revision",
        )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise BadSettings(
            f"the hub client is not installed (pip install huggingface_hub); or fetch {', '.join(FILES)} of {repository} "
            "elsewhere and use --from FOLDER",
            field="--from",
        ) from None
    try:
        paths = [Path(hf_hub_download(repository, name, revision=revision)) for name in FILES]
    except Exception as error:  # the client has dozens of classes for "it could not be fetched"
        raise BadSettings(
            f"{repository} could not be fetched: {type(error).__name__}", field="--revision"
        ) from error
    return paths[0].parent
