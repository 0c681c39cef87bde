"""Damaged exports of ``export-onnx`` and damaged checkpoints of ``run --checkpoint``."""

import json
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from diagplan import Diagonal, Layout, compile_plan
from diagplan.adapters.mc_ar import McAr, McArConfig
from diagplan.backends.checkpoint import load_checkpoint, save_checkpoint
from diagplan.backends.onnx_export import export_model
from diagplan.backends.onnx_runtime import GRAPH, load_onnx_model
from diagplan.backends.replay import Prepared, new_state, prepare, replay
from diagplan.backends.sampling import Sample
from diagplan.planner.errors import DiagplanError
from diagplan.schemas.onnx_model import KEY
from tests.search.damage import INTEGERS, flip_bytes, hurt_bytes, hurt_json, hurt_value
from tests.search.guard import Based, Different

__all__ = ["checkpoint", "exports"]

_CONFIG = McArConfig(
    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
    vocab_size=24, max_position_embeddings=32,
)  # fmt: skip
_PLAN = compile_plan(Layout(frames=2, rows=2, cols=3, prompt_frames=1), Diagonal(k=2))
_GIVEN = np.arange(6)[None]


_KEPT = tempfile.TemporaryDirectory(prefix="diagplan-search-")


@cache
def _export() -> Path:
    """The folder of an exported model; never to be changed."""
    export_model(McAr.random(_CONFIG, portable=True), Path(_KEPT.name) / GRAPH, config={})
    return Path(_KEPT.name)


_OPERATORS = (
    "Loop", "If", "Scan", "Identity", "ConstantOfShape", "Tile", "Expand", "Range", "X", "RandomNormal", "Attention",
    "MatMul", "Sin", "StringConcat", "ImageDecoder",
)  # fmt: skip


def _hurt_node(rng: Random, graph: Any) -> None:
    node = rng.choice(graph.node)
    match rng.randrange(9):
        case 0:
            node.op_type = rng.choice(_OPERATORS)
        case 1:
            node.domain = rng.choice(("com.microsoft", "ai.onnx.ml", "x", "ai.onnx"))
        case 2 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(rng.choice(graph.node).output or [""])
        case 3:
            graph.node.remove(node)
        case 4:
            graph.node.insert(rng.randrange(len(graph.node)), node)
        case 5 if node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.i = rng.choice(INTEGERS[:-7])
        case 6 if node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.ints.extend([rng.choice(INTEGERS[:-7])] * rng.choice((1, 40)))
        case 7:
            shape = helper.make_tensor("s", TensorProto.INT64, [2], [rng.choice((1 << 14, 1 << 18, 1 << 40))] * 2)
            graph.initializer.append(shape)
            graph.node.insert(0, helper.make_node("ConstantOfShape", ["s"], ["large"]))
            graph.node.insert(1, helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0))
            if node.output:
                node.input.append("sum")
        case _:
            body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b", [], [])
            node.attribute.append(helper.make_attribute("body", body))


def _hurt_tensor(rng: Random, graph: Any) -> None:
    tensor = rng.choice(graph.initializer)
    match rng.randrange(6):
        case 0:
            del tensor.dims[:]
            tensor.dims.extend([rng.choice(INTEGERS[:-7]) for _ in range(rng.choice((0, 1, 2, 9)))])
        case 1:
            tensor.data_type = rng.randrange(25)
        case 2 if tensor.external_data:
            places = ("../x", "/etc/passwd", "secret", "model.onnx", "", "x" * 5000, f"./{GRAPH}.data", "/dev/zero")
            next(e for e in tensor.external_data if e.key == "location").value = rng.choice(places)
        case 3 if tensor.external_data:
            entry = rng.choice(tensor.external_data)
            entry.value = str(rng.choice(INTEGERS[:-1]))
        case 4:
            tensor.raw_data = rng.randbytes(rng.choice((0, 3, 4096)))
        case _:
            graph.initializer.remove(tensor)


