"""From prompts to pictures: a model's folder and texts in, .png out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.files import IDS, PLANS, Output, require_outputs
from diagplan.cli.shared.models import (
    MODEL,
    BackendOption,
    DeviceOption,
    DtypeOption,
    ThreadsOption,
    load_options,
    option,
)
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, progress_bar
from diagplan.cli.shared.pictures import (
    PICTURE,
    SAMPLING,
    ChunkOption,
    FeaturesOption,
    GreedyOption,
    GuidanceOption,
    MinPOption,
    NegativeOption,
    NumOption,
    RasterOption,
    RatioOption,
    SizeOption,
    SuffixOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    VqOption,
)
from diagplan.cli.shared.requests import (
    SCHEDULE,
    PoliciesOption,
    ProxyKvOption,
    ProxyOption,
    RowDelayOption,
    RowEndOption,
    ScheduleNameOption,
    VisibilityOption,
    ZipArWindowOption,
    policies_from_options,
    schedule_from_options,
)
from diagplan.cli.shared.speculation import (
    DraftOption,
    ExactOption,
    SpeculateOption,
    SpeculationOption,
    speculation_figures,
    speculation_from_options,
)
from diagplan.planner.errors import SpecError

if TYPE_CHECKING:
    from diagplan.backends.memory import Memory
    from diagplan.images.job import ImageJob
    from diagplan.images.paint import DrawnImages
    from diagplan.planner.layout import Layout

__all__ = ["image_command"]

OUTPUT = "Output"


@command
def image_command(
    model: Annotated[
        Path,
        option(MODEL, "A model's folder as a hub has it: Janus-Pro, Emu3, GLM-Image, Chameleon, Anole, a raster.json."),
    ],
    texts: Annotated[list[str] | None, typer.Argument(help="A prompt, or several.", show_default=False)] = None,
    prompts: Annotated[Path | None, option(PICTURE, "More prompts: a line of text each, or .jsonl.")] = None,
    num: NumOption = 1,
    size: SizeOption = None,
    ratio: RatioOption = None,
    negative: NegativeOption = None,
    suffix: SuffixOption = None,
    weights: Annotated[
        Path | None, option(MODEL, "What export-onnx wrote of the token model, in the place of the folder's weights.")
    ] = None,
    config: RasterOption = None,
    vq: VqOption = None,
    features: FeaturesOption = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    batch: Annotated[int | None, option(MODEL, "Pictures that are decoded at once. Left out: all.", min=1)] = None,
    chunk: ChunkOption = 512,
    compare: Annotated[
        str | None,
        option(SCHEDULE, "Draw each prompt under several plans, such as ntp,exact=36,k=2,zipar=8: one sheet."),
    ] = None,
    schedule: ScheduleNameOption = None,
    k: RowDelayOption = None,
    window: ZipArWindowOption = None,
    exact: ExactOption = False,
    speculate: SpeculateOption = None,
    draft: DraftOption = None,
    speculation_document: SpeculationOption = None,
    policies: PoliciesOption = "default",
    proxy: ProxyOption = None,
    row_end: RowEndOption = None,
    proxy_kv: ProxyKvOption = None,
    visibility: VisibilityOption = None,
    seed: Annotated[
        int, typer.Option(help="Keys the sampling, with a picture's number.", rich_help_panel=SAMPLING)
    ] = 0,
    guidance: GuidanceOption = None,
    greedy: GreedyOption = False,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    out: Annotated[
        Path | None, option(OUTPUT, "The picture to write, .png; of several pictures a sheet.", "-o", "--out")
    ] = None,
    pictures_dir: Annotated[Path | None, option(OUTPUT, "Write each picture here, 0000.png and so on.")] = None,
    tokens_out: Annotated[Path | None, option(OUTPUT, "Write the tokens too, .npy, int64 [B, h, w].")] = None,
    plan_out: Annotated[
        Path | None, option(OUTPUT, "Write the plan too; of GLM-Image the chain of preview and picture.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Draw pictures: prompts in, .png out."""
    from diagplan.images.prompt_files import read_prompts
    from diagplan.planner.extras import require_packages

    if out is None and (compare is not None or (pictures_dir is None and tokens_out is None)):
        raise SpecError(
            "expected -o, --pictures-dir or --tokens-out, got none; --compare needs -o. Say where to write."
        )
    single = {
        "--schedule": schedule,
        "--k": k,
        "--window": window,
        "--pictures-dir": pictures_dir,
        "--plan-out": plan_out,
        "--exact": exact or None,
        "--speculate": speculate,
        "--speculation": speculation_document,
    }
    asked = [name for name, value in single.items() if value is not None]
    if compare is not None and asked:
        raise SpecError(
            f"expected --compare or {asked[0]}, got both. --compare names its own plans, and makes one sheet."
        )
    require_packages("pictures", "torch", "safetensors", "transformers", "PIL")
    require_outputs(
        Output("-o", out, (".png",)), Output("--tokens-out", tokens_out, IDS), Output("--plan-out", plan_out, PLANS),
        Output("--pictures-dir", pictures_dir),
        inputs={"--prompts": prompts, "--vq": vq, "--speculation": speculation_document},
    )  # fmt: skip
    wanted = [*(texts or ()), *(read_prompts(prompts) if prompts is not None else ())]
    if not wanted:
        raise SpecError('expected a prompt, got none. Give a text, such as "a red bicycle", or --prompts FILE.')
    sampling = {"greedy": greedy, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    treatment = policies_from_options(policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility)
    speculation = speculation_from_options(
        exact=exact, speculate=speculate, draft=draft, speculation=speculation_document
    )
    named = schedule or (None if k is not None or window is not None else "next-token")
    common: dict[str, Any] = {
        "policies": treatment, "guidance": guidance, "negative": negative, "size": size, "ratio": ratio,
        "suffix": suffix, "num": num, "seed": seed, "sampling": sampling, "weights": weights, "vq": vq, "batch": batch,
        "chunk": chunk, "features": features or (), "options": load_options(
            backend=backend, config=config, dtype=dtype, device=device, threads=threads
        ),
    }  # fmt: skip

    def timing(layout: "Layout") -> Any:
        return schedule_from_options(layout, policies, name=named, k=k, d=None, window=window, order=None)

    with progress_bar("{task.description}", "{task.fields[unit]}", TimeRemainingColumn(), quiet=as_json) as bar:
        task = bar.add_task("reading", total=None, unit="")

        def on_progress(what: str, done: int, of: int) -> None:
            from diagplan.images.paint import PIXELS

            bar.tasks[0].total = of or None  # which update would not take back
            unit = "" if not of else "pictures" if what == PIXELS else "passes"
            bar.update(task, description=what, completed=done, unit=unit)

        def on_memory(memory: "Memory") -> None:
            if bar.console.is_terminal and not as_json:
                bar.console.print(Text(f"memory, estimated: {memory}"), soft_wrap=True)

        def on_job(job: "ImageJob", _: object) -> None:
            if bar.console.is_terminal and not as_json:
                bar.console.print(Text(f"sampling: {_sampling(job.choice)}"), soft_wrap=True)

        told: dict[str, Any] = {"on_progress": on_progress, "on_memory": on_memory, "on_job": on_job}
        if compare is not None:
            return _compare(model, wanted, compare, common, told, out, tokens_out, as_json=as_json)
        from diagplan.images.paint import draw_image

        needed = out is not None or pictures_dir is not None
        drawn = draw_image(model, wanted, schedule=timing, speculation=speculation, pixels=needed, **common, **told)
    written = _write(drawn, out, pictures_dir, tokens_out, plan_out)
    _say(drawn, written, as_json=as_json)
    return FINE


def _compare(
    model: Path,
    texts: list[str],
    names: str,
    common: dict[str, Any],
    told: dict[str, Any],
    out: Path | None,
    tokens: Path | None,
    *,
    as_json: bool,
) -> int:
    """One sheet: every prompt under every plan."""
    from diagplan.images.comparing import compare_images, comparison_sheet
    from diagplan.schemas.atomic import npy_bytes, write_atomically
    from diagplan.video.frames import png

    assert out is not None
    compared = compare_images(model, texts, names, **common, **told)
    write_atomically(out, png(comparison_sheet(compared)))
    if tokens is not None:
        write_atomically(tokens, npy_bytes(compared.tokens))
    if as_json:
        rows = [
            {
                "plan": row.name, "passes": row.passes, "seconds": round(row.seconds, 4), "same": row.same.tolist(),
                "loss": row.loss.tolist(),
            }
            for row in compared.rows
        ]  # fmt: skip
        print_json({"family": compared.family, "sampling": _sampling(compared.choice), "plans": rows, "out": str(out)})
        return FINE
    print_table(*compared.table())
    console().print(Text(f"sampling: {_sampling(compared.choice)}"), soft_wrap=True)
    console().print(Text(f"wrote {out}"), soft_wrap=True)
    return FINE


def _sampling(choice: Any) -> str:
    from diagplan.images.defaults import described

    return f"{described(choice.sampler)} ({choice.source})"


def _write(
    drawn: "DrawnImages", out: Path | None, folder: Path | None, tokens: Path | None, plan: Path | None
) -> list[Path]:
    """The files that were asked for."""
    from diagplan.images.sheets import contact_sheet
    from diagplan.planner.chain_compiler import chain_of
    from diagplan.schemas.atomic import make_folder, npy_bytes, write_atomically
    from diagplan.schemas.chain_files import write_chain
    from diagplan.schemas.files import write_plan
    from diagplan.video.frames import png

    written = []
    if drawn.pictures is not None and out is not None:
        alone = len(drawn.pictures) == 1
        write_atomically(out, png(drawn.pictures[0] if alone else contact_sheet(drawn.pictures, drawn.texts)))
        written.append(out)
    if drawn.pictures is not None and folder is not None:
        make_folder(folder)
        for number, picture in enumerate(drawn.pictures):
            write_atomically(folder / f"{number:04d}.png", png(picture))
        written.append(folder)
    if tokens is not None:
        write_atomically(tokens, npy_bytes(drawn.tokens))
        written.append(tokens)
    if plan is not None:
        if len(drawn.plans) == 1:
            write_plan(drawn.plans[0], plan)
        else:
            write_chain(chain_of(drawn.plans), plan)
        written.append(plan)
    return written


def _say(drawn: "DrawnImages", written: list[Path], *, as_json: bool) -> None:
    count = drawn.tokens.size + sum(grid.size for grid in drawn.earlier)
    figures: dict[str, Any] = {
        "family": drawn.family,
        "pictures": len(drawn.tokens),
        "passes": drawn.passes,
        "tokens": count,
        "seconds": round(drawn.seconds, 3),
        "tokens_per_second": round(count / drawn.seconds, 1) if drawn.seconds else 0.0,
        "pixel_seconds": round(drawn.pixel_seconds, 3),
        "guidance": drawn.guidance,
        "sampling": _sampling(drawn.choice),
        **speculation_figures(drawn.speculation, drawn.promise, as_json=as_json),
    }
    if as_json:
        memory = None if drawn.memory is None else drawn.memory._asdict()
        shape = None if drawn.pictures is None else list(drawn.pictures.shape)
        print_json(figures | {"memory": memory, "shape": shape, "written": [str(path) for path in written]})
        return
    sampling = figures.pop("sampling")
    rows = [(name.replace("_", " "), "none" if value is None else value) for name, value in figures.items()]
    print_table(["", ">"], rows)
    console().print(Text(f"sampling: {sampling}"), soft_wrap=True)
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)
