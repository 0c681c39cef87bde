"""WHAM's files: every form gives the golden logits; what a file does not tell is asked for; conversion; refusals."""

import contextlib
import json
import os
import pickle
import re
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.lightning import open_lightning  # noqa: E402
from diagplan.adapters.pickles import Record, field  # noqa: E402
from diagplan.adapters.wham import CONFIGS  # noqa: E402
from diagplan.adapters.wham_convert import convert_wham  # noqa: E402
from diagplan.adapters.wham_files import load_wham, open_wham, wham_config_for  # noqa: E402
from diagplan.adapters.wham_tokenizer import load_wham_tokenizer  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_folder, write_safetensors, write_sparse, write_torch  # noqa: E402
from tests.support.wham import CONFIG, DATA, FRAMES, TOKENS, causal_logits  # noqa: E402
from tests.support.wham_files import LEFT_OVER, WEIGHTS, write_lightning  # noqa: E402

PREFIX = "predictor.gpt_model."


def plain_names() -> dict[str, Any]:
    return {name.removeprefix(PREFIX): value for name, value in WEIGHTS.items() if name.startswith(PREFIX)}


# Every form


@pytest.mark.parametrize(
    "form", ["lightning", "state dict", "model", "safetensors", "one folder", "shards", "one matrix"]
)
def test_golden_logits_from_every_form(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    match form:
        case "lightning":
            write_lightning(path, monkeypatch)
        case "state dict":
            write_torch(plain_names(), path, holder=None)
        case "model":
            write_torch(WEIGHTS, path, holder="model")
        case "safetensors":
            write_safetensors(WEIGHTS | LEFT_OVER, path)
        case "one matrix":
            write_safetensors({name: w for name, w in WEIGHTS.items() if not name.endswith("wte.weight")}, path)
        case _:
            write_folder(WEIGHTS, path, shards=1 if form == "one folder" else 3)
    model = load_wham(path, config=CONFIG)
    np.testing.assert_allclose(causal_logits(model, DATA["ids"]), DATA["logits"], atol=2e-5, rtol=0)


def test_a_lightning_file_tells_what_tensors_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lightning(tmp_path / "w.ckpt", monkeypatch)
    assert "humanmodelling" not in sys.modules
    file = open_lightning(path)
    assert file.checkpoint.kind == "lightning"
    for name, tensor in WEIGHTS.items():
        assert file.checkpoint.read(name).equal(tensor), name
    args = field(file.hyper_parameters, "predictor_args")
    assert isinstance(args, Record)
    assert args.name == "humanmodelling.CreationArgs"
    assert field(field(args, "pl_class"), "anything") is None
    assert field(field(field(args, "pl_kwargs"), "model_spec"), "model_size") == "chinchilla-251M"
    _, notes = open_wham(path)
    assert (notes.n_head, notes.grid, notes.head_size) == (16, (3, 4), 16)
    tokenizer = load_wham_tokenizer(path)
    np.testing.assert_array_equal(tokenizer.encode(FRAMES), TOKENS)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_published_sizes_are_told_by_the_tensors(name: str, version: Any, bias: bool, tmp_path: Path) -> None:
    want = replace(CONFIGS[name], nanogpt_version=version, bias=bias)
    shapes = {PREFIX + key: shape for key, shape in want.shapes().items()}
    tokenizer = {"vq_vae._embedding.weight": (16384, 32), "encoder.pos_embeds.weight": (540, 1024)}
    for more in ({}, {f"context_encoders.images.{key}": shape for key, shape in tokenizer.items()}):
        checkpoint, notes = open_wham(write_sparse(shapes | more, tmp_path / "w"))
        assert wham_config_for(checkpoint, notes) == want
        assert wham_config_for(checkpoint, notes, name) == want


# What does not fit


def test_sizes_that_a_file_does_not_tell(tmp_path: Path) -> None:
    path = write_safetensors(WEIGHTS, tmp_path / "w")
    with pytest.raises(SpecError, match=re.escape("got 2 layers of width 64") + ".*Give a WhamConfig as config"):
        load_wham(path)
    with pytest.raises(SpecError, match=r"expected config to be one of wham-200m, wham-1\.6b, or a WhamConfig"):
        load_wham(path, config="wham-7b")
    shapes = {PREFIX + key: shape for key, shape in replace(CONFIGS["wham-200m"], rows=17).shapes().items()}
    with pytest.raises(SpecError, match=re.escape("expected 18 x 30 image tokens and 16 action tokens a frame")):
        load_wham(write_sparse(shapes, tmp_path / "other"))


def test_tensors_of_another_config(tmp_path: Path) -> None:
    lacking = {name: w for name, w in WEIGHTS.items() if not name.endswith("h.1.mlp.c_proj.bias")}
    path = write_safetensors(lacking | {f"{PREFIX}transformer.extra": torch.zeros(2)}, tmp_path / "w")
    said = (
        f"expected the 29 tensors of the config, got {path} with 1 missing: {PREFIX}transformer.h.1.mlp.c_proj.bias; "
        f"1 unexpected: {PREFIX}transformer.extra. Weights and config must belong together."
    )
    with pytest.raises(DocumentError, match=f"^{re.escape(said)}.*microsoft/wham on Hugging Face") as caught:
        load_wham(path, config=CONFIG)
    assert "\n" not in str(caught.value)
    with pytest.raises(DocumentError, match=r"ln_1.weight.*microsoft/wham"):
        load_wham(path, config=replace(CONFIG, nanogpt_version=2))
    with pytest.raises(DocumentError, match="expected n_layer=2000000 layers"):
        load_wham(path, config=replace(CONFIG, n_layer=2_000_000))


def test_a_head_that_is_not_the_embedding(tmp_path: Path) -> None:
    other = WEIGHTS | {f"{PREFIX}transformer.wte.weight": WEIGHTS[f"{PREFIX}lm_head.weight"] + 1}
    path = write_safetensors(other, tmp_path / "w")
    with pytest.raises(DocumentError, match=r"expected predictor.gpt_model.transformer.wte.weight equal to"):
        load_wham(path, config=CONFIG)


def test_what_is_no_wham(tmp_path: Path) -> None:
    path = write_safetensors({"x": torch.zeros(2)}, tmp_path / "w")
    with pytest.raises(DocumentError, match=r"expected the transformer of a WHAM .*microsoft/wham on Hugging Face"):
        load_wham(path)
    for nothing in (tmp_path / "none", Path("a\0b")):
        with pytest.raises(DocumentError, match=r"where no file is\. Its publisher is microsoft/wham on Hugging Face"):
            load_wham(nothing)
    with pytest.raises(SpecError, match="expected a device of this machine"):
        load_wham(path, device="toaster")
    with pytest.raises(SpecError, match="expected dtype to be one of"):
        load_wham(path, dtype="int8")  # type: ignore[arg-type]


# Hostile files


class Malicious:
    """Unpickled by a reader that runs code, it leaves a file behind."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.args


class MaliciousState:
    """The same by the state that is set, for readers that look at REDUCE only."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (), None, None, iter([(Malicious(os.mkdir, str(self.witness)), 1)])


@pytest.mark.parametrize("place", ["hyper_parameters", "state_dict", "callbacks", "key", "called"])
def test_nothing_is_executed(place: str, tmp_path: Path) -> None:
    """Whatever a pickle asks to be called, is not, and the tensors beside it are read."""
    witness, path = tmp_path / "witness", tmp_path / "w.ckpt"
    evil: Any = Malicious(os.system, f"touch {witness}")
    held: dict[str, Any] = {"state_dict": dict(WEIGHTS), "hyper_parameters": {}, "callbacks": {}}
    match place:
        case "state_dict":
            held["state_dict"]["context_encoders.evil"] = evil
        case "key":
            held["callbacks"] = [MaliciousState(witness)]
        case "called":
            held["callbacks"] = [Malicious(eval, f"open({str(witness)!r}, 'w').close()"), Malicious(exec, "1/0")]
        case _:
            held[place]["x"] = evil
    torch.save(held, path)
    model = load_wham(path, config=CONFIG)
    np.testing.assert_allclose(causal_logits(model, DATA["ids"]), DATA["logits"], atol=2e-5, rtol=0)
    assert not witness.exists()
    # The trap works: an ordinary unpickler does run it.
    with pytest.raises(ZeroDivisionError) if place == "called" else contextlib.nullcontext():
        torch.load(path, weights_only=False)
    assert witness.exists()


def rewrite(source: Path, target: Path, change: Any) -> Path:
    """A copy of a torch file with its entries changed: ``change(name, data) -> data`` or ``None``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = change(entry.filename.partition("/")[2], old.read(entry))
            if data is not None:
                new.writestr(entry.filename, data)
    return target


def opcodes(*parts: bytes) -> bytes:
    """A pickle of a dict whose state_dict is what the opcodes leave on the stack."""
    return b"\x80\x02}X\x0a\x00\x00\x00state_dict" + b"".join(parts) + b"s."


GLOBAL_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.mark.parametrize(
    "pickled",
    [
        opcodes(b"\x82\x01"),  # an extension code
        opcodes(b"r\xff\xff\xff\xff"),  # a memo index for which the C reader would take 64 GB
        opcodes(GLOBAL_TENSOR, b")R"),  # a tensor of nothing
        opcodes(GLOBAL_TENSOR, b"}b"),  # state set on a function
        opcodes(b"cposix\nsystem\nX\x02\x00\x00\x00id\x85R"),
        opcodes(b"(X\x02\x00\x00\x00idiposix\nsystem\n"),
        opcodes(b"(cposix\nsystem\nX\x02\x00\x00\x00ido"),
        opcodes(b"ccollections\nOrderedDict\nK\x01\x85R"),
        opcodes(b"X\x01\x00\x00\x00aQ"),  # a persistent id that is none
        opcodes(b"\x96\xff\xff\xff\xff\xff\xff\xff\x0f"),  # a byte array of an exabyte
        opcodes(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"),  # a text of eight exabytes
        opcodes(b"})", b"\x85" * 1_000_000, b"Ns"),  # a key a million tuples deep: hashing it takes the C stack
        opcodes(b"})", b"2\x86" * 60, b"Ns"),  # a key of 2^60 parts: hashing it never ends
        opcodes(b"})", b"2\x86" * 60, b"Q"),  # the same as the name of a storage
        opcodes(b"](})", b"\x85" * 1_000_000, b"Nue"),
        opcodes(b"]K\x01Ns"),  # an item of a list
        b"\x80\x02N.",
        b"\x80\x09.",
        b".",
        b"",
        b"garbage",
    ],
)
def test_hostile_pickles_are_one_line(pickled: bytes, tmp_path: Path) -> None:
    source = write_torch({"w": torch.zeros(3)}, tmp_path / "w.ckpt")
    path = rewrite(source, tmp_path / "h.ckpt", lambda name, data: pickled if name == "data.pkl" else data)
    with pytest.raises(DocumentError) as caught:
        open_lightning(path)
    assert "\n" not in str(caught.value)
    assert "expected a Lightning checkpoint" in str(caught.value)


@pytest.mark.parametrize(
    "tensor",
    [
        {"offset": 1}, {"offset": -1}, {"size": (4, 4)}, {"size": (-1, 3)}, {"size": (12,)}, {"stride": (4, 1)},
        {"stride": (0, 0), "size": (10**9, 10**9)}, {"size": (2**62, 2**62), "stride": (0, 1)}, {"offset": True},
        {"numel": 10**12}, {"numel": -1}, {"kind": "nothing"}, {"key": "7"}, {"dtype": "QUInt8Storage"}, {"size": "ab"},
    ],
    ids=str,
)  # fmt: skip
def test_tensors_outside_their_bytes(tensor: dict[str, Any], tmp_path: Path) -> None:
    """A storage of 12 numbers, described wrongly."""
    said: dict[str, Any] = {
        "offset": 0,
        "size": (4, 3),
        "stride": (3, 1),
        "numel": 12,
        "kind": "storage",
        "key": "0",
    } | tensor
    dtype = said.get("dtype", "FloatStorage")
    body = pickle.dumps((said["kind"],), 2)[2:-1]  # a tuple, without protocol and end
    parts = [GLOBAL_TENSOR, b"((", body[body.index(b"X") : body.index(b"X") + 5 + len(said["kind"])]]
    parts += [f"ctorch\n{dtype}\n".encode()]
    parts += [pickle.dumps(value, 2)[2:-1] for value in (said["key"], "cpu", said["numel"])]
    parts += [b"tQ", *(pickle.dumps(said[name], 2)[2:-1] for name in ("offset", "size", "stride")), b"tR"]
    good = opcodes(b"}X\x01\x00\x00\x00w", *parts, b"s")
    source = write_torch({"w": torch.arange(12.0).view(4, 3)}, tmp_path / "w.ckpt")
    path = rewrite(source, tmp_path / "h.ckpt", lambda name, data: good if name == "data.pkl" else data)
    with pytest.raises(DocumentError, match="expected a Lightning checkpoint"):
        open_lightning(path)


@pytest.mark.parametrize(
    ("module", "name"), [("posix", "uint16"), ("posix", "chosen"), ("torch", "chosen"), ("torch", "nn"), ("torch", "d")]
)
def test_a_dtype_is_looked_up_in_a_table(
    module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch imports submodules when it is asked for a name that it lacks."""
    asked: list[str] = []

    def ask(name: str) -> Any:
        asked.append(name)
        raise AttributeError(name)

    source = write_torch({"w": torch.zeros(3, dtype=torch.uint16)}, tmp_path / "w.ckpt")
    named = f"c{module}\n{name}\n".encode()
    path = rewrite(source, tmp_path / "h.ckpt", lambda _, data: data.replace(b"ctorch\nuint16\n", named))
    assert path.read_bytes().count(named) == 1
    monkeypatch.setattr(torch, "__getattr__", ask)
    with pytest.raises(DocumentError, match="a tensor of no dtype that is known"):
        open_lightning(path)
    assert asked == []


def test_files_of_another_kind(tmp_path: Path) -> None:
    source = write_torch({"w": torch.zeros(3)}, tmp_path / "w.ckpt")
    assert open_lightning(source).checkpoint.read("w").equal(torch.zeros(3))
    for name, change in {
        "big-endian": lambda name, data: b"big" if name == "byteorder" else data,
        "no pickle": lambda name, data: None if name == "data.pkl" else data,
        "no storage": lambda name, data: None if name.startswith("data/") else data,
        "short storage": lambda name, data: data[:-1] if name.startswith("data/") else data,
    }.items():
        with pytest.raises(DocumentError, match="expected a Lightning checkpoint"):
            open_lightning(rewrite(source, tmp_path / f"{name}.ckpt", change))
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(tmp_path / "z.ckpt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in old.infolist():
            packed.writestr(entry.filename, old.read(entry))
    with pytest.raises(DocumentError, match="a compressed entry"):
        open_lightning(tmp_path / "z.ckpt")


@given(data=st.data())
def test_damage_is_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "wham-damage"
    if not folder.exists():
        folder.mkdir()
        some = {name: w for name, w in WEIGHTS.items() if "h.0" in name or "wpe" in name}
        with pytest.MonkeyPatch.context() as patch:
            write_lightning(folder / "w", patch, some)
    whole = bytearray((folder / "w").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (folder / "damaged").write_bytes(whole)
    try:
        checkpoint = open_lightning(folder / "damaged").checkpoint
        for name, header in checkpoint.headers.items():
            if not header.dtype.endswith("no tensor"):
                assert tuple(checkpoint.read(name).shape) == header.shape
    except DocumentError as error:
        assert "\n" not in str(error)  # noqa: PT017


# Conversion


def test_a_converted_file_needs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_lightning(tmp_path / "w.ckpt", monkeypatch, _one_model())
    target = tmp_path / "w.safetensors"
    seen: list[tuple[int, int]] = []
    done = convert_wham(source, target, config=TOGETHER, on_tensor=lambda i, n: seen.append((i, n)))
    kept = {name for name in _one_model() if "attn_mask" not in name and name not in LEFT_OVER}
    assert (done.tensors, done.left_out) == (len(kept), 2 + 4)
    assert seen == [(i + 1, len(kept)) for i in range(len(kept))]
    assert (done.bytes_read, done.bytes_written) == (source.stat().st_size, target.stat().st_size)
    from safetensors.torch import load_file

    written = load_file(target)
    assert set(written) == kept
    assert all(written[name].equal(_one_model()[name]) for name in kept)
    model, before = load_wham(target), load_wham(source, config=TOGETHER)
    assert model.config == TOGETHER
    np.testing.assert_array_equal(causal_logits(model, DATA["ids"]), causal_logits(before, DATA["ids"]))
    np.testing.assert_array_equal(load_wham_tokenizer(target).encode(FRAMES), TOKENS)
    again = convert_wham(target, tmp_path / "again")
    assert (again.tensors, again.left_out) == (len(kept), 0)
    assert (tmp_path / "again").read_bytes() == target.read_bytes()


#: One model whose transformer and tokenizer have the same codes.
TOGETHER = replace(CONFIG, image_codes=64)


def _one_model() -> dict[str, Any]:
    vocab = TOGETHER.vocab_size
    head = torch.randn(vocab, 64, generator=torch.Generator().manual_seed(0))
    matrices = {f"{PREFIX}{name}": head.clone() for name in ("lm_head.weight", "transformer.wte.weight")}
    return {name: w for name, w in WEIGHTS.items() if name not in matrices} | matrices | LEFT_OVER


def test_conversion_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_lightning(tmp_path / "w.ckpt", monkeypatch, _one_model())
    target = tmp_path / "out" / "w.safetensors"
    with pytest.raises(DocumentError, match=r"expected to write a file, got path=.*No such file or directory"):
        convert_wham(source, target, config=TOGETHER)
    target.parent.mkdir()
    target.write_text("before")

    def stop(number: int, of: int) -> None:
        if number == of - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_wham(source, target, config=TOGETHER, on_tensor=stop)
    assert target.read_text() == "before"
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(SpecError, match="expected another file to write than"):
        convert_wham(source, tmp_path / "out" / ".." / "w.ckpt", config=TOGETHER)
    lacking = {name: w for name, w in _one_model().items() if "decoder" not in name}
    with pytest.raises(DocumentError, match=r"missing: decoder.*microsoft/wham"):
        convert_wham(write_safetensors(lacking, tmp_path / "l"), target, config=TOGETHER, head_size=16)


@pytest.mark.parametrize("change", [{"format": "x"}, {"config": {}}, {"config": 3}, {"head_size": []}, None])
def test_notes_that_are_none(change: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from diagplan.adapters.wham_files import NOTES_KEY, notes_text

    text = json.dumps(json.loads(notes_text(CONFIG, 16)) | change) if change is not None else "["
    save_file({"x": torch.zeros(1)}, tmp_path / "w", metadata={NOTES_KEY: text})
    if change == {"head_size": []}:
        assert open_wham(tmp_path / "w")[1].head_size is None
        return
    with pytest.raises(DocumentError, match="expected notes of `diagplan convert-weights`"):
        open_wham(tmp_path / "w")
