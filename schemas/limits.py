"""What a plan document may ask of its reader: each limit once, with the sentence that docs/plan-format.md prints."""

from dataclasses import dataclass

from diagplan.planner.chain import MAX_PLANS
from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import MAX_POSITIONS

__all__ = [
    "LIMITS",
    "MAX_BYTES",
    "MAX_CACHE_SLOTS",
    "MAX_COST",
    "MAX_EXPANSION",
    "MAX_EXPLICIT_BITS",
    "MAX_EXPLICIT_ROWS",
    "MAX_EXPLICIT_RUNS",
    "MAX_KEYS",
    "MAX_NUMBER",
    "MAX_ZSTD_WINDOW",
    "SHORTER",
    "SMALL_BYTES",
    "SPARE_CELLS",
    "SPARE_POSITIONS",
    "Limit",
    "require_affordable",
]

MAX_NUMBER = 2**31 - 1
MAX_CACHE_SLOTS = 4 * MAX_POSITIONS
SPARE_POSITIONS, SPARE_CELLS = 2, 64

#: The largest document read, in bytes of JSON text.
MAX_BYTES = 1 << 26
#: What parsing and validating may take beside the text, in bytes, by the prices below.
MAX_COST = 1 << 29
#: Upper bounds measured with CPython 3.11 and pydantic 2; a refused document costs as much as one that is read.
_PER_CONTAINER, _PER_KEY, _PER_COMMA = 200, 200, 50
#: Keys of one object; the formats have at most 13. Each one too many makes an error of a kilobyte.
MAX_KEYS = 1024
#: A compressed file may grow this much, or to so many bytes, whichever is more.
MAX_EXPANSION, SMALL_BYTES = 1000, 1 << 23
MAX_ZSTD_WINDOW = 1 << 27

#: Rows times cache slots up to which mask rows are written, and compared with the rule: 2^30 bits take some seconds.
MAX_EXPLICIT_BITS = 1 << 30
#: Rows and steps together of a document that gives rows: each costs some 50 microseconds, however few slots there are.
MAX_EXPLICIT_ROWS = 1 << 16
#: Runs in all rows up to which they are written.
MAX_EXPLICIT_RUNS = 1 << 23


@dataclass(frozen=True, slots=True)
class Limit:
    """A row of the table.

    Attributes:
        what: what is limited.
        limit: the limit in words and numbers.
        constant: its name in this module; ``None`` where there is none.
    """

    what: str
    limit: str
    constant: str | None = None


def _power(number: int) -> str:
    return f"{number} = 2^{number.bit_length() - 1}"


#: In the order of the page.
LIMITS = (
    Limit("slots of a sequence; `between_frames`; `between_rows`", _power(MAX_POSITIONS)),
    Limit("any number", f"{MAX_NUMBER} = 2^31 - 1", "MAX_NUMBER"),
    Limit("`positions`", f"at most 2 x feeds + {SPARE_POSITIONS}", "SPARE_POSITIONS"),
    Limit("given slots, as the sum of the runs' lengths", "at most `positions`"),
    Limit("generated cells of the layout", f"at most 2 x `positions` + {SPARE_CELLS}", "SPARE_CELLS"),
    Limit(
        "`cache`.`slots`", f"at most `positions` + feeds + 1, and at most {_power(MAX_CACHE_SLOTS)}", "MAX_CACHE_SLOTS"
    ),
    Limit(
        "rows that a document gives x cache slots",
        f"{_power(MAX_EXPLICIT_BITS)}, of a chain in all plans; longer plans are written in rule form",
        "MAX_EXPLICIT_BITS",
    ),
    Limit(
        "rows + steps, of a document that gives rows",
        f"{_power(MAX_EXPLICIT_ROWS)}, of a chain in all plans; longer plans are written in rule form",
        "MAX_EXPLICIT_ROWS",
    ),
    Limit(
        "runs in all rows that diagplan writes",
        f"{_power(MAX_EXPLICIT_RUNS)}; a plan with more is written in rule form",
        "MAX_EXPLICIT_RUNS",
    ),
    Limit("plans of a chain", f"{MAX_PLANS}"),
    Limit("JSON text", f"{MAX_BYTES} bytes = 2^{MAX_BYTES.bit_length() - 1}", "MAX_BYTES"),
    Limit(
        f"{_PER_CONTAINER} x (lists + objects) + {_PER_KEY} x keys + {_PER_COMMA} x commas, counted in the text",
        _power(MAX_COST),
        "MAX_COST",
    ),
    Limit("keys of one object", f"{MAX_KEYS}", "MAX_KEYS"),
    Limit(
        "what a compressed file unpacks to",
        f"{MAX_EXPANSION} times its size, or {SMALL_BYTES >> 20} MiB if that is more; and the limit of the text",
        "MAX_EXPANSION",
    ),
    Limit("window of a zstd frame", f"{MAX_ZSTD_WINDOW >> 20} MiB", "MAX_ZSTD_WINDOW"),
)


#: What to do about a plan that is too long.
SHORTER = "Compile a plan of fewer frames, or a rollout of windows, and write it with masks='rule' (--masks rule)."


def require_affordable(text: str | bytes, name: str, remedy: str = SHORTER) -> None:
    """Refuse JSON that would take too much memory or time to parse, before any of it is parsed.

    Counts brackets, braces, colons and commas, those in strings too: an upper bound of what the parser makes.

    Args:
        text: JSON text.
        name: what to call it in messages.
        remedy: what to do about it.

    Raises:
        DocumentError: it is longer, or holds more, than the limits say.
    """
    if len(text) > MAX_BYTES:
        raise DocumentError(f"expected a text of at most {MAX_BYTES} bytes in {name}, got {len(text)}. {remedy}")

    def count(mark: str) -> int:
        return text.count(mark) if isinstance(text, str) else text.count(mark.encode())

    containers, keys, commas = count("[") + count("{"), count(":"), count(",")
    cost = _PER_CONTAINER * containers + _PER_KEY * keys + _PER_COMMA * commas
    if cost > MAX_COST:
        raise DocumentError(
            f"expected {_PER_CONTAINER} x (lists + objects) + {_PER_KEY} x keys + {_PER_COMMA} x commas <= {MAX_COST} "
            f"in {name}, got {containers} lists and objects, {keys} keys and {commas} commas. {remedy}"
        )
