"""A self-test on load: does the model keep to the forward contract? Kernels that silently ignore masks exist.

Six passes over a handful of tokens. What a fault would do is measured on the model itself: hiding one token of a few
must change the logits by some amount, and what must change nothing may change them by a small part of that. So one
bound serves every dtype, float16 and int8 included.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, coordinates_of, is_ragged, only_batch_of
from diagplan.backends.runtime import Runtime, runtime_of
from diagplan.planner.errors import DiagplanError
from diagplan.planner.layout import Layout

__all__ = ["require_masks_obeyed", "require_tested"]

Float32 = NDArray[np.float32]

#: What must not change the logits may change them by this part of what hiding a token changes.
_PART = 0.125
#: A token and a tiny picture, for models with coordinates.
_LAYOUT = Layout(frames=1, rows=2, cols=2, lead=1)
#: Where a model passed, in its ``__dict__``; see ``require_tested``.
_MARK = "_diagplan_tested"


def require_tested(model: Model, *, kept_in: object = None, as_what: object = True) -> None:
    """``require_masks_obeyed``, unless this model has passed it before.

    That is remembered in the model's own ``__dict__``, so it lives as long as the model, and goes over to copies that
    share its weights (``with_context``). A model without one (``__slots__``) is tested each time: six tiny passes.

    Args:
        model: the model.
        kept_in: an object that outlives the model, what it is made of: that it has passed is remembered there too.
        as_what: under which, what else makes the model; another one is tested anew.

    Raises:
        DiagplanError: as ``require_masks_obeyed``.
    """
    if kept_in is not None and _own(kept_in).get(_MARK) == as_what:
        _own(model)[_MARK] = True
    if not _own(model).get(_MARK, False):
        require_masks_obeyed(model)
    if kept_in is not None:
        _own(kept_in)[_MARK] = as_what


def require_masks_obeyed(model: Model) -> None:
    """Run a few tiny passes that differ in a mask bit, in a token, in the order of feeding and in the slots written.

    Raises:
        DiagplanError: hiding a visible slot changes nothing, or a hidden one still tells; a second pass does not read
            the cache that a first one wrote at the given slots; positions are taken from the order of feeding; logits
            of other feeds than ``rows``; NaN or infinite ones; samples of a ``ragged`` model are not kept apart.
    """
    length = min(_LAYOUT.positions, model.positions)
    low, high = (model.vocabulary[0].low, model.vocabulary[0].high) if model.vocabulary else (0, model.vocab_size)
    if length < 3 or high - low < 2:
        return
    batch = only_batch_of(model) or 1
    places = coordinates_of(model, _LAYOUT)
    places = _spread(0, model.positions, length) if places is None else places[:length]
    test = _Test(model, runtime_of(model), batch, length, _spread(low, high, length), places)
    whole = test.logits(test.tokens)
    if not np.isfinite(whole).all():
        raise DiagplanError(
            f"expected finite logits, got NaN or infinite ones from this {model.family} model in {model.dtype}. "
            "Its weights are broken, or too large for the dtype. Try float32, or another file."
        )
    without = test.logits(test.tokens, hidden=1)[:, 2:]
    change = _distance(without, whole[:, 2:])
    least = 4 * _rounding(model) * float(whole[..., low:high].std())
    bound = max(_PART * change, least)
    # The second token is hidden from everyone after it: another token there must not tell.
    tells = _distance(test.logits(test.tokens, hidden=1, other=1)[:, 2:], without) > bound
    masked = change > least and not tells
    if not masked or not _read_from_cache(test, whole, bound):
        raise _fault(test, whole, bound, masked=masked)
    if is_ragged(model) and not _kept_apart(test, whole, bound):
        raise _error(
            model,
            "expected samples that differ in position, slot and mask",
            "does not keep them apart, though it is ragged",
            "Prompts of different length share a batch so",
            "Use each sample's own row of position, slot and mask, or leave ragged out",
        )
    _own(model)[_MARK] = True


def _own(model: object) -> dict[str, Any]:
    """The ``__dict__`` of this very object, which a proxy with slots would pass on; else one that nobody keeps."""
    try:
        own: dict[str, Any] = object.__getattribute__(model, "__dict__")
    except AttributeError:
        return {}
    return own


@dataclass(frozen=True, slots=True)
class _Test:
    """Some tokens of one model; each sees itself and those before it."""

    model: Model
    runtime: Runtime
    batch: int
    length: int
    ids: NDArray[np.int64]
    places: NDArray[np.int64]

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Their numbers, in order; the first slots as well."""
        return np.arange(self.length)

    def logits(
        self,
        feeds: NDArray[np.int64],
        slots: NDArray[np.int64] | None = None,
        *,
        rows: NDArray[np.int64] | None = None,
        hidden: int | None = None,
        other: int | None = None,
        cache: Any = None,
    ) -> Float32:
        """Logits of one pass, [B, m, V].

        Args:
            feeds: numbers of tokens, in the order of feeding.
            slots: the cache slot of each token; its number by default.
            rows: as for ``forward``.
            hidden: a token that those after it do not see.
            other: a token that has another id.
            cache: of a pass before.
        """
        slots = self.tokens if slots is None else slots
        seen = np.tril(np.ones((self.length, self.length), dtype=np.bool_))
        if hidden is not None:
            seen[hidden + 1 :, hidden] = False
        mask = np.zeros((len(feeds), self.length + 1), dtype=np.bool_)
        mask[:, slots] = seen[feeds]
        ids = self.ids.copy()
        if other is not None:
            ids[other] = ids[other - 1]
        position, put = self.places[feeds], self.runtime.put
        with self.runtime.inference():
            logits = self.model.forward(
                put(np.tile(ids[feeds], (self.batch, 1))),
                put(position),
                put(slots[feeds]),
                put(mask),
                self.model.new_cache(self.batch, self.length + 1) if cache is None else cache,
                None if rows is None else put(rows),
            )
            values = np.array(self.runtime.numpy(self.runtime.float32(logits)))
        wanted = (self.batch, len(feeds) if rows is None else len(rows), self.model.vocab_size)
        if values.shape != wanted:
            raise _error(
                self.model,
                f"expected logits {list(wanted)}, one row for each of the feeds in rows",
                f"returns {list(values.shape)}",
                "Replay asks for the rows that it chooses from",
                "Take them, x[:, rows], before the head",
            )
        return values


