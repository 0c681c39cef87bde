"""A model of transformers that its user has loaded, as a model that plans run on."""

from typing import TYPE_CHECKING, Any

from diagplan.adapters.raster import Raster
from diagplan.backends.selftest import require_masks_obeyed, require_tested
from diagplan.planner.arguments import require_kind
from diagplan.planner.extras import require_packages

if TYPE_CHECKING:
    from diagplan.adapters.hf_pictures import PicturePrompt
    from diagplan.adapters.transformers import TransformersModel

__all__ = ["prompt_with_pictures", "wrap", "wrap_again"]


def wrap(
    model: Any, *, family: str | None = None, raster: Raster | None = None, fast: bool = False
) -> "TransformersModel":
    """Make a model of transformers one that plans run on, and test that it obeys its attention mask.

    The model stays as it was loaded, quantised or put on devices, but for evaluation mode; its own ``forward`` and
    ``generate`` go on working.

    Args:
        model: the whole model, such as ``Emu3ForConditionalGeneration.from_pretrained(FOLDER)``.
        family: ``"janus-pro"``, ``"emu3"``, ``"glm-image"``, ``"chameleon"``, ``"anole"`` or ``"raster-llama"``;
            ``None``: its configuration tells, of Chameleon and Anole the first.
        raster: of a model of another class, which ids are a picture's and how they lie; of these, what to take instead
            of their own ids or usual grid.
        fast: copy its layers into diagplan's own, where they are a plain Llama's (Janus-Pro, Emu3, Llama); they take as
            much memory again. ``load_model`` moves them instead. Where they are others they stay, and the model's
            ``fast`` is false.

    Raises:
        SpecError: a model of another kind, of none that is known and without a raster, or one on which a plan would not
            mean what it says (sliding windows, flash attention).
        DiagplanError: a model that does not keep to the forward contract.
        MissingExtraError: transformers is not installed.

    >>> wrap(Emu3ForConditionalGeneration.from_pretrained("Emu3-Gen-hf")).layout(lead=40)  # doctest: +SKIP
    Layout(frames=1, rows=90, cols=90, prompt_frames=0, lead=40, between_frames=0, between_rows=1)
    """
    if raster is not None:
        require_kind("raster", raster, Raster, "Give Raster(ids=(low, high), rows=, cols=).")
    require_kind("fast", fast, bool, "Give one of them.", what="True or False")
    require_packages("models of transformers", "torch", "transformers")
    from diagplan.adapters.transformers import TransformersModel

    wrapped = TransformersModel(model, family=family, raster=raster, fast=fast)
    require_masks_obeyed(wrapped)
    return wrapped


def wrap_again(model: Any, raster: Raster | None = None) -> "TransformersModel":
    """``wrap``, for a model that is wrapped at every call: it is tested the first time alone.

    That is remembered in the model's own ``__dict__``, and holds for one raster, attention and dtype.

    Args:
        model: as for ``wrap``.
        raster: the same.

    Raises:
        SpecError, DiagplanError, MissingExtraError: as ``wrap``.
    """
    if raster is not None:
        require_kind("raster", raster, Raster, "Give Raster(ids=(low, high), rows=, cols=).")
    require_packages("models of transformers", "torch", "transformers")
    from diagplan.adapters.hf_checks import attention_of
    from diagplan.adapters.transformers import TransformersModel

    wrapped = TransformersModel(model, raster=raster)
    kind = str(raster), attention_of(model.get_decoder()), str(wrapped.dtype), str(wrapped.device)
    require_tested(wrapped, kept_in=model, as_what=kind)
    return wrapped


def prompt_with_pictures(model: "TransformersModel", **inputs: Any) -> "PicturePrompt":
    """Prompts with pictures in them, by the model's own encoder: ids, or embeddings, that lead a plan.

    Args:
        model: from ``wrap``, or from ``load_model`` with a family of transformers.
        inputs: what the family's processor gives of texts and pictures: ``input_ids`` and ``pixel_values``;
            ``image_sizes`` of Emu3; ``image_grid_thw`` and ``images_per_sample`` of GLM-Image.

    Raises:
        SpecError: inputs without pictures, a model that reads none, or pictures that do not fit the ids.
        MissingExtraError: transformers is not installed.

    >>> read = prompt_with_pictures(model, **processor(images=source, text=text))  # doctest: +SKIP
    >>> replay(plan, read.model, given=read.ids, lead=read.lead)  # doctest: +SKIP
    """
    require_packages("models of transformers", "torch", "transformers")
    from diagplan.adapters.hf_pictures import read_pictures
    from diagplan.adapters.transformers import TransformersModel

    require_kind("model", model, TransformersModel, "Give what wrap or load_model gave.")
    return read_pictures(model, inputs)
