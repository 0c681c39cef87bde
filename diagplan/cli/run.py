"""The command that replays a plan: tokens in, tokens out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.files import IDS, PLANS, STATE, Output, require_outputs
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
    PROBLEM,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
    require_distinct,
)
from diagplan.cli.shared.parallel import TensorParallelOption, for_all_ranks, ranks_of_command
from diagplan.cli.shared.requests import (
    SAMPLING,
    GreedyOption,
    MinPOption,
    TopKOption,
    TopPOption,
    guidance_from_options,
    guided_steps,
    sampler_from_options,
    whole_numbers,
)
from diagplan.cli.shared.speculation import (
    CheckOption,
    DraftOption,
    ExactOption,
    SpeculateOption,
    SpeculationOption,
    TraceOption,
    checked_figures,
    speculation_figures,
    speculation_from_options,
)
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.schemas.arrays import read_npy

if TYPE_CHECKING:
    from diagplan.backends.memory import Memory
    from diagplan.backends.speculative import Progress

__all__ = ["run_command"]

CHECKPOINTS = "Checkpoints"


def read_ids(path: Path) -> NDArray[np.integer[Any]]:
    """An integer array from a .npy file; never unpickles.

    Raises:
        DocumentError: the file cannot be read or holds no integers.
    """
    array = read_npy(path, of="integers")
    if array.dtype.kind not in "iu":
        raise DocumentError(f"expected a .npy array of integers in {path}, got {array.dtype}. Save token ids.")
    return array


@command
@for_all_ranks
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
    tensor_parallel: TensorParallelOption = False,
    prompt: Annotated[Path | None, option(MODEL, "Prompt frames' tokens, .npy, int [F, h, w] or [B, F, h, w].")] = None,
    actions: Annotated[Path | None, option(MODEL, "Tokens between frames, .npy, int [F-1+T, n] or batched.")] = None,
    given: Annotated[Path | None, option(MODEL, "Instead of both: every given slot's id in slot order, .npy.")] = None,
    seed: Annotated[int, typer.Option(help="Keys the sampling, with a sample's number.", rich_help_panel=SAMPLING)] = 0,
    samples: Annotated[
        str | None, option(SAMPLING, "The numbers of the samples, such as 3,7; left out, 0, 1, ... in order.")
    ] = None,
    greedy: GreedyOption = False,
    temperature: Annotated[float | None, option(SAMPLING, "Divides the logits; 0 is greedy, for WHAM 0.1.")] = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    guidance: Annotated[
        str | None,
        option(SAMPLING, "The scale of classifier-free guidance, with --unconditional; or weights, such as 3,-2."),
    ] = None,
    unconditional: Annotated[
        list[Path] | None,
        option(SAMPLING, "Every given slot's id without the condition, .npy, int [G] or [B, G]; one a branch."),
    ] = None,
    guided: Annotated[
        str | None, option(SAMPLING, "The guided steps, FIRST:END; left out, all of them.", "--guided-steps")
    ] = None,
    pad: Annotated[
        str | None, option(MODEL, "Positions that are padding at each sample's beginning, such as 0,3; or each row's.")
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
    exact: ExactOption = False,
    speculate: SpeculateOption = None,
    draft: DraftOption = None,
    speculation_document: SpeculationOption = None,
    check: CheckOption = False,
    trace: TraceOption = None,
    as_json: JsonOption = False,
) -> int:
    """Replay a plan on a model: prompt and actions in, tokens out."""
    from diagplan.backends.table import options_for
    from diagplan.models.loading import given_ids
    from diagplan.models.running import run_plan
    from diagplan.schemas.atomic import npy_bytes, write_atomically
    from diagplan.schemas.files import read_plan
    from diagplan.schemas.trace import write_trace

    sampler = sampler_from_options(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, greedy=greedy, adapter=adapter
    )
    if (checkpoint is None) != (checkpoint_every is None):
        raise SpecError("expected --checkpoint and --checkpoint-every together, got one of them. Give the other.")
    speculation = speculation_from_options(
        exact=exact, speculate=speculate, draft=draft, speculation=speculation_document
    )
    if trace is not None and speculation is None:
        raise SpecError("expected --exact or --speculate with --trace, got neither. Step by step there is no trace.")
    if (guidance is None) != (not unconditional):
        raise SpecError("expected --guidance and --unconditional together, got one of them. Give the other.")
    ranks, device = ranks_of_command(tensor_parallel, device)
    require_for("replay", weights, backend)
    require_outputs(
        Output("-o", out, IDS),
        Output("--checkpoint", checkpoint, STATE),
        Output("--trace", trace, PLANS),
        inputs={"PLAN": plan, "--weights": weights, "--prompt": prompt, "--actions": actions, "--given": given}
        | {"--speculation": speculation_document}
        | {"--context": context, **{f"--unconditional {i}": path for i, path in enumerate(unconditional or ())}},
    )
    require_distinct({"-o": out}, {"--resume": resume})
    read = read_plan(plan)
    ids = given_ids(read, *(None if path is None else read_ids(path) for path in (prompt, actions, given)))
    scale, others = guidance_from_options(guidance, [read_ids(path) for path in unconditional or ()])
    options = load_options(
        backend=backend,
        config=config,
        dtype=dtype,
        device=device,
        int8=int8,
        threads=threads,
        context=context,
        ranks=ranks,
    )
    err = console(stderr=True)

    def show(memory: "Memory") -> None:
        if not as_json and err.is_terminal:
            err.print(Text(f"memory, estimated: {memory}"), soft_wrap=True)

    unit = f"{'passes' if speculation is None else 'steps'}, {{task.fields[rate]}}"
    with progress_bar("replaying", unit, TimeRemainingColumn(), quiet=as_json) as progress:
        task = progress.add_task("replaying", total=read.steps, rate="", start=False)

        def on_step(steps: int, chosen: int) -> None:
            progress.start_task(task)
            rate = f"{chosen / (progress.tasks[0].elapsed or 1e-9):,.1f} tokens/s"
            progress.update(task, completed=steps, rate=rate)

        def on_pass(done: "Progress") -> None:
            a_pass = f"{done.passes} passes, {done.tokens / done.passes:,.1f} tokens a pass"
            progress.update(task, rate=a_pass)

        done = run_plan(
            read, adapter, weights, ids, options_for(weights, options), sampler=sampler, seed=seed,
            samples=None if samples is None else whole_numbers("--samples", samples),
            guidance=scale, unconditional=others, guided_steps=None if guided is None else guided_steps(guided),
            pad=None if pad is None else whole_numbers("--pad", pad),
            chunk=chunk, unverified=unverified, checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume,
            speculation=speculation, trace=trace is not None, check=check, on_memory=show,
            on_step=on_step, on_pass=on_pass,
        )  # fmt: skip
    first = ranks is None or not ranks.rank
    if first:
        write_atomically(out, npy_bytes(done.tokens))
    if first and trace is not None and done.speculated is not None and done.speculated.trace is not None:
        write_trace(done.speculated.trace, trace)
    figures: dict[str, Any] = {
        "passes": done.passes,
        "tokens": done.chosen,
        "seconds": round(done.seconds, 4),
        "tokens_per_second": round(done.chosen / done.seconds, 2) if done.seconds else 0.0,
        "ms_per_pass": round(1e3 * done.seconds / max(1, done.passes), 3),
        "samples": len(ids),
        "threads": done.threads,
    }
    if done.speculated is not None:
        how = done.speculated
        figures |= {
            "tokens_a_pass": round(done.chosen / len(ids) / max(1, done.passes), 2),
            "draft_passes": how.outcome.drafted,
            **speculation_figures(how.speculation, how.promise, as_json=as_json),
        }
    figures |= checked_figures(done.checked, as_json=as_json)
    if as_json:
        print_json(figures | {"memory": done.memory._asdict(), "shape": list(done.tokens.shape), "out": str(out)})
    else:
        shown = figures | {"memory_estimate": f"{done.memory.total / 2**20:,.1f} MiB"}
        print_table(["", ">"], [(name.replace("_", " "), value) for name, value in shown.items()])
        console().print(Text(f"wrote {out}, int64 {list(done.tokens.shape)}"), soft_wrap=True)
    return FINE if done.checked is None or done.checked.ok else PROBLEM