def _read_from_cache(test: _Test, whole: Float32, bound: float) -> bool:
    """Whether two passes, in another order and into other slots, give the logits of one."""
    half = (test.length + 1) // 2
    slots = _elsewhere(test)
    cache = test.model.new_cache(test.batch, test.length + 1)
    for feeds in (test.tokens[:half][::-1], test.tokens[half:][::-1]):
        rows = np.arange(min(1, len(feeds) - 1), len(feeds))  # not all of them, where there are more
        if _distance(test.logits(feeds, slots, rows=rows, cache=cache), whole[:, feeds[rows]]) > bound:
            return False
    return True


def _kept_apart(test: _Test, whole: Float32, bound: float) -> bool:
    """Whether samples, each fed in an order and into slots of its own, get the logits of one pass alike."""
    batch = 2 * test.batch
    orders = [test.tokens if i < test.batch else test.tokens[::-1] for i in range(batch)]
    slots = [test.tokens if i < test.batch else _elsewhere(test)[::-1] for i in range(batch)]
    mask = np.zeros((batch, test.length, test.length + 1), dtype=np.bool_)
    for own, feeds, places in zip(mask, orders, slots, strict=True):
        own[:, places] = feeds[:, None] >= feeds
    only = only_batch_of(test.model)
    keep = slice(0, batch) if only is None else slice(batch - only, batch)
    put = test.runtime.put
    with test.runtime.inference():
        logits = test.model.forward(
            put(np.stack([test.ids[feeds] for feeds in orders[keep]])),
            put(np.stack([test.places[feeds] for feeds in orders[keep]])),
            put(np.stack(slots[keep])),
            put(mask[keep]),
            test.model.new_cache(len(orders[keep]), test.length + 1),
        )
        values = np.array(test.runtime.numpy(test.runtime.float32(logits)))
    wanted = np.stack([whole[i % len(whole), feeds] for i, feeds in enumerate(orders[keep])])
    return values.shape == wanted.shape and _distance(values, wanted) <= bound


def _fault(test: _Test, whole: Float32, bound: float, *, masked: bool) -> DiagplanError:
    """What is wrong, found by changing one thing at a time."""
    model, tokens = test.model, test.tokens
    between = _PART * _distance(whole, whole.mean(axis=1, keepdims=True))  # where masks are ignored the bound is tiny
    if _distance(test.logits(tokens, rows=tokens[1:2]), whole[:, 1:2]) > max(bound, between):
        return _error(
            model,
            "expected logits of the feeds in rows",
            "returns those of others",
            "Replay chooses from what it asked for",
            "Take them, x[:, rows], before the head",
        )
    if not masked:
        return _error(
            model,
            "expected attention to obey its mask",
            "ignores it",
            "Its results would be wrong",
            "Use another device or dtype, or another build of the runtime",
        )
    if _distance(test.logits(tokens, _elsewhere(test)), whole) > bound:
        return _error(
            model,
            "expected keys and values at the slots in slot",
            "gives other logits when the same tokens are written to other slots",
            "A plan says where each is kept, which is not its position",
            "Write the cache at slot, and look positions up in position",
        )
    if _distance(test.logits(tokens[::-1]), whole[:, ::-1]) > bound:
        return _error(
            model,
            "expected position embeddings of the slots in position",
            "gives other logits when the same tokens are fed in another order",
            "A plan feeds tokens in an order of its own",
            "Look positions up in position",
        )
    return _error(
        model,
        "expected a pass to read what the pass before it wrote to the cache",
        "gives other logits in two passes than in one",
        "A replay is many passes over one cache",
        "Write keys and values into the cache in place, and attend over its slots",
    )


def _error(model: Model, expected: str, fault: str, rule: str, remedy: str) -> DiagplanError:
    who = f"{model.family} model on {model.device} ({model.dtype})"
    return DiagplanError(f"{expected}, got a {who} that {fault}. {rule}. {remedy}.")


def _spread(low: int, high: int, count: int) -> NDArray[np.int64]:
    """Numbers from ``low`` to ``high`` less one, evenly; all different where there are as many."""
    return np.linspace(low, high - 1, count).astype(np.int64)


def _elsewhere(test: _Test) -> NDArray[np.int64]:
    """Another slot for each token, of one more than there are tokens."""
    return np.roll(np.arange(test.length + 1), 2)[: test.length]


def _distance(one: Float32, two: Float32) -> float:
    """The root of the mean square of the difference."""
    return float(np.sqrt(np.square(one - two).mean()))


def _rounding(model: Model) -> float:
    """The rounding error of the model's dtype, relative."""
    name = str(model.dtype)
    return 2.0**-8 if "bfloat16" in name else 2.0**-11 if "float16" in name else 2.0**-24
