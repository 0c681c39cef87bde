"""Models of transformers: ms a token against the library's own ``generate``: ``python -m bench.transformers``.

Published shapes with random weights and as many layers as are asked for. In one process, in turn: ``generate`` with a
static cache; next-token plans through the library's decoder (*wrapped*) and through diagplan's own layers (*fast*), and
k=2 through both. Under guidance there are two rows, as Janus' ``generate`` always has; Emu3's runs without. *Ratio* is
generate's time a token over the row's; *efficiency* the speed-up in time over that in passes, over the same layers'
next-token plan. The prompt's pass is inside the clock of all.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table

from bench.plan import machine
from diagplan import Diagonal, Layout, NextToken, compile_plan
from diagplan.adapters.transformers import TransformersModel
from diagplan.backends.replay import new_state, prepare, replay
from diagplan.planner.schedule import Schedule

RESULTS = Path(__file__).parent / "results"
PROMPT, BOI, BOS, PAD = 32, 3, 1, 0


def janus_pro_1b(layers: int) -> Any:
    """The text core and heads of Janus-Pro-1B; its encoder and decoder of pictures are tiny, for no pass reads them."""
    t = transformers
    text = t.LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=16, vocab_size=102400, max_position_embeddings=16384,
    )  # fmt: skip
    vision = t.JanusVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=384, patch_size=16,
        projection_dim=2048, num_image_tokens=576,
    )  # fmt: skip
    codes = t.JanusVQVAEConfig(
        embed_dim=8, num_embeddings=16384, latent_channels=16, base_channels=32, channel_multiplier=[1, 1],
        num_res_blocks=1, projection_dim=2048, image_token_embed_dim=2048,
    )  # fmt: skip
    model = t.JanusForConditionalGeneration(
        t.JanusConfig(text_config=text, vision_config=vision, vq_config=codes, image_token_id=5)
    )
    held: Any = model.generation_config
    held.pad_token_id, held.bos_token_id, held.eos_token_id = PAD, BOS, None
    held.generation_kwargs = {"boi_token_id": BOI}
    return model


def emu3(layers: int) -> Any:
    """The text core and head of Emu3-Gen."""
    t = transformers
    text = t.Emu3TextConfig(num_hidden_layers=layers)
    names = {"<image>": 8, "<|extra_200|>": 3} | {f"<|visual token {c:06d}|>": 151854 + c for c in range(32768)}
    codes = t.Emu3VQVAEConfig(
        codebook_size=32768, embed_dim=4, latent_channels=4, base_channels=32, channel_multiplier=[1, 1],
        num_res_blocks=1, attn_resolutions=[], hidden_size=32,
    )  # fmt: skip
    model = t.Emu3ForConditionalGeneration(t.Emu3Config(text_config=text, vq_config=codes, vocabulary_map=names))
    model.generation_config.eos_token_id = None
    return model


SHAPES: dict[str, Callable[[int], Any]] = {"janus-pro-1b": janus_pro_1b, "emu3": emu3}


def generated(module: Any, shape: str, tokens: int) -> None:
    """The library's own way, greedily, with a static cache."""
    ids = torch.full((1, PROMPT), 9)
    ids[0, 0], ids[0, -1] = BOS, BOI
    mask = torch.ones_like(ids)
    if shape == "emu3":
        module.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=tokens, cache_implementation="static",
            disable_compile=True,
        )  # fmt: skip
        return
    module.model.vision_model.config.num_image_tokens = tokens
    module.generate(
        ids, attention_mask=mask, generation_mode="image", guidance_scale=5, do_sample=False, num_return_sequences=1,
        disable_compile=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="janus-pro-1b")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--side", type=int, default=16, help="rows and columns of the picture")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turn; the median is shown")
    parser.add_argument("--out", type=Path, help="default: bench/results/transformers-SHAPE-DTYPE.json")
    options = parser.parse_args()
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, options.dtype))
    module = SHAPES[options.shape](options.layers).eval()
    torch.set_default_dtype(default)
    models = {"wrapped": TransformersModel(module), "fast": TransformersModel(module, fast=True)}
    assert models["fast"].fast
    layout = Layout(frames=1, rows=options.side, cols=options.side, lead=PROMPT)
    runs: dict[str, Callable[[], object]] = {"generate": lambda: generated(module, options.shape, layout.tokens)}
    passes = {"generate": layout.tokens}
    guidance = 5.0 if options.shape == "janus-pro-1b" else None
    schedules: dict[str, Schedule] = {"next-token": NextToken(), "k=2": Diagonal(k=2)}
    for plan_name, schedule in schedules.items():
        plan = compile_plan(layout, schedule)
        for name, model in models.items():
            for scale in dict.fromkeys((guidance, 5.0)):
                ready = prepare(plan, model, guidance=scale)
                given = np.full((ready.rows, PROMPT), 9) + (16384 if options.shape == "janus-pro-1b" else 0)
                label = f"{name}, {plan_name}" + ("" if scale is None else ", two rows")
                runs[label] = lambda ready=ready, given=given: replay(ready, new_state(ready, given))  # type: ignore[misc]
                passes[label] = plan.steps
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    for turn in range(options.repeats + 1):
        for label, run in runs.items():
            before = time.perf_counter()
            run()
            if turn:  # the first warms up
                seconds[label].append(time.perf_counter() - before)
    rows = summaries(seconds, passes, layout.tokens)
    _print(f"{options.shape}, {options.layers} layers, {options.dtype}, {options.side} x {options.side}", rows)
    result = {
        "machine": machine() | {
            "torch": torch.__version__, "threads": str(torch.get_num_threads()), "transformers": version("transformers")
        },
        "shape": options.shape, "layers": options.layers, "dtype": options.dtype, "side": options.side,
        "repeats": options.repeats, "runs": rows,
    }  # fmt: skip
    out = options.out or RESULTS / f"transformers-{options.shape}-{options.dtype}.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {out}")


def summaries(seconds: dict[str, list[float]], passes: dict[str, int], tokens: int) -> list[dict[str, Any]]:
    """The figures of each run; a plan of k=2 is compared with the next-token plan on the same layers."""
    middle = {label: float(np.median(some)) for label, some in seconds.items()}
    rows = []
    for label, took in middle.items():
        base = label.replace("k=2", "next-token")
        saved = passes[base] / passes[label]
        rows.append(
            {
                "run": label,
                "passes": passes[label],
                "ms_a_token": 1e3 * took / tokens,
                "ms_a_pass": 1e3 * took / passes[label],
                "ratio": middle["generate"] / took,
                "efficiency": middle[base] / took / saved,
                "all_seconds": seconds[label],
            }
        )
    return rows


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    for name in ("run", "passes", "ms a token", "ms a pass", "ratio", "efficiency"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in rows:
        figures = (f"{row[name]:.2f}" for name in ("ms_a_token", "ms_a_pass", "ratio", "efficiency"))
        table.add_row(row["run"], str(row["passes"]), *figures)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
