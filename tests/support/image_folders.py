"""Tiny folders of image models, as a hub has them: random weights of transformers' own classes, and a tokenizer."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

__all__ = [
    "CHAMELEON", "CODES", "EMU3", "GLM", "JANUS", "MAKERS", "RASTER", "folder_of", "processor", "tokenizer", "vqgan",
]  # fmt: skip

_TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []
#: Codes of each codebook, and where the ids of the printable characters begin.
CODES, CHARACTERS = 40, 60
TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": 256,
}  # fmt: skip
#: Family -> special token -> id.
JANUS = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<begin_of_image>": 3, "<end_of_image>": 4, "<image_placeholder>": 5}
EMU3 = {
    "<|endoftext|>": 0, "<|extra_203|>": 1, "<|extra_204|>": 2, "<|extra_200|>": 3, "<|extra_201|>": 4,
    "<|image end|>": 5, "<|image start|>": 6, "<|image token|>": 7, "<image>": 8,
}  # fmt: skip
EMU3_FIRST = 200
GLM = {"<|image_start|>": 40, "<|image_end|>": 41, "<sop>": 42, "<eop>": 43, "<|image|>": 46, "<pad>": 47}
CHAMELEON = {"<s>": 0, "<pad>": 1, "</s>": 2, "<racm3:break>": 51, "<eoss>": 52, "<reserved08706>": 53, "<image>": 50}
#: What a raster.json says.
RASTER = {"ids": [4, 44], "rows": 4, "cols": 5, "between_rows": [3], "lead": [48]}
#: As the hub's copies of Janus-Pro have it, in short.
TEMPLATE = (
    "{% for message in messages %}<|User|>: {% for part in message['content'] %}{{ part['text'] }}{% endfor %}"
    "{{ '\\n\\n' }}{% endfor %}{% if add_generation_prompt %}<|Assistant|>:{% endif %}"
)


def tokenizer(special: Mapping[str, int], *, adds: str | None = None, **roles: str) -> Any:
    """A tokenizer of single characters.

    Args:
        special: its special tokens.
        adds: the token that it puts first.
        roles: ``bos_token`` and the like; others, such as ``boi_token``, are what processors ask for.
    """
    from tokenizers import AddedToken, Tokenizer, models, processors

    characters = {chr(code): CHARACTERS + at for at, code in enumerate((10, *range(32, 127)))}
    # Gaps are filled: ids of a vocabulary follow each other.
    vocabulary = {**characters, **special, "<unk>": max(characters.values()) + 1}
    vocabulary |= {f"<filler {at}>": at for at in range(max(vocabulary.values())) if at not in {*vocabulary.values()}}
    held = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    held.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in special])
    if adds is not None:
        held.post_processor = processors.TemplateProcessing(single=f"{adds} $A", special_tokens=[(adds, special[adds])])
    usual = ("bos_token", "eos_token", "pad_token", "sep_token")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=held,
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens={name: token for name, token in roles.items() if name not in usual},
        **{name: token for name, token in roles.items() if name in usual},
    )


def processor(kind: str, words: Any, **options: Any) -> Any:
    """A processor of transformers that needs no torchvision: those of version 5."""
    images = {"Janus": "JanusImageProcessorPil", "Emu3": "Emu3ImageProcessor", "GlmImage": "GlmImageImageProcessorPil"}
    name = (images | {"Chameleon": "ChameleonImageProcessorPil"})[kind]
    if not hasattr(transformers, "JanusImageProcessorPil"):
        pytest.skip("processors need transformers 5")
    return getattr(transformers, f"{kind}Processor")(getattr(transformers, name)(), words, **options)


def filled(model: Any, seed: int = 0) -> Any:
    """Matrices drawn anew: smaller ones make models that repeat one token."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "norm" not in name and "vqmodel" not in name:
            parameter.data.normal_(0, 0.5, generator=generator)
    return model.eval()


def _janus(place: Path) -> None:
    t = transformers
    config = t.JanusConfig(
        text_config=t.LlamaConfig(**TEXT, num_key_value_heads=4),
        vision_config=t.JanusVisionConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=96, patch_size=16,
            projection_dim=32, num_image_tokens=36,
        ),
        vq_config=t.JanusVQVAEConfig(
            embed_dim=8, num_embeddings=CODES, latent_channels=16, base_channels=32, channel_multiplier=[1, 1],
            num_res_blocks=1, projection_dim=32, image_token_embed_dim=32,
        ),
        image_token_id=5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = filled(t.JanusForConditionalGeneration(config))
    held = model.generation_config
    held.pad_token_id, held.bos_token_id, held.eos_token_id = 0, 1, 2
    held.generation_kwargs = {"boi_token_id": 3}
    model.save_pretrained(place)
    words = tokenizer(
        JANUS, adds="<bos>", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", boi_token="<begin_of_image>",
        eoi_token="<end_of_image>", image_token="<image_placeholder>",
    )  # fmt: skip
    words.save_pretrained(place)
    (place / "chat_template.jinja").write_text(TEMPLATE)


def _emu3(place: Path) -> None:
    t = transformers
    names = {name: EMU3[name] for name in ("<image>", "<|extra_200|>", "<|extra_201|>", "<|image end|>")}
    names |= {f"<|visual token {code:06d}|>": EMU3_FIRST + code for code in range(CODES)}
    config = t.Emu3Config(
        text_config=t.Emu3TextConfig(**TEXT, num_key_value_heads=2, attention_dropout=0.1),
        vq_config=t.Emu3VQVAEConfig(
            codebook_size=CODES, embed_dim=4, latent_channels=4, base_channels=32, channel_multiplier=[1, 1, 1, 1],
            num_res_blocks=1, attn_resolutions=[], hidden_size=32,
        ),
        vocabulary_map=names,
    )  # fmt: skip
    torch.manual_seed(0)
    filled(t.Emu3ForConditionalGeneration(config)).save_pretrained(place)
    words = tokenizer(
        EMU3, bos_token="<|extra_203|>", eos_token="<|extra_204|>", pad_token="<|endoftext|>", image_token="<image>",
        boi_token="<|image start|>", eoi_token="<|image end|>", image_wrapper_token="<|image token|>",
        eof_token="<|extra_201|>",
    )  # fmt: skip
    words.save_pretrained(place)


