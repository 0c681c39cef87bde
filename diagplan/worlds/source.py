"""The transformer of a world before it is loaded: its sizes from headers, the memory that it takes, and itself."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagplan.adapters.families import family_named
from diagplan.adapters.options import LoadOptions
from diagplan.backends.measured import SpeculationChoice
from diagplan.backends.memory import Memory
from diagplan.backends.table import backend_named
from diagplan.models.estimates import require_memory_before_loading, tokenizer_bytes
from diagplan.models.loading import load_model_as
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.schemas.onnx_model import OnnxModelDocument

__all__ = ["Source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model and its image tokenizer are read from, and how.

    Attributes:
        adapter: its family.
        weights: as for ``load_model``.
        tokenizer: the files of the image tokenizer, as for ``diagplan.models.estimates.tokenizer_bytes``.
        options: as for ``load_model``.
    """

    adapter: str
    weights: str | Path
    tokenizer: str | Path
    options: LoadOptions

    @property
    def exported(self) -> bool:
        """Whether it was exported, for ONNX Runtime."""
        return backend_named(self.options.backend).exported

    def replaced(self, **options: Any) -> "Source":
        """The same, loaded with other options."""
        return replace(self, options=self.options.replaced(**options))

    def load(self) -> "Model":
        """The model.

        Raises:
            DiagplanError: as ``load_model``.
        """
        return load_model_as(self.adapter, self.weights, self.options)

    def sizes(self) -> dict[str, Any]:
        """The model's configuration, from headers; its tensors are checked by name and shape.

        Raises:
            DiagplanError: as ``load_model``, for what headers and configuration show.
        """
        if self.exported:
            return dict(self.about().config)
        open_ = family_named(self.adapter).open
        if open_ is None:
            raise SpecError(f"expected a family whose files tell its sizes, got adapter={self.adapter!r}.")
        config: Any = open_(self.weights, self.options).config
        return asdict(config)

    def about(self) -> "OnnxModelDocument":
        """What an exported step graph says of itself.

        Raises:
            SpecError: what was chosen when it was exported is chosen again.
            DocumentError: files that are missing or broken.
            MismatchError: one of another family.
        """
        from diagplan.backends.onnx_backend import read_exported_model

        return read_exported_model(self.adapter, self.weights, self.options)

    def require_memory(
        self,
        plan: Plan | Rollout,
        *,
        sampled: bool,
        speculation: SpeculationChoice | None = None,
        report: Callable[[Memory], None] | None = None,
    ) -> Memory | None:
        """Estimate what a replay takes, and check that it is free.

        The image tokenizer counts in the estimate, and not in the check: it is loaded already.

        Args:
            plan: the plan, or the rollout.
            sampled: whether tokens are sampled.
            speculation: how it is replayed.
            report: called with the estimate before it is checked.

        Returns:
            the estimate; ``None``: the family cannot tell before loading.

        Raises:
            CapacityError: there is too little memory; it says what would need less.
        """
        from diagplan.backends.onnx_tokenizer import ENCODER

        exported = (Path(self.tokenizer) / ENCODER).is_file()
        beside = tokenizer_bytes(self.adapter, self.tokenizer, backend="onnx" if exported else "torch")

        def told(memory: Memory) -> None:
            if report is not None:
                report(memory._replace(tokenizer=beside))

        memory = require_memory_before_loading(
            self.adapter, self.weights, plan, self.options, sampled=sampled, speculation=speculation, report=told
        )
        return None if memory is None else memory._replace(tokenizer=beside)
