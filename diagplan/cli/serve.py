"""Clips over HTTP."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import (
    BackendOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ReleaseConfigOption,
    ReleaseTokenizerOption,
    ReleaseWeightsOption,
    ThreadsOption,
    option,
)
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json
from diagplan.cli.shared.recipes import (
    WORKERS,
    BatchOption,
    FpsOption,
    FramesOption,
    GpusPerWorkerOption,
    JobSeedOption,
    KeepOption,
    PlanFileOption,
    PromptFramesOption,
    TextEncoderOption,
    TokensOnlyOption,
    WorldModelOption,
    recipe_from_options,
)
from diagplan.cli.shared.requests import (
    FrameDelayOption,
    GreedyOption,
    MinPOption,
    PoliciesOption,
    ProxyKvOption,
    ProxyOption,
    RowDelayOption,
    RowEndOption,
    ScheduleNameOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    VisibilityOption,
    ZipArWindowOption,
)
from diagplan.cli.shared.speculation import DraftOption, ExactOption, SpeculateOption
from diagplan.worlds.loading import folder_of

__all__ = ["serve_command"]

SERVER, LIMITS = "Server", "Limits"


@command
def serve_command(
    spool: Annotated[
        Path,
        typer.Option("-o", "--spool", help="The folder for jobs and results; of one service.", show_default=False),
    ],
    model: WorldModelOption = "crafter-mini",
    weights: ReleaseWeightsOption = None,
    tokenizer: ReleaseTokenizerOption = None,
    config: ReleaseConfigOption = None,
    context: ContextOption = None,
    text_encoder: TextEncoderOption = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    frames: FramesOption = None,
    prompt_frames: PromptFramesOption = None,
    keep: KeepOption = None,
    plan: PlanFileOption = None,
    schedule: ScheduleNameOption = None,
    k: RowDelayOption = None,
    d: FrameDelayOption = None,
    window: ZipArWindowOption = None,
    policies: PoliciesOption = "default",
    proxy: ProxyOption = None,
    row_end: RowEndOption = None,
    proxy_kv: ProxyKvOption = None,
    visibility: VisibilityOption = None,
    seed: JobSeedOption = 0,
    greedy: GreedyOption = False,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    tokens_only: TokensOnlyOption = False,
    fps: FpsOption = None,
    exact: ExactOption = False,
    speculate: SpeculateOption = None,
    draft: DraftOption = None,
    batch: BatchOption = 4,
    wait_ms: Annotated[
        int,
        typer.Option(
            help="Milliseconds that a job waits for others of its layout.", min=0, max=60_000, rich_help_panel=WORKERS
        ),
    ] = 20,
    workers: Annotated[
        int, typer.Option(help="Processes, each with the model loaded.", min=1, max=1024, rich_help_panel=WORKERS)
    ] = 1,
    gpus_per_worker: GpusPerWorkerOption = 1,
    host: Annotated[
        str, typer.Option(help="The address; another than this machine's own needs --token.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The port; 0: a free one.", min=0, max=65535, rich_help_panel=SERVER)
    ] = 8000,
    token: Annotated[
        str | None,
        option(
            SERVER,
            "What requests must bear, 16 letters or more. Left out: nothing.",
            envvar="DIAGPLAN_TOKEN",
            show_envvar=True,
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(help="Jobs that may wait; more are told to come later.", min=1, rich_help_panel=LIMITS)
    ] = 1000,
    keep_results: Annotated[
        int, typer.Option(help="Ended jobs that are kept, with their results.", min=1, rich_help_panel=LIMITS)
    ] = 1000,
    keep_hours: Annotated[
        float | None, option(LIMITS, "Hours for which they are kept at most. Left out: no such limit.")
    ] = None,
    max_body: Annotated[int, typer.Option(help="MiB of a request.", min=1, max=1024, rich_help_panel=LIMITS)] = 16,
    max_frames: Annotated[
        int, typer.Option(help="Frames that a job may ask for.", min=1, rich_help_panel=LIMITS)
    ] = 1000,
    rate: Annotated[
        float | None, option(LIMITS, "Jobs a second that one address may send on the whole. Left out: any.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Clips over HTTP: POST a job, follow its frames, GET its video and tokens."""
    require_for(
        "serving", weights or folder_of(model), backend, "av", "PIL", "starlette", "uvicorn",
        "websockets",
    )  # fmt: skip
    from diagplan.play.serving import listen, require_token
    from diagplan.serve.service import Service
    from diagplan.serve.serving import serve_jobs
    from diagplan.serve.settings import Settings
    from diagplan.serve.spool import Spool

    require_token(host, token)
    inputs = {"--plan": plan, "--weights": weights, "--tokenizer": tokenizer, "--context": context}
    require_outputs(Output("-o", spool), inputs=inputs | {"--text-encoder": text_encoder, "--model": Path(model)})
    recipe = recipe_from_options(
        model=model, weights=weights, tokenizer=tokenizer, config=config, context=context, text_encoder=text_encoder,
        backend=backend, dtype=dtype, device=device, int8=int8, threads=threads, frames=frames,
        prompt_frames=prompt_frames, keep=keep, plan=plan, schedule=schedule, k=k, d=d, window=window,
        policies=policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility, seed=seed,
        greedy=greedy, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, tokens_only=tokens_only,
        fps=fps, exact=exact, speculate=speculate, draft=draft, batch=batch,
    )  # fmt: skip
    settings = Settings(
        token=token, queue=queue, keep_results=keep_results, keep_hours=keep_hours, max_body=max_body << 20,
        max_frames=max_frames, rate=rate,
    )  # fmt: skip
    with closing(listen(host, port)) as opened, closing(Spool(spool)) as folder:
        service = Service(
            recipe, folder, settings, workers=workers, gpus_per_worker=gpus_per_worker, wait=wait_ms / 1000
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{opened.getsockname()[1]}"
        left = service.board.queued
        if as_json:
            print_json({"address": address, "model": model, "spool": str(folder.folder), "queued": left})
        else:
            jobs = f"; {left} jobs are left from before" if left else ""
            console().print(Text(f"serving {model} at {address}{jobs}  (Ctrl-C ends it when jobs in hand are done)"))
        sys.stdout.flush()
        serve_jobs(service, opened)
    return FINE
