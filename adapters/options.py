"""How a model is loaded: the options that travel from the caller to a backend and a family, as one value."""

import os
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Literal

import numpy as np

from diagplan.adapters.contract import Ranks
from diagplan.adapters.devices import DTypeName, Quantize, require_dtype
from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.shown import shown

__all__ = ["LoadOptions"]

#: What an export has fixed.
_FIXED_AT_EXPORT = ("config", "dtype", "quantize", "portable", "context")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Options of ``diagplan.load_model``, checked as far as they can be without a model.

    Attributes:
        backend: what runs the model: a name of ``diagplan.backends.table``.
        config: a released configuration by name, a file or a family's own dataclass; ``None``: the files tell.
        dtype: of weights, cache and activations.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        quantize: ``"int8"``: int8 products, faster and less exact; float32 on an x86 CPU only.
        portable: leave the weights in no machine's own order, as ONNX export needs them; slower.
        threads: CPU threads of one pass; ``"auto"``: chosen by the model's size and a few timed passes, as the command
            line does; ``None``: torch is left as it is, ONNX Runtime takes as many as this process may use.
        context: what a model that reads a text is led by: a file of features, or an array [tokens, width] or
            [batch, tokens, width].
        ranks: the processes that the model is spread over (``diagplan.adapters.parallel.joined_ranks``), of which this
            one loads its part; ``None``: the model is whole here.

    Raises:
        SpecError: a dtype or a way to quantise that there is not, no thread, or ranks with what they cannot share.

    >>> LoadOptions(dtype="bfloat16").replaced(device="cuda").device
    'cuda'
    """

    backend: str = "torch"
    config: Any = None
    dtype: DTypeName = "float32"
    device: str = "cpu"
    quantize: Quantize | None = None
    portable: bool = False
    threads: int | Literal["auto"] | None = None
    context: Any = None
    ranks: Ranks | None = None

    def __post_init__(self) -> None:
        require_dtype(self.dtype)
        if not isinstance(self.device, str):
            raise SpecError(f"expected device as text, got device={shown(self.device)}. Give 'cpu' or 'cuda'.")
        if self.quantize not in (None, "int8"):
            raise SpecError(f"expected quantize to be None or one of int8, got {shown(self.quantize)}.")
        remedy = "Leave it out where the files tell the sizes."
        is_sizes = is_dataclass(self.config) and not isinstance(self.config, type)
        if self.config is not None and not is_sizes:
            words = "a name, a file or a family's dataclass of sizes"
            require_kind("config", self.config, str | os.PathLike, remedy, what=words)
        require_kind("portable", self.portable, bool, "Give one of them.", what="True or False")
        if self.threads is not None and self.threads != "auto":
            threads: object = self.threads
            if isinstance(threads, bool) or not isinstance(threads, int | np.integer):
                words = "a whole number from 1 to 1024, 'auto' or None"
                raise SpecError(f"expected threads to be {words}, got threads={shown(threads)}. Give one of them.")
            require_int("threads", self.threads, 1, largest=1024)
        self._require_shared()

    def _require_shared(self) -> None:
        """Raise ``SpecError`` where ranks are to share what they cannot."""
        if self.ranks is None:
            return
        if self.backend != "torch":
            raise SpecError(
                f"expected backend torch with --tensor-parallel, got backend={shown(self.backend)}. Parts of a model "
                "are cut from its weights, which an export no longer has by themselves. Load the weights."
            )
        if self.quantize is not None:
            raise SpecError(
                f"expected no quantize with --tensor-parallel, got quantize={shown(self.quantize)}. A part's int8 "
                "scales would be others than the whole's. Leave --int8 out."
            )
        if self.portable:
            raise SpecError(
                "expected no portable weights with --tensor-parallel, got portable=True. A part cannot be exported."
            )

    def replaced(self, **changes: Any) -> "LoadOptions":
        """The same with other values; checked anew."""
        return replace(self, **changes)

    def of_files(self) -> dict[str, Any]:
        """What a family's loader of files takes: config, dtype, device, quantize and portable."""
        return {name: getattr(self, name) for name in ("config", "dtype", "device", "quantize", "portable")}

    def require_as_exported(self) -> None:
        """Raise ``SpecError`` where something is chosen that was chosen when the model was exported."""
        given = {name: getattr(self, name) for name in _FIXED_AT_EXPORT}
        given["dtype"] = None if self.dtype == "float32" else self.dtype
        wrong = next((name for name, value in given.items() if value is not None and value is not False), None)
        if wrong is not None:
            named = "a context" if wrong == "context" else f"{wrong}={shown(given[wrong])}"
            raise SpecError(
                f"expected no {', '.join(_FIXED_AT_EXPORT[:-1])} or {_FIXED_AT_EXPORT[-1]} with "
                f"backend={shown(self.backend)}, got {named}. They were chosen when the model was exported. "
                "Leave them out, or export it anew."
            )