def _hurt_about(rng: Random, model: Any) -> None:
    """The graph's metadata, opset, functions, inputs and outputs."""
    match rng.randrange(5):
        case 0 | 1:
            held = next(prop for prop in model.metadata_props if prop.key == KEY)
            try:
                said = json.loads(held.value)
            except ValueError:  # an edit before this one has taken it away
                return
            if rng.random() < 0.4:  # sizes that pydantic takes
                name = rng.choice(("vocab_size", "positions"))
                said[name] = rng.choice((1, 23, 25, 1 << 20, 1 << 26))
                held.value = json.dumps(said)
            elif rng.random() < 0.4:
                said["cache_shapes"] = [[1, rng.choice((7, 9, 1 << 26))]] * rng.choice((1, 2, 4096))
                held.value = json.dumps(said)
            else:
                held.value = (
                    json.dumps(hurt_value(rng, said)) if rng.random() < 0.7 else hurt_json(rng, said).decode("latin1")
                )
        case 2:
            model.opset_import[0].version = rng.choice((1, 22, 24, 99))
        case 3:
            function = model.functions.add()
            function.name, function.domain = "MatMul", ""
        case _:
            value = rng.choice([*model.graph.input, *model.graph.output])
            value.type.tensor_type.elem_type = rng.randrange(20)


def _exports(rng: Random, folder: Path) -> tuple[int, int]:
    """An exported model; what is loaded replays or is refused."""
    for path in _export().iterdir():
        shutil.copy(path, folder / path.name)
    (folder / "secret").write_bytes(bytes(100_000))
    path = folder / GRAPH
    match rng.randrange(10):
        case 9:  # nothing that counts: the tokens must be the same
            model = onnx.load(path, load_external_data=False)
            model.doc_string = model.producer_name = model.graph.name = "x" * rng.choice((1, 100_000))
            rng.choice(model.graph.node).doc_string = "x"
            path.write_bytes(model.SerializeToString())
            if not np.array_equal(_tokens(folder), _tokens(_export())):
                raise Different("other tokens of the same graph")
            return 1, 1
        case 0:
            path.write_bytes(hurt_bytes(rng, path.read_bytes()))
        case 1:
            data = folder / f"{GRAPH}.data"
            data.write_bytes(hurt_bytes(rng, data.read_bytes()))
        case _:
            model = onnx.load(path, load_external_data=False)
            for _ in range(rng.choice((1, 1, 2))):
                hurt: Any = rng.choice((_hurt_node, _hurt_node, _hurt_tensor, _hurt_about))
                hurt(rng, model if hurt is _hurt_about else model.graph)
            path.write_bytes(model.SerializeToString())
    _tokens(folder)
    return 1, 1


def _tokens(folder: Path) -> Any:
    """Generated tokens of an export."""
    loaded: Any = load_onnx_model(folder, threads=1)
    prepared = prepare(_PLAN, loaded)
    tokens = replay(prepared, new_state(prepared, _GIVEN)).tokens
    if not ((tokens >= 0) & (tokens < loaded.vocab_size)).all():
        raise Different(f"tokens {tokens.tolist()}")
    return tokens


@cache
def _begun() -> tuple[Prepared, bytes, Any]:
    """A run, its checkpoint after some steps, and the tokens at its end."""
    prepared = prepare(_PLAN, McAr.random(_CONFIG), sampler=Sample(temperature=1.5), seed=4)
    state = new_state(prepared, _GIVEN)
    replay(prepared, state, cancelled=lambda: prepared.passes[state.done - 1].step == 3)
    path = Path(_KEPT.name) / "state"
    save_checkpoint(prepared, state, path)
    return prepared, path.read_bytes(), replay(prepared, state).tokens


def _checkpoint(rng: Random, folder: Path) -> tuple[int, int]:
    """A replay's state: refused, or the run goes on to the same tokens."""
    prepared, whole, tokens = _begun()
    size = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    match rng.randrange(5):
        case 0:
            whole = hurt_bytes(rng, whole)
        case 1:
            whole = flip_bytes(rng, whole, 1)
        case 2:
            about = json.loads(header["__metadata__"]["diagplan"])
            header["__metadata__"]["diagplan"] = hurt_json(rng, about).decode("latin1")
        case 3:
            about = json.loads(header["__metadata__"]["diagplan"])
            name = rng.choice(("step", "step", *about))
            about[name] = rng.choice((*range(12), "x", None, True, 3.0, *INTEGERS))
            header["__metadata__"]["diagplan"] = json.dumps(about)
        case _:
            header = hurt_value(rng, header)
    if header != json.loads(_begun()[1][8 : 8 + size]):
        text = json.dumps(header).encode()
        whole = struct.pack("<Q", len(text)) + text + body
    path = folder / "state.safetensors"
    path.write_bytes(whole)
    state = load_checkpoint(prepared, path, _GIVEN)
    try:
        again = replay(prepared, state).tokens
    except DiagplanError as error:
        raise Different(f"goes on and fails: {error}") from None
    if not np.array_equal(again, tokens):
        raise Different(f"goes on to other tokens from step {state.done}")
    return 1, 1


exports = Based(_export, _exports)
checkpoint = Based(_begun, _checkpoint)
