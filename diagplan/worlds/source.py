"""The transformer of a world before it is loaded: its sizes from headers, the memory that it takes, and itself."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagplan.backends.errors import MismatchError
from diagplan.backends.memory import Memory
from diagplan.models.loading import load_model
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model

__all__ = ["Source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model and its image tokenizer are read from, and how.

    Attributes:
        adapter: its family.
        weights, config, context: as for ``load_model``.
        tokenizer: the files of the image tokenizer, as for ``diagplan.models.estimates.tokenizer_bytes``.
        options: ``load_model``'s backend, dtype, device, quantize, portable and threads.
    """

    adapter: str
    weights: str | Path
    tokenizer: str | Path
    config: Any = None
    context: Any = None
    options: Mapping[str, Any]

    @property
    def exported(self) -> bool:
        """Whether it is for ONNX Runtime."""
        return bool(self.options["backend"] == "onnx")

    def load(self) -> "Model":
        """The model.

        Raises:
            DiagplanError: as ``load_model``.
        """
        return load_model(self.adapter, self.weights, config=self.config, context=self.context, **self.options)

    def sizes(self) -> dict[str, Any]:
        """The model's configuration, from headers; its tensors are checked by name and shape.

        Raises:
            DiagplanError: as ``load_model``, for what headers and configuration show.
        """
        if self.exported:
            return dict(self.about().config)
        from diagplan.adapters.cosmos_files import checked_cosmos
        from diagplan.adapters.mc_ar_files import open_mc_ar
        from diagplan.adapters.wham_files import checked_wham

        opened: Any = {"mc-ar": open_mc_ar, "cosmos": checked_cosmos, "wham": checked_wham}[self.adapter]
        return asdict(opened(self.weights, self.config)[1])

    def about(self) -> Any:
        """What an exported step graph says of itself, an ``OnnxModelDocument``.

        Raises:
            SpecError: what was chosen when it was exported is chosen again.
            DocumentError: files that are missing or broken.
            MismatchError: one of another family.
        """
        from diagplan.backends.onnx_files import read_about
        from diagplan.backends.onnx_runtime import GRAPH
        from diagplan.schemas.onnx_model import OnnxModelDocument

        if not Path(self.weights).is_dir():
            raise DocumentError(f"expected the folder of an exported model, got {self.weights}, which is none.")
        if (self.options["dtype"], self.options["quantize"], self.options["portable"]) != ("float32", None, False):
            raise SpecError(
                "expected no dtype, quantize or portable with backend='onnx', got some. They were chosen when the "
                "model was exported. Leave them out, or export it anew."
            )
        said = read_about(Path(self.weights) / GRAPH, OnnxModelDocument).said
        if said.family != self.adapter:
            raise MismatchError(
                f"expected an exported model of the adapter {self.adapter}, got one of {said.family} in "
                f"{self.weights}. Name the model that it is."
            )
        return said

    def require_memory(
        self, plan: Plan | Rollout, *, sampled: bool, report: Callable[[Memory], None] | None = None
    ) -> Memory:
        """Estimate what a replay takes, and check that it is free.

        The image tokenizer counts in the estimate, and not in the check: it is loaded already.

        Args:
            plan: the plan, or the rollout.
            sampled: whether tokens are sampled.
            report: called with the estimate before it is checked.

        Raises:
            CapacityError: there is too little memory; it says what would need less.
        """
        from diagplan.backends.onnx_tokenizer import ENCODER
        from diagplan.models.estimates import require_memory_before_loading, tokenizer_bytes

        exported = (Path(self.tokenizer) / ENCODER).is_file()
        beside = tokenizer_bytes(self.adapter, self.tokenizer, backend="onnx" if exported else "torch")

        def whole(memory: Memory) -> Memory:
            return memory._replace(tokenizer=beside)

        def told(memory: Memory) -> None:
            if report is not None:
                report(whole(memory))

        said = {name: self.options[name] for name in ("backend", "dtype", "device", "quantize")}
        memory = require_memory_before_loading(
            self.adapter, self.weights, plan, sampled=sampled, report=told, config=self.config,
            context=self.context, **said,
        )  # fmt: skip
        return whole(memory)
