"""How each model family's own release samples."""

from diagplan.backends.sampling import Sample
from diagplan.planner.errors import SpecError

__all__ = ["sampler_for"]

#: WHAM's release: what it takes by default, and the least it lets through.
_WHAM_TEMPERATURE, _WHAM_COOLEST = 0.9, 0.1
_LEAST = 1e-300


def sampler_for(
    family: str, *, temperature: float | None = None, top_k: int | None = None, top_p: float | None = None
) -> Sample:
    """A sampler by the rules of a family.

    Temperature divides the logits first, then come the allowed ids, then top-k or top-p. WHAM's release takes no
    temperature below 0.1, and its top-p drops the id that crosses the bound, down to the most probable id alone; 1
    keeps all.

    Args:
        family: ``"mc-ar"``, ``"wham"``, ...
        temperature: ``None``: 0.9 for WHAM, 1 for others.
        top_k: as for ``Sample``.
        top_p: as for ``Sample``; 0 is allowed for WHAM.

    Raises:
        SpecError: a value out of range, or both top-k and top-p.

    >>> sampler_for("wham", temperature=0.0, top_p=0.9)
    Sample(temperature=0.1, top_k=None, top_p=0.9, crossing='drop')
    """
    if family != "wham":
        return Sample(temperature=1.0 if temperature is None else temperature, top_k=top_k, top_p=top_p)
    warmth = _WHAM_TEMPERATURE if temperature is None else temperature
    if not warmth >= 0:
        raise SpecError(f"expected temperature >= 0, got temperature={temperature}.")
    if top_p is not None and not 0 <= top_p <= 1:
        raise SpecError(f"expected 0 <= top_p <= 1, got top_p={top_p}.")
    share = None if top_p is None or (top_p == 1 and top_k is None) else max(top_p, _LEAST)
    return Sample(temperature=max(warmth, _WHAM_COOLEST), top_k=top_k, top_p=share, crossing="drop")
