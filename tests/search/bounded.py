"""How long the searches of `make search` are, and what they begin from: SEARCH_EXAMPLES and SEED."""

import os
from datetime import date

__all__ = ["EXAMPLES", "SEED"]

EXAMPLES = int(os.environ.get("SEARCH_EXAMPLES", "200"))
SEED = os.environ.get("SEED", f"{date.today():%Y%m%d}")
