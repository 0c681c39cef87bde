"""What is done with every clip, from the options that `batch` and `serve` share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diagplan.cli.shared.models import load_options
from diagplan.cli.shared.requests import policies_from_options, sampler_from_options, schedule_from_options
from diagplan.cli.shared.speculation import speculation_from_options
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout

if TYPE_CHECKING:
    from diagplan.batch import Recipe

__all__ = ["recipe_from_options"]


def recipe_from_options(
    *,
    model: str,
    weights: Path | None,
    tokenizer: Path | None,
    config: str | None,
    context: Path | None,
    text_encoder: Path | None,
    backend: str,
    dtype: Any,
    device: str,
    int8: bool,
    threads: Any,
    frames: int | None,
    prompt_frames: int | None,
    keep: int | None,
    plan: Path | None,
    schedule: Literal["next-token", "diagonal", "zipar", "zipar-llamagen"] | None,
    k: int | None,
    d: int | None,
    window: int | None,
    policies: Any,
    proxy: Any,
    row_end: Any,
    proxy_kv: Any,
    visibility: Any,
    seed: int,
    greedy: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    tokens_only: bool,
    fps: int | None,
    exact: bool,
    speculate: int | None,
    draft: str | None,
    batch: int,
) -> "Recipe":
    """A recipe of the options by their names.

    Raises:
        SpecError: options that contradict each other, before any model is loaded.
    """
    from diagplan.batch import Recipe

    sampling: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    sampler_from_options(**sampling, greedy=greedy)  # what contradicts itself is refused before workers start
    changes = {"proxy": proxy, "row_end": row_end, "proxy_kv": proxy_kv, "visibility": visibility}
    asked = {
        "frames": frames, "prompt_frames": prompt_frames, "keep": keep, "schedule": schedule, "k": k, "d": d,
        "window": window, "policies": None if policies == "default" else policies, **changes,
    }  # fmt: skip
    given = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value is not None]
    if plan is not None and given:
        raise SpecError(f"expected --plan or {given[0]}, got both. A plan file says frames, schedule and policies.")
    implied = k is not None or window is not None
    named = schedule if schedule is not None or implied else "next-token"
    # Its frame delay is known with the layout.
    bundle = policies if policies.startswith("mineworld") and k is not None and d is None else None
    return Recipe(
        model=model,
        options=load_options(
            backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads, context=context
        ),
        weights=weights,
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        schedule=None
        if plan is not None
        else schedule_from_options(
            Layout(frames=1, rows=1, cols=1, prompt_frames=1),
            policies if bundle is None else "default",
            name=named,
            k=k,
            d=d,
            window=window,
            order=None,
        ),
        policies=None if plan is not None else policies_from_options(policies, **changes),
        bundle=bundle,
        plan=plan,
        frames=frames,
        prompt_frames=prompt_frames,
        keep=keep,
        sampling=sampling if any(value is not None for value in sampling.values()) else None,
        seed=seed,
        speculation=speculation_from_options(exact=exact, speculate=speculate, draft=draft),
        batch=batch,
        fps=fps,
        pictures=not tokens_only,
    )
