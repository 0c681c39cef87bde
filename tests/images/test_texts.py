import re
import shutil
from pathlib import Path

import pytest

from diagplan.images.texts import Texts
from diagplan.planner.errors import DocumentError
from tests.images.test_janus import characters
from tests.support.image_folders import JANUS, TEMPLATE, folder_of

pytest.importorskip("transformers")


def test_ids_of_a_text_with_and_without_what_the_tokenizer_adds() -> None:
    texts = Texts(folder_of("janus-pro"))
    assert texts.ids("a b") == [1, *characters("a b")]
    assert texts.ids("a<begin_of_image>", special=False) == [*characters("a"), JANUS["<begin_of_image>"]]


def test_special_tokens_by_role_or_text() -> None:
    texts = Texts(folder_of("janus-pro"))
    assert texts.token("boi_token") == "<begin_of_image>"
    assert texts.token("absent_token", text="<image_placeholder>") == "<image_placeholder>"
    assert texts.id_of("<image_placeholder>") == 5
    with pytest.raises(DocumentError, match="expected a tokenizer with absent_token, <no>, got"):
        texts.token("absent_token", text="<no>")
    with pytest.raises(DocumentError, match="expected a tokenizer with the token '<no>'"):
        texts.id_of("<no>")


def test_templates_are_found_where_folders_keep_them(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    shutil.copytree(folder_of("janus-pro"), place)
    texts = Texts(place)
    assert texts.template() == TEMPLATE
    assert texts.chat("hi", TEMPLATE, answer=True) == "<|User|>: hi\n\n<|Assistant|>:"
    assert texts.chat("hi", TEMPLATE, answer=False) == "<|User|>: hi\n\n"
    (place / "chat_template.jinja").unlink()
    texts = Texts(place)
    assert texts.template() is None
    (place / "chat_template.json").write_text('{"chat_template": "x"}')
    assert texts.template() == "x"
    with pytest.raises(DocumentError, match="got one that cannot be rendered"):
        texts.chat("hi", "{% for %}", answer=True)


def test_no_tokenizer_and_a_damaged_one_are_one_error_each(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=rf"got {re.escape(str(tmp_path))} without tokenizer\.json"):
        Texts(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(DocumentError, match=rf"expected a tokenizer in {re.escape(str(tmp_path))}, got files that"):
        Texts(tmp_path)


def test_no_code_of_a_folder_is_run(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    shutil.copytree(folder_of("janus-pro"), place)
    (place / "evil.py").write_text("raise SystemExit('run')")
    (place / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}'
    )
    try:
        texts = Texts(place)
    except DocumentError:
        return
    assert texts.ids("a")  # by a class of the library, or not at all