def _glm_image(place: Path) -> None:
    t = transformers
    if not hasattr(t, "GlmImageConfig"):
        pytest.skip("GLM-Image needs transformers 5")
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    config = t.GlmImageConfig(
        text_config=t.GlmImageTextConfig(**TEXT, num_key_value_heads=2, vision_vocab_size=48, rope_parameters=rope),
        vision_config=t.GlmImageVisionConfig(
            depth=1, hidden_size=32, num_heads=2, image_size=64, patch_size=16, intermediate_size=32
        ),
        vq_config=t.GlmImageVQVAEConfig(embed_dim=8, num_embeddings=CODES, latent_channels=32),
        image_start_token_id=40,
        image_end_token_id=41,
        image_token_id=46,
    )
    filled(t.GlmImageForConditionalGeneration(config)).save_pretrained(place / "vision_language_encoder")
    words = tokenizer(
        GLM, bos_token="<|image_start|>", eos_token="<|image_end|>", pad_token="<pad>", image_token="<|image|>",
        grid_bos_token="<sop>", grid_eos_token="<eop>",
    )  # fmt: skip
    words.save_pretrained(place / "processor")


def glm_pipeline(place: Path) -> None:
    """GLM-Image's whole pipeline, as diffusers saves it: what makes pixels beside the token model."""
    _glm_image(place)
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    held = diffusers.GlmImagePipeline(
        tokenizer=transformers.ByT5Tokenizer(),
        processor=None,
        text_encoder=transformers.T5EncoderModel(
            transformers.T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        ),
        vision_language_encoder=None,
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4, 4, 4, 4), norm_num_groups=2, latent_channels=4, layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        transformer=diffusers.GlmImageTransformer2DModel(
            in_channels=4, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
            text_embed_dim=16, time_embed_dim=16, condition_dim=8, prior_vq_quantizer_codebook_size=CODES,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    held.save_pretrained(place)


def _chameleon(place: Path) -> None:
    t = transformers
    letters = ["".join(chr(ord("A") + int(digit)) for digit in str(code)) for code in range(CODES)]
    names = {f"IMGIMG{name}Z": 4 + code for code, name in enumerate(letters)}
    config = t.ChameleonConfig(
        **TEXT,
        num_key_value_heads=4,
        vq_config=t.ChameleonVQVAEConfig(
            embed_dim=8, num_embeddings=CODES, latent_channels=8, resolution=16, base_channels=32,
            channel_multiplier=[1, 1], num_res_blocks=1,
        ).to_dict(),
        vocabulary_map=names | {"<image>": 50},
    )  # fmt: skip
    filled(t.ChameleonForConditionalGeneration(config)).save_pretrained(place)
    words = tokenizer(
        CHAMELEON, adds="<s>", bos_token="<s>", eos_token="</s>", pad_token="<pad>", sep_token="<reserved08706>",
        image_token="<image>", boi_token="<racm3:break>", eoi_token="<eoss>",
    )  # fmt: skip
    words.save_pretrained(place)


def _raster(place: Path) -> None:
    config = transformers.LlamaConfig(**TEXT, num_key_value_heads=2)
    filled(transformers.LlamaForCausalLM(config)).save_pretrained(place)
    tokenizer({"<pad>": 0, "<bos>": 1, "<eos>": 2, "<line>": 3, "<image>": 48}, adds="<bos>").save_pretrained(place)
    (place / "raster.json").write_text(json.dumps(RASTER))


def llamagen(place: Path) -> None:
    """Files of LlamaGen: c2i.safetensors, t2i.safetensors, their sizes, a decoder, and a text's features."""
    from safetensors.torch import save_file

    from tests.support.llamagen import CLASSES, TEXTS, trained
    from tests.support.vq import LLAMAGEN, vq_weights

    for name, sizes in {"c2i": CLASSES, "t2i": TEXTS}.items():
        save_file(trained(sizes, torch.float32), place / f"{name}.safetensors")
        (place / f"{name}.json").write_text(json.dumps(asdict(sizes)))
    save_file(vq_weights(replace(LLAMAGEN, codes=CLASSES.vocab_size)), place / "vq.safetensors")
    draw = np.random.default_rng(0)
    for number, length in enumerate((5, 3)):
        np.save(place / f"text-{number}.npy", draw.normal(size=(length, TEXTS.caption_dim)).astype(np.float32))


def vqgan(codes: int = CODES) -> Any:
    """Weights of Chameleon's decoder, tokens of 4 x 4 pixels."""
    from tests.support.vq import TAMING, vq_weights

    return vq_weights(replace(TAMING, codes=codes))


#: Family -> what writes its folder.
MAKERS: dict[str, Callable[[Path], None]] = {
    "janus-pro": _janus,
    "emu3": _emu3,
    "glm-image": _glm_image,
    "glm-pipeline": glm_pipeline,
    "chameleon": _chameleon,
    "raster-llama": _raster,
    "llamagen": llamagen,
}


@cache
def folder_of(family: str) -> Path:
    """The folder of a family, written once a process; nobody changes it."""
    _TEMPORARY.append(tempfile.TemporaryDirectory(prefix="diagplan-images-"))
    place = Path(_TEMPORARY[-1].name)
    MAKERS[family](place)
    return place
