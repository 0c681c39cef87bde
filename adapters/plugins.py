"""Records found by name: built-in ones by a table of references, third parties' by Python entry points.

A reference is ``"module:attribute"``, as in an entry point; nothing is imported before a record is asked for.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from diagplan.planner.errors import DiagplanError, SpecError
from diagplan.planner.shown import shown

__all__ = ["Table", "resolve"]

T = TypeVar("T")


def resolve(reference: str) -> Any:
    """What a reference ``"module:attribute"`` names.

    Raises:
        ImportError, AttributeError: there is no such thing.
    """
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


@cache
def _registered(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group; what is installed does not change while a process runs."""
    return {point.name: point for point in entry_points(group=group)}


class Table(Generic[T]):
    """Records of one kind by name.

    Args:
        kind: what a record is, for messages.
        option: what people call the choice: ``"adapter"``, ``"backend"``.
        record: the class of the records.
        group: of entry points, by which third parties add records.
        built_in: name -> reference.
    """

    def __init__(self, *, kind: str, option: str, record: type[T], group: str, built_in: Mapping[str, str]) -> None:
        self.kind, self.option, self.record, self.group, self.built_in = kind, option, record, group, built_in

    def names(self) -> tuple[str, ...]:
        """All names, the built-in ones first; loads no record."""
        return (*self.built_in, *(name for name in sorted(_registered(self.group)) if name not in self.built_in))

    def get(self, name: str) -> T:
        """The record of a name.

        Raises:
            SpecError: there is none; the message lists those that there are.
            DiagplanError: what a third party has registered is no record, or cannot be imported.
        """
        known = isinstance(name, str)  # what else was given may have no hash
        point = _registered(self.group).get(name) if known and name not in self.built_in else None
        if not known or (name not in self.built_in and point is None):
            raise SpecError(
                f"expected {self.option} to be one of {', '.join(self.names())}, got {self.option}={shown(name)}. "
                f"Third parties add one by an entry point of the group {self.group}."
            )
        reference = self.built_in[name] if point is None else point.value
        try:
            record = resolve(reference)
        except Exception as error:  # whatever the module of a third party raises while it is imported
            raise DiagplanError(
                f"expected the {self.kind} {shown(name)} at {reference}, got an error: {type(error).__name__}: "
                f"{str(error)[:300]}. Install what brings it anew, or uninstall it."
            ) from error
        if not isinstance(record, self.record) or getattr(record, "name", None) != name:
            raise DiagplanError(
                f"expected a {self.record.__name__} named {shown(name)} at {reference}, got {str(record)[:200]}. "
                "The package that registers it is broken: tell its authors."
            )
        return record

    def records(self) -> tuple[T, ...]:
        """The records of all names; what a third party has broken is left out."""
        records = []
        for name in self.names():
            try:
                records.append(self.get(name))
            except DiagplanError:
                if name in self.built_in:
                    raise
        return tuple(records)
