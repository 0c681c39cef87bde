"""The study of pictures: several plans on many prompts, resumable."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import (
    MODEL,
    DeviceOption,
    DtypeOption,
    ThreadsOption,
    load_options,
    option,
)
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, progress_bar
from diagplan.cli.shared.pictures import (
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
from diagplan.planner.extras import require_packages

__all__ = ["evaluate_images_command"]


@command
def evaluate_images_command(
    model: Annotated[Path, option(MODEL, "An image model's folder, as `diagplan image` takes it.")],
    prompts: Annotated[Path, typer.Option(help="Prompts: a line of text each, or .jsonl.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="The study's folder. Give it again to go on where a study has stopped.",
            show_default=False,
        ),
    ],
    plans: Annotated[
        str, typer.Option(help="Plans with commas between, such as ntp,exact=36,k=2,zipar=8; ntp is always run.")
    ] = "ntp,k=4,k=2,k=1",
    count: Annotated[
        int | None,
        typer.Option(help="Take the first so many prompts. Left out: all.", min=1, show_default=False),
    ] = None,
    num: NumOption = 1,
    size: SizeOption = None,
    ratio: RatioOption = None,
    negative: NegativeOption = None,
    suffix: SuffixOption = None,
    config: RasterOption = None,
    vq: VqOption = None,
    features: FeaturesOption = None,
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    batch: Annotated[
        int, typer.Option(help="Pictures that are decoded at once.", min=1, max=4096, rich_help_panel=MODEL)
    ] = 8,
    chunk: ChunkOption = 512,
    seed: Annotated[
        int,
        typer.Option(
            help="Keys the sampling, with a picture's number; and the intervals.", min=0, rich_help_panel=SAMPLING
        ),
    ] = 0,
    guidance: GuidanceOption = None,
    greedy: GreedyOption = False,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    clip: Annotated[
        Path | None,
        typer.Option(
            help="The folder of a CLIP as Hugging Face has it, which adds the CLIP score. Left out: none.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Prompts of the sheet; 0, without --clip and --pictures, needs no image decoder.", min=0)
    ] = 4,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Write every picture too, for other programmes.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Compare decoding plans on many prompts: loss, equal tokens, passes, with intervals; a plot, a sheet."""
    from diagplan.images.prompt_files import read_prompts

    require_packages("a study of pictures", "torch", "safetensors", "transformers", "PIL", "matplotlib")
    require_outputs(Output("-o", out), inputs={"--prompts": prompts, "--vq": vq})
    from diagplan.study.image_whole import NO_CLIP, study_images

    texts = read_prompts(prompts)[:count]
    sampling = {"greedy": greedy, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    with progress_bar("{task.description}", "{task.fields[unit]}", TimeRemainingColumn(), quiet=as_json) as bar:
        task = bar.add_task("reading", total=None, unit="")

        def on_progress(what: str, done: int, of: int) -> None:
            from diagplan.images.paint import PIXELS

            bar.tasks[0].total = of or None  # which update would not take back
            unit = "" if not of else "pictures" if what == PIXELS else "passes"
            bar.update(task, description=what, completed=done, unit=unit)

        report = study_images(
            model, texts, out, plans=plans, num=num, guidance=guidance, negative=negative, size=size, ratio=ratio,
            suffix=suffix, seed=seed, sampling=sampling, vq=vq, features=features or (), batch=batch, chunk=chunk,
            clip=clip, samples=samples, pictures=pictures, on_progress=on_progress,
            options=load_options(config=config, dtype=dtype, device=device, threads=threads),
        )  # fmt: skip
    if as_json:
        print_json(
            {
                "family": report.family,
                "prompts": report.prompts,
                "plans": report.plans,
                "done_before": report.done_before,
                "run_now": report.run_now,
                "rows": [row.as_dict() for row in report.rows],
                "clip": report.clip,
                "written": [str(path) for path in report.written],
            }
        )
        return FINE
    columns = ["plan", ">passes", ">s a picture", ">x passes", ">x time", ">loss", ">loss over NTP's", ">% as NTP"]
    from diagplan.study.image_tables import IMAGE_FIGURES

    names = ["loss", "loss_more", "equal_ntp", *(["clip"] if report.clip else [])]
    columns += [">CLIP score"] if report.clip else []
    print_table(
        columns,
        [
            (
                row.name, f"{row.passes:,}", f"{row.seconds:.3f}", f"{row.fewer_passes:.2f}", f"{row.faster:.2f}",
                *(IMAGE_FIGURES[name].number(row.figures[name].mean) for name in names),
            )
            for row in report.rows
        ],
        title=f"{report.prompts} prompts; {report.run_now} plans run, {report.done_before} done before",
    )  # fmt: skip
    if not report.clip:
        console().print(Text(NO_CLIP), soft_wrap=True)
    for path in report.written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)
    return FINE
