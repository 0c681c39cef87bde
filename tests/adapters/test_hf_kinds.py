from diagplan.adapters.families import FAMILIES
from diagplan.adapters.hf_kinds import ANY, KINDS, family_of_kind


def test_every_kind_is_a_family_with_a_record() -> None:
    assert set(KINDS) | {"transformers"} == set(FAMILIES.built_in) - {"mc-ar", "cosmos", "wham", "llamagen"}


def test_a_model_type_names_its_first_family() -> None:
    assert [family_of_kind(kind) for kind in ("janus", "emu3", "glm_image", "chameleon", "qwen3")] == [
        "janus-pro", "emu3", "glm-image", "chameleon", ANY,
    ]  # fmt: skip
