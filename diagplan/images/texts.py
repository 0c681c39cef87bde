"""Texts to ids by the tokenizer of a model's folder, as its release publishes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError
from diagplan.planner.extras import require_packages
from diagplan.planner.shown import shown
from diagplan.schemas.files import read_bytes
from diagplan.schemas.json_objects import read_json_object

__all__ = ["Texts"]

#: Files of which one at least makes a tokenizer.
_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "processor_config.json")
_TEMPLATE_BYTES = 1 << 20


class Texts:
    """The tokenizer of a folder, by transformers; nothing is fetched and no code of the folder is run.

    Args:
        folder: with tokenizer.json.

    Raises:
        DocumentError: there is none, or it cannot be read.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not any(is_file(folder / name) for name in _FILES):
            raise DocumentError(
                f"expected a tokenizer, got {folder} without tokenizer.json. Fetch the tokenizer's files into it."
            )
        require_packages("texts", "transformers")
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the libraries raise almost anything at a damaged file
            raise DocumentError(
                f"expected a tokenizer in {folder}, got files that cannot be read ({type(error).__name__}: "
                f"{str(error).partition(chr(10))[0][:200]}). Fetch them again."
            ) from error

    def ids(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a text; with ``special`` those that the tokenizer adds too, such as the first one."""
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def token(self, *roles: str, text: str | None = None) -> str:
        """A special token by what the tokenizer's files call it (``boi_token``), or by its text.

        Args:
            roles: attributes of the tokenizer; the first that is there holds.
            text: of the token where no role is there.

        Raises:
            DocumentError: the tokenizer has no such token.
        """
        for role in roles:
            token = getattr(self._tokenizer, role, None)
            if isinstance(token, str):
                return token
        if text is not None and self._known(text):
            return text
        names = ", ".join((*roles, *(() if text is None else (text,))))
        raise DocumentError(
            f"expected a tokenizer with {names}, got {self.folder} without it. It is another model's tokenizer: fetch "
            "the one of this model."
        )

    def id_of(self, token: str) -> int:
        """The id of one special token.

        Raises:
            DocumentError: the tokenizer has no such token.
        """
        if not self._known(token):
            raise DocumentError(
                f"expected a tokenizer with the token {shown(token)}, got {self.folder} without it. It is another "
                "model's tokenizer: fetch the one of this model."
            )
        return int(self._tokenizer.convert_tokens_to_ids(token))

    def _known(self, token: str) -> bool:
        number = self._tokenizer.convert_tokens_to_ids(token)
        return number is not None and number != self._tokenizer.unk_token_id

    def template(self) -> str | None:
        """The chat template of the folder; ``None``: it has none."""
        for name in _TEMPLATES:
            path = self.folder / name
            if not is_file(path):
                continue
            if path.suffix == ".jinja":
                return read_bytes(path, _TEMPLATE_BYTES).decode(errors="replace")
            template = read_json_object(path).get("chat_template")
            if isinstance(template, str):
                return template
        template = getattr(self._tokenizer, "chat_template", None)
        return template if isinstance(template, str) else None

    def chat(self, text: str, template: str, *, answer: bool) -> str:
        """A user's text in a chat template.

        Args:
            text: of the user.
            template: from ``template``.
            answer: whether the mark follows after which the model answers.

        Raises:
            DocumentError: the template cannot be rendered.
        """
        words: Sequence[Any] = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        try:
            rendered = self._tokenizer.apply_chat_template(
                words, chat_template=template, tokenize=False, add_generation_prompt=answer
            )
        except Exception as error:
            raise DocumentError(
                f"expected a chat template in {self.folder}, got one that cannot be rendered ({type(error).__name__}: "
                f"{str(error)[:200]}). Fetch it again."
            ) from error
        return str(rendered)
