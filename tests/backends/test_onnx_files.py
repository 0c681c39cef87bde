"""Exported folders that are missing, broken, changed or hostile: one clear error each, and nothing runs."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan import Diagonal, Layout, compile_plan, load_model  # noqa: E402
from diagplan.adapters.contract import AllowedIds  # noqa: E402
from diagplan.backends import onnx_runtime  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.onnx_runtime import GRAPH, load_onnx_model  # noqa: E402
from diagplan.backends.onnx_tokenizer import load_onnx_tokenizer  # noqa: E402
from diagplan.backends.replay import prepare  # noqa: E402
from diagplan.planner.errors import DiagplanError, DocumentError, SpecError  # noqa: E402
from tests.support.exported import exported_folder, exported_model  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import LAYOUT  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(exported_folder(), tmp_path / "model"))


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    model = onnx.load(folder / GRAPH, load_external_data=False)
    change(model)
    onnx.save(model, folder / GRAPH)


def say(folder: Path, **values: Any) -> None:
    """Change what the metadata say."""

    def change(model: Any) -> None:
        (prop,) = (prop for prop in model.metadata_props if prop.key == "diagplan")
        prop.value = json.dumps(json.loads(prop.value) | values)

    edit(folder, change)


def add_node(domain: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.graph.node.append(onnx.helper.make_node("Run", ["ids"], ["x"], domain=domain))
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))

    return change


def inside_if(model: Any) -> None:
    """A custom operator in a branch."""
    branch = onnx.helper.make_graph([onnx.helper.make_node("Run", [], ["y"], domain="evil")], "branch", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["mask"], ["x"], then_branch=branch, else_branch=branch))


def endless_loop(model: Any) -> None:
    """A loop of 2^62 turns over the model's own input."""
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["go"], ["again"])],
        "body",
        [
            onnx.helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, []),
            onnx.helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
        ],
        [onnx.helper.make_tensor_value_info("again", onnx.TensorProto.BOOL, [])],
    )
    turns = onnx.helper.make_tensor("turns", onnx.TensorProto.INT64, [], [1 << 62])
    model.graph.initializer.append(turns)
    model.graph.node.append(onnx.helper.make_node("Loop", ["turns", ""], [], body=body))


def standard(kind: str, **attributes: Any) -> Callable[[Any], None]:
    """An operator of the standard's that no export has."""
    return lambda model: model.graph.node.append(onnx.helper.make_node(kind, ["ids"], ["x"], **attributes))


def sparse_weights(model: Any) -> None:
    values = onnx.helper.make_tensor("v", onnx.TensorProto.FLOAT, [1], [1.0])
    where = onnx.helper.make_tensor("w", onnx.TensorProto.INT64, [1], [0])
    sparse = onnx.helper.make_sparse_tensor(values, where, [1 << 40])
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["x"], sparse_value=sparse))


def other_place(place: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = next(t for t in model.graph.initializer if t.external_data)
        next(entry for entry in tensor.external_data if entry.key == "location").value = place

    return change


def other_opset(model: Any) -> None:
    model.opset_import[0].version = 17


def wild_number(model: Any) -> None:
    """ONNX Runtime ends the process at this one."""
    node = next(node for node in model.graph.node if node.op_type == "Transpose")
    node.attribute[0].ints.append(-(1 << 31))


def without_metadata(model: Any) -> None:
    del model.metadata_props[:]


def with_function(model: Any) -> None:
    model.functions.add().name = "own"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_node("evil.ops"), "operators of the ONNX standard only .* got some of evil.ops"),
        (add_node("com.microsoft"), "operators of the ONNX standard only .* got some of com.microsoft"),
        (inside_if, "operators of the ONNX standard only .* got some of evil"),
        (endless_loop, "a graph without loops and branches in .*, got Loop"),
        (standard("NonZero"), "operators that exports are made of in .*, got NonZero. docs/onnx.md has the list"),
        (standard("Bernoulli"), "operators that exports are made of in .*, got Bernoulli"),
        (standard("Evil\x1b[2J\n"), r"operators that exports are made of in .*, got Evil\?\[2J\?\. docs"),
        (sparse_weights, "operators of the ONNX standard only .* got some of its own"),
        (with_function, "operators of the ONNX standard only .* got some of its own"),
        (other_place("../../secret"), r"expected weights in model.onnx.data only, got '../../secret'"),
        (other_place("/etc/passwd"), "expected weights in model.onnx.data only, got '/etc/passwd'"),
        (wild_number, "expected perm from 0 to 64 in .*, got another number at Transpose"),
        (other_opset, "expected opset 23 or 24 in .*, got 17"),
        (without_metadata, "expected a model of diagplan export-onnx in .*, got one without its metadata"),
    ],
    ids=[
        "domain",
        "contrib",
        "branch",
        "loop",
        "data",
        "random",
        "unprintable",
        "sparse",
        "function",
        "outside",
        "absolute",
        "number",
        "opset",
        "no-metadata",
    ],
)
def test_graphs_that_are_refused(
    folder: Path, change: Callable[[Any], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(folder, change)
    monkeypatch.setattr(onnx_runtime, "open_session", lambda *_, **__: pytest.fail("ONNX Runtime has seen it"))
    with pytest.raises(DocumentError, match=words):
        load_onnx_model(folder)


def test_an_operator_whose_name_is_no_text(folder: Path) -> None:
    content = (folder / GRAPH).read_bytes()
    (folder / GRAPH).write_bytes(content.replace(b"\x06MatMul", b"\x06MatM\xffl", 1))
    with pytest.raises(DocumentError, match=r"^expected operators that exports are made of in .*, got b"):
        load_onnx_model(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": 2}, "version: Input should be 1"),
        ({"plan_version": 9}, "the top: Value error, plan documents are of version 1"),
        ({"vocabulary": [{"low": 4000, "high": 5000}]}, "allowed ids must be ranges within the vocabulary"),
        ({"vocabulary": [{"low": 3, "high": 3}]}, "allowed ids must be ranges within the vocabulary"),
        ({"opset": 24}, "expected opset 24 in .*, as its metadata say, got 23"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"cache_shapes": []}, "cache_shapes: "),
        ({"dtype": "int3"}, "dtype: "),
        ({"weights_sha256": "0" * 64}, "expected the weights of .*model.onnx in .*model.onnx.data, got others"),
        ({"weights_bytes": 7}, "expected 7 bytes of weights"),
        # What the graph contradicts:
        ({"cache_shapes": [[2, 16]]}, "expected past_1 as no part of .*model.onnx, got .*float"),
        ({"cache_shapes": [[1, 4]] * 4}, "expected past_0 as .*Graph and metadata differ"),
        ({"cache_shapes": [[1 << 26, 1 << 26]] * 4}, "expected past_0 as .*Graph and metadata differ"),
        ({"vocab_size": 1000}, "expected logits as .*Graph and metadata differ"),
        ({"dtype": "float16"}, "expected past_0 as .*Graph and metadata differ"),
        ({"positions": 100_000}, "expected ONNX Runtime to run the exported graph, got an error"),
    ],
    ids=str,
)
def test_metadata_that_are_refused(folder: Path, values: dict[str, Any], words: str) -> None:
    say(folder, **values)
    with pytest.raises(DiagplanError, match=words):
        load_onnx_model(folder)


