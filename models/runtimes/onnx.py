"""ONNX Runtime sessions: how the starter model runs on a laptop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.errors import ModelCorrupt, PrecisionMissing, RuntimeMissing
from models.runtime import COMPONENT_ARRAYS, Array, Component, Precision

CPU_PROVIDERS = ("CPUExecutionProvider",)


class OnnxSession:
    """One ONNX file; ONNX Runtime's own `run` may be called from several threads."""

    def __init__(self, session: Any, component: Component) -> None:
        self._session = session
        self._outputs = list(COMPONENT_ARRAYS[component][1])

    def __call__(self, **arrays: Array) -> dict[str, Array]:
        """Run the network; names and shapes as in `models.runtime.COMPONENT_ARRAYS`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, arrays), strict=True))


class OnnxRuntime:
    """Loads `onnx/*.onnx` of a model folder.

    One thread by default: the nets are small, and one worker process per core makes more images than one process on
    all cores.
    """

    def __init__(
        self,
        folder: Path,
        card: ModelCard,
        precision: Precision = "int8",
        threads: int = 1,
        providers: Sequence[str] = CPU_PROVIDERS,
    ) -> None:
        self._folder, self._card, self._precision = folder, card, precision
        self._threads, self._providers = threads, list(providers)

    def load(self, component: Component) -> OnnxSession:
        """Open one component.

        Raises:
            RuntimeMissing: onnxruntime is not installed.
            PrecisionMissing: the card lists no file of this precision.
            ModelCorrupt: ONNX Runtime refuses the file.
        """
        name = self._file_of(component)
        if name not in self._card.files:
            raise PrecisionMissing(
                f"{self._card.name} has no {name}; take another precision, or make it with `python -m models.training.export`"
            )
        try:
            import onnxruntime
        except ImportError as error:
            raise RuntimeMissing("the ONNX runtime needs the package onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                str(self._folder / name), options, providers=self._providers
            )
        except Exception as error:  # onnxruntime raises a dozen unrelated classes here
            raise ModelCorrupt(name, f"ONNX Runtime cannot open it: {error}") from error
        return OnnxSession(session, component)

    def _file_of(self, component: Component) -> str:
        # Only the transformer is worth quantising: the decoder is convolutions, the text encoder takes a millisecond.
        return (
            f"onnx/transformer.{self._precision}.onnx"
            if component == "transformer"
            else f"onnx/{component}.onnx"
        )
