"""Which heads, rows and columns of each family's models are one rank's own.

Attention is cut by heads, the feed-forward part by its inner width, embedding and head by the vocabulary; norms, biases
behind a sum, and tables of positions are whole on every rank. Source: Shoeybi et al., Megatron-LM, 2019.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from diagplan.adapters.contract import Ranks
from diagplan.adapters.cosmos_config import CosmosConfig
from diagplan.adapters.mc_ar_config import McArConfig
from diagplan.adapters.parallel_cuts import Cut, Part, bounds
from diagplan.adapters.wham_config import WhamConfig
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["cosmos_part", "mc_ar_part", "wham_part"]


def _own(size: int, ranks: Ranks) -> tuple[int, int]:
    return bounds(size, ranks.rank, ranks.world)


class _Heads(NamedTuple):
    queries: tuple[int, int]
    keys: tuple[int, int]

    def rows(self, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows of queries, and of keys or values."""
        (first, last), (low, high) = self
        return (first * width, last * width), (low * width, high * width)


def _heads(heads: int, kv_heads: int, ranks: Ranks) -> _Heads:
    """A rank's heads. Where there are more ranks than key-value heads, several ranks hold the same one.

    Raises:
        SpecError: heads that the ranks cannot share evenly.
    """
    rank, world = ranks.rank, ranks.world
    if heads % world or (kv_heads % world and world % kv_heads):
        fine = [n for n in range(2, heads + 1) if heads % n == 0 and (kv_heads % n == 0 or n % kv_heads == 0)]
        remedy = f"Start {' or '.join(map(str, fine[:6]))} of them." if fine else "Leave --tensor-parallel out."
        raise SpecError(
            f"expected heads that {world} ranks can share, got {shown(heads)} heads and {kv_heads} key-value heads. "
            f"Each rank computes as many. {remedy}"
        )
    each = heads // world
    first = rank * kv_heads // world
    return _Heads((rank * each, (rank + 1) * each), (first, first + max(1, kv_heads // world)))


def _by_end(shapes: Mapping[str, Any], ends: Mapping[str, Cut]) -> dict[str, Cut]:
    """Cuts of all names that end so."""
    return {name: cut for name in shapes for end, cut in ends.items() if name.endswith(end)}


def mc_ar_part(config: McArConfig, ranks: Ranks | None) -> Part:
    """A rank's part of an MC-AR; all of it without ranks.

    Raises:
        SpecError: heads that the ranks cannot share evenly.
    """
    heads, kv_heads, inner = config.num_attention_heads, config.num_key_value_heads, config.intermediate_size
    if ranks is None:
        return Part(heads, kv_heads, (inner, inner), {})
    own = _heads(heads, kv_heads, ranks)
    q, kv = own.rows(config.head_size)
    mlp, vocabulary = _own(inner, ranks), Cut(0, (_own(config.vocab_size, ranks),))
    ends = {
        "embed_tokens.weight": vocabulary,
        "q_proj.weight": Cut(0, (q,)),
        "k_proj.weight": Cut(0, (kv,)),
        "v_proj.weight": Cut(0, (kv,)),
        "o_proj.weight": Cut(1, (q,)),
        "gate_proj.weight": Cut(0, (mlp,)),
        "up_proj.weight": Cut(0, (mlp,)),
        "down_proj.weight": Cut(1, (mlp,)),
        "lm_head.weight": vocabulary,
    }
    return _part(own, mlp, inner, _by_end(config.shapes(), ends))


def cosmos_part(config: CosmosConfig, ranks: Ranks | None) -> Part:
    """A rank's part of a Cosmos, cut as its release cuts its own shards; all of it without ranks.

    Raises:
        SpecError: heads that the ranks cannot share evenly.
    """
    heads, kv_heads, inner = config.n_heads, config.n_kv_heads, config.ffn_hidden_size
    if ranks is None:
        return Part(heads, kv_heads, (inner, inner), {})
    own = _heads(heads, kv_heads, ranks)
    q, kv = own.rows(config.head_size)
    mlp = _own(inner, ranks)
    ends = {
        "tok_embeddings.weight": Cut(0, (_own(config.embedding_rows, ranks),)),
        ".wq.weight": Cut(0, (q,)),
        ".wk.weight": Cut(0, (kv,)),
        ".wv.weight": Cut(0, (kv,)),
        ".wo.weight": Cut(1, (q,)),
        ".w1.weight": Cut(0, (mlp,)),
        ".w3.weight": Cut(0, (mlp,)),
        ".w2.weight": Cut(1, (mlp,)),
        "output.weight": Cut(0, (_own(config.vocab_size, ranks),)),
    }
    return _part(own, mlp, inner, _by_end(config.shapes(), ends))


def wham_part(config: WhamConfig, ranks: Ranks | None) -> Part:
    """A rank's part of a WHAM; all of it without ranks. One matrix holds queries, keys and values, one below the other.

    Raises:
        SpecError: heads that the ranks cannot share evenly.
    """
    inner = 4 * config.n_embd
    if ranks is None:
        return Part(config.n_head, config.n_head, (inner, inner), {})
    own = _heads(config.n_head, config.n_head, ranks)
    first, last = own.rows(config.head_size)[0]
    qkv = Cut(0, tuple((part * config.n_embd + first, part * config.n_embd + last) for part in range(3)))
    mlp, vocabulary = _own(inner, ranks), Cut(0, (_own(config.vocab_size, ranks),))
    ends = {
        "attn.c_attn.weight": qkv,
        "attn.c_attn.bias": qkv,
        "attn.c_proj.weight": Cut(1, ((first, last),)),
        "mlp.c_fc.weight": Cut(0, (mlp,)),
        "mlp.c_fc.bias": Cut(0, (mlp,)),
        "mlp.c_proj.weight": Cut(1, (mlp,)),
        "wte.weight": vocabulary,
        "lm_head.weight": vocabulary,
    }
    return _part(own, mlp, inner, _by_end(config.shapes(), ends))


def _part(own: _Heads, mlp: tuple[int, int], inner: int, cuts: dict[str, Cut]) -> Part:
    (first, last), (low, high) = own
    return Part(last - first, high - low, (mlp[1] - mlp[0], inner), cuts)
