"""VQ tokenizers from published layouts: the network written out, transformers' own classes, and files that are none."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diagplan.adapters.vq_decoder import VqTokenizer, file_name, load_vq, open_vq, vq_bytes  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.checkpoints import write_safetensors, write_sparse, write_torch  # noqa: E402
from tests.support.vq import JANUS, LLAMAGEN, TAMING, Network, vq_pixels, vq_tokens, vq_weights  # noqa: E402

NETWORKS = {"llamagen": LLAMAGEN, "janus": JANUS, "taming": TAMING}
TOKENS = np.random.default_rng(0).integers(0, 24, (3, 2, 4))


def loaded(network: Network, folder: Path, **options: Any) -> tuple[VqTokenizer, dict[str, Any]]:
    weights = vq_weights(network)
    return load_vq(write_torch(weights, folder / "vq.pt", **options)), weights


@pytest.mark.parametrize("name", NETWORKS)
def test_pictures_are_those_of_the_network_written_out(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    tokenizer, weights = loaded(network, tmp_path, holder="model")
    assert (tokenizer.codes, tokenizer.factor) == (24, 2 ** (len(network.mults) - 1))
    want = vq_pixels(network, weights, torch.from_numpy(TOKENS))
    codes = tokenizer.model.quantize.embedding.weight[torch.from_numpy(TOKENS)].permute(0, 3, 1, 2)
    with torch.no_grad():
        got = tokenizer.model.decode(codes, force_not_quantize=True).sample
    assert want.std() > 0.2
    torch.testing.assert_close(got, want, atol=2e-5, rtol=0)
    assert (want.abs() > 1).any()  # what is cut off is seen, too
    shade = want.clamp(-1, 1).double().add(1).mul(127.5).add(0.5 if name == "llamagen" else 0)
    made = tokenizer.decode(TOKENS)
    sure = ((shade - shade.round()).abs() > 1e-2) | (want.abs() > 1.001)  # not within rounding of the next
    clear = sure.permute(0, 2, 3, 1).numpy()
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(made[clear], shade.floor().permute(0, 2, 3, 1).byte().numpy()[clear])


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_are_those_of_the_network_written_out(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    tokenizer, weights = loaded(network, tmp_path)
    side = tokenizer.factor
    frames = np.random.default_rng(1).integers(0, 256, (2, 4 * side, 6 * side, 3), dtype=np.uint8)
    tokens = tokenizer.encode(frames)
    assert tokens.shape == (2, 4, 6)
    assert len(np.unique(tokens)) > 5
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    np.testing.assert_array_equal(tokens, vq_tokens(network, weights, pixels).numpy())


def test_normalised_codes_are_looked_up_so(tmp_path: Path) -> None:
    """The same weights, ten times as long: of LlamaGen the same pictures, of taming others."""
    for network, same in ((LLAMAGEN, True), (TAMING, False)):
        tokenizer, weights = loaded(network, tmp_path)
        weights["quantize.embedding.weight"] = 10 * weights["quantize.embedding.weight"]
        longer = load_vq(write_torch(weights, tmp_path / "longer.pt"))
        off = np.abs(tokenizer.decode(TOKENS).astype(int) - longer.decode(TOKENS)).max()
        assert off <= 1 if same else off > 9


def test_many_pictures_are_made_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, _ = loaded(LLAMAGEN, tmp_path)
    whole = tokenizer.decode(TOKENS)
    monkeypatch.setattr("diagplan.adapters.vq_decoder._PIXELS", 1)
    np.testing.assert_array_equal(tokenizer.decode(TOKENS), whole)


@pytest.fixture(scope="module")
def janus() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.JanusVQVAEConfig(
        embed_dim=8, num_embeddings=50, latent_channels=16, base_channels=32, channel_multiplier=[1, 2],
        num_res_blocks=1, projection_dim=32, image_token_embed_dim=32, num_patches=6,
    )  # fmt: skip
    torch.manual_seed(0)
    from transformers.models.janus.modeling_janus import JanusVQVAE

    model: Any = JanusVQVAE(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(0, 0.15)
    return model


def llamagen_names(weights: dict[str, Any]) -> dict[str, Any]:
    """Janus' weights of transformers under LlamaGen's names, as the two repositories correspond."""
    renames = (("encoder.down.", "encoder.conv_blocks."), ("decoder.up.", "decoder.conv_blocks."), (".block.", ".res."),
               (".mid.block_1.", ".mid.0."), (".mid.attn_1.", ".mid.1."), (".mid.block_2.", ".mid.2."))  # fmt: skip
    renamed = {}
    for name, weight in weights.items():
        for theirs, ours in renames:
            name = name.replace(theirs, ours)
        renamed[name] = weight
    return renamed


@pytest.mark.parametrize("names", ["janus", "llamagen", "gen_vision_model"])
def test_pictures_are_those_of_transformers(names: str, janus: Any, tmp_path: Path) -> None:
    weights = dict(janus.state_dict())
    if names != "janus":
        weights = llamagen_names(weights)
    if names == "gen_vision_model":  # Janus' own file, the language model beside it
        weights = {f"gen_vision_model.{name}": weight for name, weight in weights.items()}
        weights["language_model.model.norm.weight"] = torch.ones(4)
    tokenizer = load_vq(write_safetensors(weights, tmp_path / "model.safetensors"))
    tokens = torch.from_numpy(np.random.default_rng(2).integers(0, 50, (2, 6, 6)))
    with torch.no_grad():
        want = janus.decode(tokens.flatten(1))
        codes = tokenizer.model.quantize.embedding.weight[tokens].permute(0, 3, 1, 2)
        got = tokenizer.model.decode(codes, force_not_quantize=True).sample
    assert want.std() > 0.2
    torch.testing.assert_close(got, want, atol=2e-5, rtol=0)
    half = 0.5 if names == "llamagen" else 0.0  # Janus cuts pixels off, LlamaGen rounds them
    shade = (got.clamp(-1, 1) + 1) * 127.5 + half
    off = np.abs(tokenizer.decode(tokens.numpy()) - shade.permute(0, 2, 3, 1).numpy())
    assert (off < 1.001).all()
    if names != "llamagen":
        assert (tokenizer.decode(tokens.numpy()) <= shade.permute(0, 2, 3, 1).numpy() + 1e-3).all()


def test_tokens_are_those_of_chameleon_in_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.chameleon.modeling_chameleon import ChameleonVQVAE

    config = transformers.ChameleonVQVAEConfig(
        embed_dim=6, num_embeddings=24, latent_channels=8, resolution=16, base_channels=32,
        channel_multiplier=[1, 1, 2], num_res_blocks=2,
    )  # fmt: skip
    weights = vq_weights(TAMING, seed=3)
    weights["quantize.embedding.weight"] *= 0.3  # else a few long codes lie nearest to everything
    theirs: Any = ChameleonVQVAE(config)
    left = theirs.load_state_dict(weights, strict=False)
    assert not left.missing_keys
    assert all(name.startswith("decoder.") for name in left.unexpected_keys)
    tokenizer = load_vq(write_torch(weights, tmp_path / "vqgan.ckpt"))
    frames = np.random.default_rng(4).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        want = theirs.encode(pixels).image_tokens.view(2, 4, 6)
    assert len(want.unique()) > 5
    np.testing.assert_array_equal(tokenizer.encode(frames), want.numpy())


def test_what_training_leaves_beside_the_tensors_is_left_alone(tmp_path: Path) -> None:
    """Lightning's and LlamaGen's checkpoints: a loss, a count of used codes, arguments of a run as an object."""
    weights = vq_weights(TAMING) | {"loss.discriminator.main.0.weight": torch.ones(2)}
    torch.save({"state_dict": weights, "args": argparse.Namespace(lr=1), "epoch": 3}, tmp_path / "vqgan.ckpt")
    assert load_vq(tmp_path / "vqgan.ckpt").codes == 24
    weights = vq_weights(LLAMAGEN) | {"quantize.codebook_used": torch.zeros(65536)}
    torch.save({"model": weights, "args": argparse.Namespace(lr=1)}, tmp_path / "vq_ds16_c2i.pt")
    assert load_vq(tmp_path / "vq_ds16_c2i.pt").codes == 24


def test_bytes_are_those_of_the_weights(tmp_path: Path) -> None:
    weights = vq_weights(LLAMAGEN)
    half = {name: weight.half() for name, weight in weights.items()}
    path = write_safetensors(half, tmp_path / "vq.safetensors")
    assert vq_bytes(path) == 4 * sum(weight.numel() for weight in weights.values())
    model = load_vq(path).model
    assert vq_bytes(path) == sum(tensor.nbytes for tensor in model.state_dict().values())


@pytest.mark.parametrize(
    ("sizes", "codes", "width", "parameters"),
    [((1, 1, 2, 2, 4), 16384, 8, 71_883_403), ((1, 2, 2, 4), 16384, 8, None)],
    ids=["ds16", "ds8"],
)
def test_released_sizes_fit(sizes: Any, codes: int, width: int, parameters: int | None, tmp_path: Path) -> None:
    """From headers alone; the file takes no room."""
    network = Network(layout="llamagen", codes=codes, width=width, latent=256, base=128, mults=sizes, blocks=2)
    shapes = {name: tuple(weight.shape) for name, weight in vq_weights(network, seed=None).items()}
    file = open_vq(write_sparse(shapes, tmp_path / "vq.safetensors"))
    assert file.config["block_out_channels"] == tuple(128 * mult for mult in sizes)
    assert file.layout == "llamagen"
    if parameters:
        assert vq_bytes(file.checkpoint.path) == 4 * parameters


def test_files_that_are_none(tmp_path: Path) -> None:
    weights = vq_weights(TAMING)
    with pytest.raises(DocumentError, match=r"expected a VQ tokenizer of LlamaGen, Janus or taming.* with a, b\."):
        load_vq(write_torch({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "other.pt"))
    encoder = {name: weight for name, weight in weights.items() if not name.startswith("decoder.")}
    with pytest.raises(DocumentError, match=r"It has the encoder alone.*Give tokenizer/vqgan\.ckpt"):
        load_vq(write_torch(encoder, tmp_path / "encoder.pt"))
    short = {name: weight for name, weight in weights.items() if name != "decoder.up.1.block.2.conv1.bias"}
    with pytest.raises(DocumentError, match=r"1 missing: decoder\.up\.1\.block\.2\.conv1\.bias"):
        load_vq(write_torch(short, tmp_path / "short.pt"))
    with pytest.raises(DocumentError, match="1 unexpected: extra"):
        load_vq(write_torch(weights | {"extra": torch.ones(1)}, tmp_path / "more.pt"))
    with pytest.raises(DocumentError, match=r"got NaN or infinite ones in post_quant_conv\.bias"):
        load_vq(write_torch(weights | {"post_quant_conv.bias": torch.full((8,), np.nan)}, tmp_path / "nan.pt"))
    with pytest.raises(DocumentError, match="cannot read"):
        load_vq(tmp_path / "nothing.pt")
    flat = weights | {"post_quant_conv.weight": torch.ones(())}
    with pytest.raises(DocumentError, match="a post_quant_conv and a codebook, got"):
        load_vq(write_torch(flat, tmp_path / "flat.pt"))


@pytest.mark.parametrize("shape", [(0, 3, 3, 3), (3, 3), (1 << 40, 3, 3, 3), (1 << 20, 3, 3, 3), (33, 32, 3, 3)])
def test_sizes_that_no_network_has(shape: tuple[int, ...], tmp_path: Path) -> None:
    shapes = {name: tuple(weight.shape) for name, weight in vq_weights(LLAMAGEN, seed=None).items()}
    tensors = {name: torch.zeros(1).expand(size) for name, size in shapes.items()}
    tensors["encoder.conv_blocks.0.res.0.conv1.weight"] = torch.zeros(1).expand(shape)
    torch.save(tensors, tmp_path / "vq.pt")
    with pytest.raises(DocumentError):
        open_vq(tmp_path / "vq.pt")


def test_names_in_files() -> None:
    shortcut = "decoder.up_blocks.1.resnets.0.conv_shortcut.weight"
    assert file_name(shortcut, "llamagen", 3) == "decoder.conv_blocks.1.res.0.nin_shortcut.weight"
    assert file_name(shortcut, "janus", 3) == "decoder.up.1.block.0.nin_shortcut.weight"
    assert file_name(shortcut, "taming", 3) == "decoder.up.1.block.0.nin_shortcut.weight"
    assert file_name("decoder.up_blocks.0.upsamplers.0.conv.bias", "taming", 3) == "decoder.up.2.upsample.conv.bias"
    middle = "encoder.mid_block.attentions.0.to_out.0.weight"
    assert file_name(middle, "llamagen", 3) == "encoder.mid.1.proj_out.weight"
    assert file_name(middle, "taming", 3) == "encoder.mid.attn_1.proj_out.weight"