def test_metadata_that_are_no_json(folder: Path) -> None:
    def change(model: Any) -> None:
        model.metadata_props[0].value = "{" * 10_000

    edit(folder, change)
    with pytest.raises(DocumentError, match="expected the metadata of an exported model"):
        load_onnx_model(folder)


def test_files_that_are_missing_or_cut_off(folder: Path, tmp_path: Path) -> None:
    graph, data = folder / GRAPH, folder / f"{GRAPH}.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    with pytest.raises(DocumentError, match=rf"expected {len(whole)} bytes of weights in .*, got {len(whole) - 1}"):
        load_onnx_model(folder)
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DocumentError, match=r"expected the weights of .*, got others"):
        load_onnx_model(folder)
    data.unlink()
    with pytest.raises(DocumentError, match=r"cannot read the weights .*: No such file"):
        load_onnx_model(folder)
    data.write_bytes(whole)
    for size in (0, 10, len(graph.read_bytes()) // 2):
        graph.write_bytes((exported_folder() / GRAPH).read_bytes()[:size])
        with pytest.raises(DocumentError, match=r"expected (an ONNX graph in|opset 23 or 24)"):
            load_onnx_model(folder)
    graph.unlink()
    with pytest.raises(DocumentError, match=r"expected model.onnx of an exported model in .*, got none"):
        load_onnx_model(folder)
    with pytest.raises(DocumentError, match=r"expected encoder.onnx of an exported model"):
        load_onnx_tokenizer(tmp_path)


def test_models_that_do_not_belong(folder: Path) -> None:
    say(folder, family="cosmos")
    with pytest.raises(MismatchError, match="expected an exported model of the adapter mc-ar, got one of cosmos"):
        load_model("mc-ar", folder, backend="onnx")
    long = compile_plan(Layout(frames=40, rows=4, cols=6, prompt_frames=1, between_frames=3), Diagonal(k=2))
    with pytest.raises(MismatchError, match=r"expected a plan of at most .* positions for this mc-ar model"):
        prepare(long, exported_model())
    with pytest.raises(SpecError, match="expected no config, dtype, quantize, portable or context with backend='onnx'"):
        load_model("mc-ar", folder, backend="onnx", dtype="bfloat16")


def test_cells_that_no_id_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    model = golden_model()
    model.vocabulary = (AllowedIds(low=0, high=5, rows=(0, 1)),)
    with pytest.raises(MismatchError, match="expected ids that each cell may take, got none for some"):
        prepare(compile_plan(LAYOUT, Diagonal(k=2)), model)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    from diagplan.backends.onnx_files import written_whole

    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            folder.mkdir()
            (folder / "kept").touch()
        with pytest.raises(DocumentError), written_whole(folder) as made:
            (made / GRAPH / "below").write_text("no folder")
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["kept"]


def test_what_a_killed_export_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    from diagplan.backends.onnx_files import written_whole

    left = tmp_path / ".diagplan-0123456789ab-1-1-0123456789ab.tmp"
    left.mkdir()
    os.utime(left, (0, 0))
    with written_whole(tmp_path) as made:
        (made / GRAPH).write_bytes(b"graph")
        assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == [GRAPH]
