"""How each model family's own release samples."""

from dataclasses import replace

from diagplan.adapters.families import family_named
from diagplan.adapters.samplers import Greedy, Sampler

__all__ = ["sampler_for"]


def sampler_for(
    family: str,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Sampler:
    """A sampler by the rules of a family.

    Temperature divides the logits first, then come the allowed ids, then top-k, top-p and
    min-p. WHAM's release takes no
    temperature below 0.1, and its top-p drops the id that crosses the bound, down to the most probable id alone; 1
    keeps all.

    Args:
        family: ``"mc-ar"``, ``"wham"``, ...
        temperature: ``None``: 0.9 for WHAM, 1 for others; 0: greedy, for WHAM 0.1.
        top_k: as for ``Sample``.
        top_p: as for ``Sample``; 0 is allowed for WHAM.
        min_p: as for ``Sample``.

    Raises:
        SpecError: no such family, or a value out of range.

    >>> sampler_for("wham", temperature=0.0, top_p=0.9)
    Sample(temperature=0.1, top_k=None, top_p=0.9, crossing='drop', min_p=None)
    """
    sampler = family_named(family).sampler(temperature, top_k, top_p)
    return sampler if min_p is None or isinstance(sampler, Greedy) else replace(sampler, min_p=min_p)
