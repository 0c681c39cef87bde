"""Model families: all that is known of one is one record, found by its name.

A record is light: it names functions that import torch when they are called. docs/adapters.md and CONTRIBUTING.md say
how to add one, to diagplan or by an entry point of the group ``diagplan.families``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagplan.adapters.contract import Config, ImageTokenizer, Model, Ranks
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.parallel_cuts import Part
from diagplan.adapters.plugins import Table
from diagplan.adapters.samplers import Sampler, plain_sampler
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

if TYPE_CHECKING:
    from diagplan.adapters.headers import Comparison
    from diagplan.adapters.weights import Checkpoint

__all__ = ["FAMILIES", "Family", "Inspection", "Opened", "Pictures", "family_named", "family_of_release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a checkpoint's headers tell; no tensor is read.

    Attributes:
        config: the model's sizes; all its tensors are there.
        vocab_size: V, entries of a row of logits.
        text_tokens: of all texts together that are bound to the model.
    """

    config: Config
    vocab_size: int
    text_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """How a checkpoint of a family is known, for ``diagplan inspect-weights``.

    Attributes:
        layer: regular expression of the name of one tensor of every layer; its group is the layer's number.
        sizes: size -> (end of a tensor's name, axis): what names and shapes tell.
        closest: the configurations whose tensors are nearest to a checkpoint's, each with a comparison, and why the
            config.json beside it was refused, if it was.
        against: how a checkpoint's tensors compare with one configuration, by its name or its file; ``None``: the
            family has no configurations in files.
        open: opens files that ``diagplan.adapters.weights.open_checkpoint`` does not.
        claims: whether a path is such a file by its name alone.
    """

    layer: str
    sizes: Mapping[str, tuple[str, int]]
    closest: "Callable[[Checkpoint], tuple[list[tuple[str, Comparison]], str | None]]"
    against: "Callable[[Checkpoint, str], Comparison] | None" = None
    open: "Callable[[Path], Checkpoint] | None" = None
    claims: Callable[[Path], bool] = lambda _: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The image tokenizer of a family.

    Attributes:
        load: the tokenizer of files, for frames of rows x cols tokens on a device.
        weight_bytes: bytes of its weights, from headers.
        export: why it cannot be exported to ONNX; ``None``: it can.
    """

    load: "Callable[[Path, int, int, str], ImageTokenizer]"
    weight_bytes: Callable[[Path], int]
    no_export: str | None = None


def _itself(model: Model) -> Model:
    return model


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All that is known of a model family.

    Attributes:
        name: by which it is asked for; ``Model.family`` of its models.
        title: one line for people.
        weights: which files it is loaded from, for people.
        load: a model from weights.
        configs: names of released configurations, which ``LoadOptions.config`` may be.
        config_named: the sizes of one of them; ``None``: only files tell them.
        open: what the headers of weights tell, with the same checks as ``load``; ``None``: nothing before loading, so
            that memory is estimated once the model is loaded.
        reads_text: whether its models may be led by a text, ``LoadOptions.context``.
        testable: a model as the self-test of masks can run it; one that lacks its text gets an empty one.
        sampler: the sampler of (temperature, top_k, top_p) by the rules of the family's release.
        part: what of a model of some sizes is one rank's own, where a model is spread over processes; ``None``: its
            models cannot be.
        presets: names of its layouts in ``diagplan.planner.presets``.
        inspection: how its checkpoints are known; ``None``: they are not.
        pictures: its image tokenizer; ``None``: it has none.
        releases: names that ``diagplan.load_world`` takes.
        notes: option of ``diagplan generate`` -> the value that this family takes where it is another than the common
            one, for --help.
        folder_file: a file by which a folder is known as a world model of this family.
        world: reference ``"module:function"`` of what opens its world models, a
            ``diagplan.worlds.loading.WorldOpener``; ``None``: there are none.
    """

    name: str
    title: str
    weights: str
    load: Callable[[str | Path, LoadOptions], Model]
    configs: tuple[str, ...] = ()
    config_named: Callable[[str], Config] | None = None
    open: Callable[[str | Path, LoadOptions], Opened] | None = None
    reads_text: bool = False
    testable: Callable[[Any], Model] = field(default=_itself)
    sampler: Callable[[float | None, int | None, float | None], Sampler] = field(default=plain_sampler)
    part: Callable[[Any, Ranks | None], Part] | None = None
    presets: tuple[str, ...] = ()
    inspection: Inspection | None = None
    pictures: Pictures | None = None
    releases: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    folder_file: str | None = None
    world: str | None = None

    def require_context(self, context: Any) -> None:
        """Raise ``SpecError`` where a model that reads no text is given one."""
        if context is not None and not self.reads_text:
            raise SpecError(f"expected no context: a {self.name} model reads no text, got one. Leave it out.")

    def require_part(self, ranks: Ranks | None) -> None:
        """Raise ``SpecError`` where a model that cannot be spread over ranks is to be."""
        if ranks is not None and self.part is None:
            able = [family.name for family in FAMILIES.records() if family.part is not None]
            raise SpecError(
                f"expected one of {', '.join(able)} with --tensor-parallel, got adapter={shown(self.name)}. Its "
                "weights are not cut for ranks. Leave --tensor-parallel out."
            )


#: Every family by name.
FAMILIES = Table(
    kind="model family",
    option="adapter",
    record=Family,
    group="diagplan.families",
    built_in={
        "mc-ar": "diagplan.adapters.mc_ar_family:FAMILY",
        "cosmos": "diagplan.adapters.cosmos_family:FAMILY",
        "wham": "diagplan.adapters.wham_family:FAMILY",
        "llamagen": "diagplan.adapters.llamagen_family:FAMILY",
        "janus-pro": "diagplan.adapters.hf_family:JANUS_PRO",
        "emu3": "diagplan.adapters.hf_family:EMU3",
        "glm-image": "diagplan.adapters.hf_family:GLM_IMAGE",
        "chameleon": "diagplan.adapters.hf_family:CHAMELEON",
        "anole": "diagplan.adapters.hf_family:ANOLE",
        "raster-llama": "diagplan.adapters.hf_family:RASTER_LLAMA",
        "transformers": "diagplan.adapters.hf_family:TRANSFORMERS",
    },
)


def family_named(name: str) -> Family:
    """The record of a family.

    Raises:
        SpecError: no such family; the message lists those that there are.

    >>> family_named("wham").releases
    ('wham', 'wham-200m', 'wham-1.6b')
    """
    return FAMILIES.get(name)


def family_of_release(model: str) -> Family | None:
    """The family that has a release of this name; ``None``: no family has."""
    return next((family for family in FAMILIES.records() if model in family.releases), None)
