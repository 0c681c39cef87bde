"""Cosmos' worlds: 1 or 9 frames are given, the rest of a clip of 33 is made; Video2World models read a text too."""

from dataclasses import asdict

from diagplan.adapters.options import LoadOptions
from diagplan.backends.errors import MismatchError
from diagplan.backends.table import backend_named
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.worlds.clip_world import ClipWorld
from diagplan.worlds.source import Source
from diagplan.worlds.world import WorldFiles

__all__ = ["open_world"]

#: Frames a second of what the release writes.
_FPS = 25


def open_world(files: WorldFiles, options: LoadOptions) -> ClipWorld:
    """A Cosmos release.

    Raises:
        SpecError: a text for a model that reads none, or a config for a release whose sizes are known.
        DocumentError: a file that is missing or broken; the message says which, and where its publisher has it.
        MismatchError: an exported model of other sizes.
    """
    from diagplan.adapters.cosmos_config import CONFIGS, REPOSITORIES, config_from_export
    from diagplan.adapters.cosmos_files import cosmos_config
    from diagplan.adapters.cosmos_tokenizer import CODES, load_cosmos_tokenizer

    model, weights, tokenizer, config = files.model, files.weights, files.tokenizer, options.config
    exported = backend_named(options.backend).exported
    if config is not None and model in CONFIGS:
        raise SpecError(
            f"expected no config for {model}, whose sizes are known, got one. Another size is model='cosmos'."
        )
    if config is None and model not in CONFIGS and not exported:
        raise SpecError(
            f"expected a config for model='cosmos', got none. Name the release, {', '.join(CONFIGS)}, or give --config."
        )
    if weights is None:
        where = REPOSITORIES.get(model, "nvidia/Cosmos-Predict1-4B and beside it")
        raise DocumentError(
            f"expected the weights of {model}, model.pt, got none. NVIDIA publishes them on Hugging Face, in "
            f"{where}. Give --weights FILE, or what export-onnx made of them."
        )
    if tokenizer is None:
        raise DocumentError(
            "expected the folder of the video tokenizer (encoder.jit and decoder.jit), got none. NVIDIA publishes it "
            "on Hugging Face, in nvidia/Cosmos-Tokenize1-DV8x16x16-720p. Give --tokenizer FOLDER."
        )
    context = options.context
    source = Source(adapter="cosmos", weights=weights, tokenizer=tokenizer, options=options)
    if exported:
        if context is not None:
            raise SpecError(
                "expected no text with backend='onnx', got one. It was written into the model: export-onnx --context."
            )
        source = source.replaced(config=None)  # what is checked here was chosen at export
        sizes = config_from_export(source.sizes())
        named = CONFIGS.get(model) if config is None else cosmos_config(config)
        wrong = [name for name, value in asdict(sizes).items() if named and asdict(named)[name] != value]
        if wrong:
            got = getattr(sizes, wrong[0])
            raise MismatchError(f"expected an exported {model}, got one with {wrong[0]}={got!r}. Name what it is.")
    else:
        sizes = CONFIGS[model] if config is None else cosmos_config(config)
        if context is not None and sizes.context_dim is None:
            raise SpecError(f"expected no text: {model} reads none, got one. Leave it out.")
        source = source.replaced(config=sizes)
        source.sizes()
    if sizes.vocab_size != CODES:
        raise DocumentError(
            f"expected a model of the tokenizer's {CODES} codes, got vocab_size={sizes.vocab_size}. The files do not "
            "belong together."
        )
    frames, rows, cols = sizes.video_latent_shape
    coder = load_cosmos_tokenizer(tokenizer, latent_shape=(frames, rows, cols), device=options.device)
    if not coder.prompts:
        raise SpecError(f"expected clips of at least 2 frames of tokens, got {frames}. One of them is given.")
    return ClipWorld(name=model, source=source, tokenizer=coder, config=sizes, fps=_FPS)
