"""The command that replays a plan: tokens in, tokens out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.files import IDS, STATE, Output, require_outputs
from diagplan.cli.shared.models import (
    MODEL,
    AdapterOption,
    BackendOption,
    ConfigOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ThreadsOption,
    load_options,
    option,
)
from diagplan.cli.shared.output import (
    FINE,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
    require_distinct,
)
from diagplan.cli.shared.requests import sampler_from_options
from diagplan.planner.errors import DocumentError, SpecError

if TYPE_CHECKING:
    from diagplan.backends.memory import Memory

__all__ = ["run_command"]

SAMPLING, CHECKPOINTS = "Sampling", "Checkpoints"


def read_ids(path: Path) -> NDArray[np.integer[Any]]:
    """An integer array from a .npy file; never unpickles.

    Raises:
        DocumentError: the file cannot be read or holds no integers.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - a hostile header makes NumPy raise almost anything
        said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise DocumentError(f"expected a .npy array in {path}, got a file that cannot be read: {said}.") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise DocumentError(f"expected one .npy array of integers in {path}, got another file. Save token ids.")
    return array


@command
def run_command(
    plan: Annotated[Path, typer.Argument(help="A plan file.", show_default=False)],
    weights: Annotated[
        Path,
        option(MODEL, "Checkpoint: .ckpt, .pt, .safetensors, or a folder, also one that export-onnx wrote."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Tokens to write, .npy, int [B, T, h, w].", show_default=False)
    ],
    adapter: AdapterOption = "mc-ar",
    config: ConfigOption = None,
    context: ContextOption = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    prompt: Annotated[Path | None, option(MODEL, "Prompt frames' tokens, .npy, int [F, h, w] or [B, F, h, w].")] = None,
    actions: Annotated[Path | None, option(MODEL, "Tokens between frames, .npy, int [F-1+T, n] or batched.")] = None,
    given: Annotated[Path | None, option(MODEL, "Instead of both: every given slot's id in slot order, .npy.")] = None,
    seed: Annotated[int, typer.Option(help="Sample i of a batch is keyed by (seed, i).", rich_help_panel=SAMPLING)] = 0,
    greedy: Annotated[
        bool, option(SAMPLING, "Take the most probable token (the default without the next four).", "--greedy")
    ] = False,
    temperature: Annotated[float | None, option(SAMPLING, "Divides the logits; 0 is greedy, for WHAM 0.1.")] = None,
    top_k: Annotated[int | None, option(SAMPLING, "Keep the k most probable tokens.")] = None,
    top_p: Annotated[float | None, option(SAMPLING, "Keep the most probable tokens up to this probability.")] = None,
    guidance: Annotated[
        float | None, option(SAMPLING, "The scale of classifier-free guidance, with --unconditional.")
    ] = None,
    unconditional: Annotated[
        Path | None, option(SAMPLING, "Every given slot's id without the condition, .npy, int [G] or [B, G].")
    ] = None,
    chunk: Annotated[
        int, typer.Option(help="Feeds of the widest pass: a long prompt is cut.", min=1, rich_help_panel=MODEL)
    ] = 512,
    unverified: Annotated[bool, option(CHECKPOINTS, "Replay a plan that does not verify.", "--unverified")] = False,
    checkpoint: Annotated[
        Path | None, option(CHECKPOINTS, "Write the state here while replaying (.safetensors).")
    ] = None,
    checkpoint_every: Annotated[int | None, option(CHECKPOINTS, "Steps between two checkpoints.", min=1)] = None,
    resume: Annotated[Path | None, option(CHECKPOINTS, "Go on from this checkpoint.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Replay a plan on a model: prompt and actions in, tokens out."""
    from diagplan.backends.memory import estimate_memory
    from diagplan.backends.sampling import Greedy
    from diagplan.backends.table import options_for
    from diagplan.models.estimates import require_memory_before_loading
    from diagplan.models.loading import given_ids, guided_ids, load_model_as
    from diagplan.schemas.atomic import npy_bytes, write_atomically
    from diagplan.schemas.files import read_plan

    sampler = sampler_from_options(temperature=temperature, top_k=top_k, top_p=top_p, greedy=greedy, adapter=adapter)
    if (checkpoint is None) != (checkpoint_every is None):
        raise SpecError("expected --checkpoint and --checkpoint-every together, got one of them. Give the other.")
    if (guidance is None) != (unconditional is None):
        raise SpecError("expected --guidance and --unconditional together, got one of them. Give the other.")
    require_outputs(
        Output("-o", out, IDS),
        Output("--checkpoint", checkpoint, STATE),
        inputs={"PLAN": plan, "--weights": weights, "--prompt": prompt, "--actions": actions, "--given": given}
        | {"--context": context, "--unconditional": unconditional},
    )
    require_distinct({"-o": out}, {"--resume": resume})
    made = read_plan(plan)
    ids = given_ids(made, *(None if path is None else read_ids(path) for path in (prompt, actions, given)))
    rows = guided_ids(ids, guidance, None if unconditional is None else read_ids(unconditional))
    options = load_options(
        backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads, context=context
    )
    options = options_for(weights, options)
    err = console(stderr=True)

    def show(memory: "Memory") -> None:
        if not as_json and err.is_terminal:
            err.print(Text(f"memory, estimated: {memory}"), soft_wrap=True)

    memory = require_memory_before_loading(
        adapter, weights, made, options, batch=len(rows), chunk=chunk, sampled=not isinstance(sampler, Greedy),
        report=show,
    )  # fmt: skip
    model = load_model_as(adapter, weights, options)
    if memory is None:
        memory = estimate_memory(model, made, len(rows), chunk=chunk, sampled=not isinstance(sampler, Greedy))
        show(memory)

    from diagplan.backends import checkpoint as checkpoints
    from diagplan.backends import replay as executor

    executor.require_grid(made, model)
    prepared = executor.prepare(
        made, model, sampler=sampler, seed=seed, batch=len(ids), guidance=guidance, chunk=chunk, unverified=unverified
    )
    state = executor.new_state(prepared, rows) if resume is None else checkpoints.load_checkpoint(prepared, resume)
    begun = 0 if not state.done else prepared.passes[state.done - 1].step + 1
    with progress_bar("replaying", "passes, {task.fields[rate]}", TimeRemainingColumn(), quiet=as_json) as progress:
        task = progress.add_task("replaying", total=made.steps, completed=begun, rate="")
        per_step = np.bincount(made.feed_steps()[made.target >= 0], minlength=made.steps)

        def on_step(step: int, now: executor.State) -> None:
            elapsed = progress.tasks[0].elapsed or 1e-9
            rate = f"{per_step[begun : step + 1].sum() * len(ids) / elapsed:,.1f} tokens/s"
            progress.update(task, completed=step + 1, rate=rate)
            if checkpoint is not None and checkpoint_every is not None and (step + 1) % checkpoint_every == 0:
                checkpoints.save_checkpoint(prepared, now, checkpoint)

        done = executor.replay(prepared, state, on_step=on_step)
    write_atomically(out, npy_bytes(done.tokens))
    tokens = int(per_step[begun:].sum()) * len(ids)
    figures = {
        "passes": made.steps - begun,
        "tokens": tokens,
        "seconds": round(done.seconds, 4),
        "tokens_per_second": round(tokens / done.seconds, 2) if done.seconds else 0.0,
        "ms_per_pass": round(1e3 * done.seconds / max(1, made.steps - begun), 3),
        "samples": len(ids),
    }
    if as_json:
        print_json(figures | {"memory": memory._asdict(), "shape": list(done.tokens.shape), "out": str(out)})
    else:
        shown = figures | {"memory_estimate": f"{memory.total / 2**20:,.1f} MiB"}
        print_table(["", ">"], [(name.replace("_", " "), value) for name, value in shown.items()])
        console().print(Text(f"wrote {out}, int64 {list(done.tokens.shape)}"), soft_wrap=True)
    return FINE
