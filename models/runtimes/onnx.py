"""ONNX Runtime sessions: how the starter model runs on a laptop."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from models.card import ModelCard
from models.errors import ModelCorrupt, PrecisionMissing, RuntimeMissing
from models.runtime import COMPONENT_ARRAYS, Array, Component, Precision

CPU_PROVIDERS = ("CPUExecutionProvider",)


class OnnxSession:
    """One ONNX file; ONNX Runtime's own `run` may be called from several threads."""

    def __init__(self, session: Any, component: Component) -> None:
        self._session = session
        self._inputs = {entry.name for entry in session.get_inputs()}
        self._outputs = list(COMPONENT_ARRAYS[component][1])

    def __call__(self, **arrays: Array) -> dict[str, Array]:
        """Run the network; names and shapes as in `models.runtime.COMPONENT_ARRAYS`.

        A model without control or adapters has no such inputs: what its card does not list cannot reach it anyway.
        """
        taken = {name: array for name, array in arrays.items() if name in self._inputs}
        return dict(zip(self._outputs, self._session.run(self._outputs, taken), strict=True))


class AdaptableSession:
    """The transformer's two graphs: images without an adapter run the one that has none, and pay nothing for the other.

    The other is opened by the first image that needs it; both read the same file of weights.
    """

    def __init__(self, plain: OnnxSession, open_adapted: Callable[[], OnnxSession]) -> None:
        self._plain, self._open_adapted = plain, open_adapted
        self._adapted: OnnxSession | None = None
        self._lock = Lock()

    def __call__(self, **arrays: Array) -> dict[str, Array]:
        """Run the network; names and shapes as in `models.runtime.COMPONENT_ARRAYS`."""
        if arrays["adapter_down"].shape[-1] == 0:
            return self._plain(**arrays)
        with self._lock:
            self._adapted = self._adapted or self._open_adapted()
        return self._adapted(**arrays)


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

    def load(self, component: Component) -> OnnxSession | AdaptableSession:
        """Open one component.

        Raises:
            RuntimeMissing: onnxruntime is not installed.
            PrecisionMissing: the card lists no file of this precision.
            ModelCorrupt: ONNX Runtime refuses the file.
        """
        if component != "transformer":
            # Only the transformer is worth quantising: the autoencoder is convolutions, the text encoder takes a millisecond.
            return self._open(f"onnx/{component}.onnx", component)
        plain = self._open(f"onnx/transformer.{self._precision}.onnx", component)
        if self._card.adapters is None:
            return plain
        adapted = f"onnx/transformer.adapters.{self._precision}.onnx"
        for name in (adapted, f"onnx/transformer.{self._precision}.weights"):
            self._need(name)  # what the card does not list was not verified either
        return AdaptableSession(plain, lambda: self._open(adapted, component))

    def _need(self, name: str) -> None:
        if name not in self._card.files:
            raise PrecisionMissing(
                f"{self._card.name} has no {name}; take another precision, or make it with `python -m models.training.export`"
            )

    def _open(self, name: str, component: Component) -> OnnxSession:
        self._need(name)
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
