from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.adapters.samplers import Greedy
from diagplan.backends.errors import MismatchError
from diagplan.images import emu3
from diagplan.images.defaults import Choice
from diagplan.images.job import ImageJob, passes_of
from diagplan.images.prompts import Request
from diagplan.planner.errors import SpecError
from diagplan.planner.schedule import Diagonal
from diagplan.planner.speculation import Speculation
from tests.support.image_folders import EMU3, folder_of, processor

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ("a cat", "a red bicycle", "dog")


def greedy(_: Choice) -> Choice:
    return Choice(Greedy(), "as asked")


def job(family: str, *, texts: tuple[str, ...] = TEXTS, size: Any = None, **options: Any) -> ImageJob:
    return ImageJob(folder_of(family), Request(texts=texts, size=size, **options.pop("request", {})), **options)


def test_janus_draws_what_its_own_generate_does_from_its_own_processor() -> None:
    place = folder_of("janus-pro")
    words = transformers.AutoTokenizer.from_pretrained(place)
    processing = processor("Janus", words)
    template = (place / "chat_template.jinja").read_text()
    chats = [[{"role": "user", "content": [{"type": "text", "text": text}]}] for text in TEXTS]
    written = [
        words.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=True)
        for chat in chats
    ]
    inputs = processing(text=written, generation_mode="image", padding=True, return_tensors="pt")
    model = transformers.JanusForConditionalGeneration.from_pretrained(place).eval()
    model.generation_config.generation_kwargs = {"boi_token_id": 3}  # of the file, where some versions leave it
    theirs = model.generate(**inputs, generation_mode="image", guidance_scale=5.0, do_sample=False, use_cache=True)
    ours = job("janus-pro", choice=greedy)
    tokens = ours.decode(ours.compile()).tokens
    assert len(np.unique(tokens)) >= 8
    assert np.array_equal(tokens.reshape(3, -1), theirs.numpy())


def emu3_generate(place: Path, suffix: str, negative: str, **options: Any) -> np.ndarray:
    """Transformers' own: prompts by its processor, a negative prompt written like them, rows forced by a function."""
    words = transformers.AutoTokenizer.from_pretrained(place)
    words.padding_side = "left"
    processing = processor("Emu3", words)
    form = {"return_for_image_generation": True, "ratio": "3:2", "image_area": 24 * 16, "padding": True}
    inputs = processing(text=[text + suffix for text in TEXTS], return_tensors="pt", **form)
    others = processing(text=[negative] * len(TEXTS), return_tensors="pt", **form)
    rows, cols = (int(side) for side in inputs.pop("image_sizes")[0])
    assert (rows, cols) == (2, 3)
    model = transformers.Emu3ForConditionalGeneration.from_pretrained(place).eval()
    visual = model.vocabulary_mapping.image_tokens

    def allowed(_: int, ids: Any) -> list[int]:
        offset = len(ids) - int((ids == EMU3["<|image token|>"]).nonzero()[-1, 0])
        if offset > (cols + 1) * rows:
            return [EMU3["<|extra_204|>"]]
        return [EMU3["<|extra_200|>"]] if offset % (cols + 1) == 0 else visual

    if options.get("guidance_scale"):
        options |= {
            "negative_prompt_ids": others["input_ids"], "negative_prompt_attention_mask": others["attention_mask"],
        }  # fmt: skip
    ids = model.generate(
        **inputs, max_new_tokens=rows * (cols + 1), do_sample=False, prefix_allowed_tokens_fn=allowed, **options
    )
    grid: np.ndarray = ids[:, inputs["input_ids"].shape[1] :].numpy().reshape(len(TEXTS), rows, cols + 1)[..., :-1]
    return grid


def test_emu3_draws_what_its_own_generate_does_from_its_own_processor() -> None:
    ours = job("emu3", size=(24, 16), request={"negative": "ugly"}, choice=greedy)
    tokens = ours.decode(ours.compile()).tokens
    assert len(np.unique(tokens)) >= 6
    assert np.array_equal(tokens, emu3_generate(folder_of("emu3"), emu3.SUFFIX, "ugly", guidance_scale=3.0))


def test_glm_image_draws_preview_and_picture_as_its_own_generate_does() -> None:
    place = folder_of("glm-image")
    words = transformers.AutoTokenizer.from_pretrained(place / "processor")
    template = "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
    processing = processor("GlmImage", words, chat_template=template)
    inputs = processing.apply_chat_template(
        [[{"role": "user", "content": [{"type": "text", "text": text}]}] for text in TEXTS],
        tokenize=True, padding=True, target_h=64, target_w=192, return_dict=True, return_tensors="pt",
    )  # fmt: skip
    model = transformers.GlmImageForConditionalGeneration.from_pretrained(place / "vision_language_encoder").eval()
    model.generation_config.eos_token_id = None
    theirs = model.generate(**inputs, max_new_tokens=9 * 27 + 12, do_sample=False, suppress_tokens=list(range(40, 48)))
    ours = job("glm-image", size=(192, 64), choice=greedy)
    decoded = ours.decode(ours.compile())
    flat = [grid.reshape(3, -1) for grid in (*decoded.earlier, decoded.tokens)]
    assert decoded.earlier[0].shape == (3, 9, 27)
    assert len(np.unique(decoded.tokens)) >= 8
    assert np.array_equal(np.concatenate(flat, axis=1), theirs[:, inputs["input_ids"].shape[1] :].numpy())


