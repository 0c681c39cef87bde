"""The texts that lead single clips of a Video2World model: features of a file, or of an encoder."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from diagplan.adapters.contract import Model
from diagplan.batch.jobs import Job
from diagplan.planner.errors import SpecError
from diagplan.worlds.texts import read_text
from diagplan.worlds.world import World

__all__ = ["Texts"]


class Texts:
    """A transformer, and the same with one text or another; the weights are shared.

    Args:
        world: opened; its transformer is loaded here.
        encoder: a local folder of T5-11B.
        held: texts whose keys and values stay on the device: at least those of jobs that are looked at together.

    Attributes:
        model: the transformer as it was loaded; without a text where it reads one of each job.
    """

    def __init__(self, world: World, encoder: Path | None, held: int = 4) -> None:
        self._world, self._encoder, self._held = world, encoder, held
        self.model: Model = world.source.load() if world.reads_text else world.load()
        self._bound: OrderedDict[str, Model] = OrderedDict()

    def of(self, job: Job) -> str | None:
        """What leads a job, by a name for ``bound``; ``None``: nothing of its own.

        Raises:
            SpecError: a text for a model that reads none, or that has one for all jobs; or none where one is needed.
            DocumentError: features that cannot be read.
        """
        world = self._world
        if not world.reads_text:
            if job.text is not None or job.context is not None:
                raise SpecError(f"expected no text in a job for {world.name} as it is loaded, got one. Leave it out.")
            return None
        if job.context is not None:
            name = f"context {job.context}"
        elif job.text is None:
            raise SpecError(f"expected a text or a context in each job for {world.name}, got none. Give features.")
        elif self._encoder is None:
            raise SpecError(
                "expected --text-encoder for a job with a text, got none. Name a local folder of T5-11B, or give "
                "features as context."
            )
        else:
            name = f"text {job.text}"
        if name not in self._bound:
            self._bound[name] = self._led(job)
        self._bound.move_to_end(name)
        if len(self._bound) > self._held:
            self._bound.popitem(last=False)
        return name

    def bound(self, name: str | None) -> Model:
        """The transformer led by a text of the job at hand, or as it was loaded."""
        return self.model if name is None else self._bound[name]

    def _led(self, job: Job) -> Model:
        from diagplan.adapters.cosmos_text import read_text_features

        model: Any = self.model
        if job.context is not None:
            features = read_text_features(job.context)
        else:
            assert job.text is not None
            assert self._encoder is not None
            features = read_text(self._world, job.text, self._encoder).source.options.context
        led: Model = model.with_context(features)
        return led
