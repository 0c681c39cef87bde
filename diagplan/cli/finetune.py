"""The command that fine-tunes a world model on plans."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command, require_distinct
from diagplan.cli.shared.requests import numbers_from_option, policies_from_options, schedule_from_options
from diagplan.cli.shared.training import (
    RECIPE,
    RUN,
    Batch,
    Clips,
    Device,
    Every,
    Out,
    Rate,
    Seed,
    Steps,
    given_options,
    progress,
    require_checkpoints,
    rounded,
    say,
    stopped,
    tokens_of,
)
from diagplan.planner.errors import SpecError

__all__ = ["finetune_command"]

PLANS = "Plans"


@command
def finetune_command(
    clips: Clips,
    out: Out,
    k: Annotated[str, option(PLANS, "Row delays with commas, e.g. 2 or 1,2,4; a batch draws one of them.")],
    model: Annotated[
        str, typer.Option(help="crafter-mini, or the folder of a world model.", rich_help_panel=RUN)
    ] = "crafter-mini",
    d: Annotated[int | None, option(PLANS, "Frame delay: the next frame begins after d steps.")] = None,
    policies: Annotated[str, typer.Option(help="Bundle of policies.", rich_help_panel=PLANS)] = "default",
    proxy: Annotated[str | None, option(PLANS, "What stands in for an unknown token, instead of the bundle's.")] = None,
    row_end: Annotated[str | None, option(PLANS, "keep or refresh, instead of the bundle's.")] = None,
    proxy_kv: Annotated[str | None, option(PLANS, "visible or hidden, instead of the bundle's.")] = None,
    visibility: Annotated[str | None, option(PLANS, "written or causal, instead of the bundle's.")] = None,
    recipe: Annotated[
        Literal["default", "paper"], typer.Option(help="Recipe; paper: its optimizer table.", rich_help_panel=RECIPE)
    ] = "default",
    steps: Steps = None,
    batch: Batch = None,
    ntp_share: Annotated[float | None, option(RECIPE, "Share of batches with next-token masks, 0 to 1.")] = None,
    learning_rate: Rate = None,
    warm_up: Annotated[int | None, option(RECIPE, "Steps until the learning rate is highest.")] = None,
    seed: Seed = None,
    bfloat16: Annotated[
        bool | None, option(RECIPE, "Matrix products in bfloat16, or in float32.", "--bfloat16/--no-bfloat16")
    ] = None,
    context: Annotated[int | None, option(RECIPE, "Frames of a sequence; the model's context.")] = None,
    size: Annotated[
        Literal["300M", "700M", "1.2B"] | None, option(RECIPE, "Begin with random weights of this published size.")
    ] = None,
    name: Annotated[str | None, option(RUN, "Of the world model; by default the folder's.")] = None,
    device: Device = "cpu",
    checkpoint_every: Every = 200,
    as_json: JsonOption = False,
) -> int:
    """Fine-tune a world model on plans: it learns with the masks that it will decode with.

    Writes all that `diagplan generate` needs to OUT/world. Run again with the same folder and options, it goes on from
    the last checkpoint, to the identical result. Under torchrun the processes share every batch.
    """
    require_checkpoints(checkpoint_every)
    from dataclasses import replace

    from diagplan.models.loading import require_torch
    from diagplan.planner.compiler import compile_plan
    from diagplan.worlds import SHIPPED, load_world

    require_torch()
    from diagplan.adapters.mc_ar_files import require_device
    from diagplan.schemas.world import WorldDocument, read_world_document
    from diagplan.training.finetune import finetune, training_layout, tuning
    from diagplan.training.parallel import joined
    from diagplan.training.published import RECIPES, published_config, published_context
    from diagplan.training.runs import last_row
    from diagplan.training.world_folder import read_weights, write_world
    from diagplan.training.world_model import Vocabulary

    given = {
        "steps": steps, "batch": batch, "ntp_share": ntp_share, "learning_rate": learning_rate, "warm_up": warm_up,
        "seed": seed, "bfloat16": bfloat16,
    }  # fmt: skip
    how = replace(RECIPES[recipe], **given_options(given))
    delays = numbers_from_option("--k", k)
    chosen = policies_from_options(policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility)
    require_device(device)
    folder = SHIPPED.get(model, Path(model))
    if model == "mc-ar":
        raise SpecError(
            "expected crafter-mini or the folder of a world model to fine-tune, got --model mc-ar. "
            "A folder with world.json, as `diagplan train model` writes it, says which tokens are actions."
        )
    require_distinct({"-o": out / "world"}, {"--model": folder})
    codec = load_world(model, lazy=True).tokenizer
    said = read_world_document(folder / "world.json")
    config, weights = read_weights(folder)
    frames = context
    if frames is None:
        paper = size is not None and recipe == "paper"
        frames = published_context(said.rows, said.cols) if paper else said.context_frames
    if size is not None:
        config = published_config(size, config, frames)
    layout = training_layout(config, frames)
    timings = [
        schedule_from_options(layout, policies, name=None, k=delay, d=d, window=None, order=None) for delay in delays
    ]
    plans = [compile_plan(layout, timing, chosen) for timing in timings]
    words = said.actions
    opposites = {words.ids[a]: words.ids[b] for a, b in words.opposites.items()}
    vocabulary = Vocabulary(begin=words.begin, end=words.end, opposites=opposites)
    with joined(device) as (workers, place):
        quiet = as_json or not workers.first
        try:
            splits = []
            for split in ("train", "validation"):
                if not workers.first:  # the first writes what the others read
                    workers.wait()
                splits.append(tokens_of(clips / split, folder / "tokenizer", codec, words.ids, out, quiet))
                if workers.first:
                    workers.wait()
                if splits[-1].frames.shape[2:] != (said.rows, said.cols):
                    raise SpecError(
                        f"expected clips of {said.rows} x {said.cols} tokens, as {said.name} has, got "
                        f"{' x '.join(map(str, splits[-1].frames.shape[2:]))} in {clips / split}. Record that size."
                    )
            with progress("fine-tuning", "steps", how.steps, quiet) as show:
                tuned = finetune(
                    how, config, None if size else weights, plans, vocabulary, splits[0], splits[1], out,
                    device=place, checkpoint_every=checkpoint_every, on_step=show, workers=workers,
                )  # fmt: skip
        except KeyboardInterrupt:
            return stopped("the last checkpoint stays. Run it again to go on from there.", as_json)
    if not workers.first:
        return FINE
    about = {
        "name": name or out.resolve().name,
        "context_frames": frames if size else said.context_frames,
        "tuned": tuning(f"{size} at random" if size else said.name, how, plans),
    }
    write_world(
        out / "world",
        config=config,
        weights=tuned.weights(),
        tokenizer=folder / "tokenizer",
        document=WorldDocument(**(dict(said) | about)),
        records=[path for path in (out / "log.csv", out / "curves.png") if path.is_file()],
    )
    parameters = sum(weight.numel() for weight in tuned.weights().values())
    figures = {"parameters": parameters, "clips": len(splits[0].frames), "out": str(out / "world")}
    say(rounded(last_row(out)), figures, as_json)
    return FINE