def test_a_guidance_of_one_is_none() -> None:
    ours = job("emu3", size=(24, 16), guidance=1, request={"suffix": ""}, choice=greedy)
    assert ours.guidance is None
    assert len(ours.prompted.branches) == 1
    assert np.array_equal(ours.decode(ours.compile()).tokens, emu3_generate(folder_of("emu3"), "", ""))


def test_chameleon_is_its_bare_decoder_fed_the_prompt() -> None:
    ours = job("chameleon", texts=("a cat",), guidance=1, choice=greedy)
    tokens = ours.decode(ours.compile()).tokens[0].ravel()
    model = transformers.ChameleonForConditionalGeneration.from_pretrained(folder_of("chameleon")).eval()
    ids = torch.from_numpy(ours.prompted.branches[0].ids)
    with torch.inference_mode():
        for expected in tokens[:12]:
            logits = model.lm_head(model.model(input_ids=ids).last_hidden_state[:, -1])
            assert int(logits[0, 4:44].argmax()) + 4 == expected
            ids = torch.cat([ids, torch.tensor([[expected]])], dim=1)


@pytest.mark.parametrize("family", ["janus-pro", "emu3", "chameleon", "raster-llama"])
def test_a_pictures_tokens_depend_neither_on_the_batch_nor_on_its_place_in_it(family: str) -> None:
    size = (40, 32) if family == "emu3" else None
    request = {"negative": "ugly"} if family == "emu3" else {}
    options: dict[str, Any] = {"size": size, "request": request, "guidance": 3.0}
    plan = Diagonal(k=2)
    together = job(family, **options)
    apart = job(family, **options, batch=1)
    tokens = together.decode(together.compile(plan)).tokens
    assert np.array_equal(apart.decode(apart.compile(plan)).tokens, tokens)
    assert not np.array_equal(tokens[0], tokens[1])
    alone = job(family, texts=TEXTS[:1], **options)
    assert np.array_equal(alone.decode(alone.compile(plan)).tokens[0], tokens[0])


@pytest.mark.parametrize("family", ["janus-pro", "emu3", "chameleon", "raster-llama"])
def test_speculation_draws_the_same_in_fewer_passes(family: str) -> None:
    size = (40, 32) if family == "emu3" else None
    options: dict[str, Any] = {
        "size": size,
        "request": {"negative": "ugly"} if family == "emu3" else {},
        "guidance": 3.0,
    }
    ours = job(family, **options)
    plans = ours.compile()
    whole = ours.decode(plans)
    seen: list[int] = []
    fast = ours.decode(plans, lambda done, _: seen.append(done), Speculation(window=9, draft="above"))
    assert np.array_equal(fast.tokens, whole.tokens)
    assert fast.passes <= whole.passes
    assert seen[-1] == whole.passes == plans[0].steps


def test_a_chain_takes_no_speculation() -> None:
    ours = job("glm-image", size=(64, 64))
    with pytest.raises(SpecError, match="expected no speculation for GLM-Image, whose plans are a chain"):
        ours.decode(ours.compile(), None, Speculation(window=9))


def test_several_pictures_of_a_prompt_have_noise_of_their_own() -> None:
    many = job("janus-pro", texts=("a cat", "dog"), num=2)
    assert many.prompted.texts == ("a cat", "a cat", "dog", "dog")
    tokens = many.decode(many.compile()).tokens
    assert len({one.tobytes() for one in tokens}) == 4
    again = job("janus-pro", texts=("a cat", "dog"), num=2)
    assert np.array_equal(again.decode(again.compile()).tokens, tokens)
    other = job("janus-pro", texts=("a cat", "dog"), num=2, seed=1)
    assert not np.array_equal(other.decode(other.compile()).tokens, tokens)


def test_progress_counts_the_passes_of_all_batches() -> None:
    ours = job("janus-pro", batch=2)
    plans = ours.compile(Diagonal(k=2))
    seen: list[tuple[int, int]] = []
    ours.decode(plans, lambda done, of: seen.append((done, of)))
    steps = passes_of(plans)
    assert seen == [(done, 2 * steps) for done in range(1, 2 * steps + 1)]


def test_memory_is_estimated_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = job("emu3", size=(24, 16))
    monkeypatch.setattr("diagplan.images.job.load_model_as", lambda *_: pytest.fail("loaded"))
    told: list[Any] = []
    memory = ours.require_memory(ours.compile(), told.append)
    assert memory is not None
    assert told == [memory]
    assert memory.weights > 1 << 20


def test_a_prompt_beyond_the_context_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(
        MismatchError, match=r"at most 512 ids, the max_position_embeddings of .*config\.json, got 6\d\d: 6\d\d of"
    ):
        job("janus-pro", texts=("x" * 600,))


def test_a_model_without_guidance_takes_none() -> None:
    with pytest.raises(SpecError, match="expected no guidance for GLM-Image"):
        ImageJob(folder_of("glm-image"), Request(texts=("a",), size=(64, 64)), guidance=3.0)


@pytest.mark.parametrize(("family", "guidance"), [("emu3", 1), ("raster-llama", None)])
def test_a_negative_prompt_without_guidance_changes_nothing_and_is_refused(family: str, guidance: Any) -> None:
    with pytest.raises(SpecError, match="expected a scale of guidance beside a negative prompt, got none"):
        ImageJob(folder_of(family), Request(texts=("a cat",), negative="dog"), guidance=guidance)


def test_the_model_is_let_go_unless_it_was_handed_in() -> None:
    ours = job("raster-llama")
    model = ours.load()
    assert ours.load() is model
    ours.let_go()
    assert ours.load() is not model
    kept = job("raster-llama", loaded=model)
    kept.let_go()
    assert kept.load() is model
