"""Triton kernels of a Llama's layer for few rows: seven launches a layer, each reading its weights once.

A row's numbers never depend on its neighbours: every sum runs over tiles of fixed sizes in a fixed order, split sums
are added by whichever program comes last but always in the same order, and keys that are not seen add exact zeros. So
a token has the same bits in a pass of any width and cache length, which is what speculation needs to be bit-exact;
libraries choose other kernels at other widths.
"""

import triton
import triton.language as tl

__all__ = ["attend", "embed", "gate_up", "linear", "normalise", "project_qkv", "reach"]

# Shapes: M rows (sample times feed), K inputs, N outputs, H heads, G of them to a key-value head, D channels of a head.


@triton.jit
def embed(ids, table, out, K: tl.constexpr, BK: tl.constexpr):
    """A row of the table for each id. Grid: (rows, K tiles)."""
    at = tl.program_id(1) * BK + tl.arange(0, BK)
    row = tl.load(ids + tl.program_id(0))
    tl.store(out + tl.program_id(0) * K + at, tl.load(table + row * K + at, mask=at < K, other=0.0), mask=at < K)


@triton.jit
def normalise(x, norm, out, eps, K: tl.constexpr, BK: tl.constexpr):
    """RMS norm. Grid: (rows,)."""
    row = tl.program_id(0) * K
    squares = tl.zeros([1], tl.float32)
    for k in range(0, K, BK):
        h = tl.load(x + row + k + tl.arange(0, BK)).to(tl.float32)
        squares += tl.sum(h * h, axis=0)
    scale = 1.0 / tl.sqrt(squares / K + eps)
    for k in range(0, K, BK):
        at = k + tl.arange(0, BK)
        h = tl.load(x + row + at)
        tl.store(out + row + at, (h.to(tl.float32) * scale).to(h.dtype) * tl.load(norm + at))


@triton.jit(do_not_specialize=["rows"])
def linear(x, weight, residual, out, part, arrived, rows, K: tl.constexpr, N: tl.constexpr, SPLIT: tl.constexpr,
           RESIDUAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """x [M, K] times weight [N, K], plus residual [M, N]. Grid: (N tiles, M tiles, SPLIT parts of K)."""
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    split = tl.program_id(2)
    live = m < rows
    inside = live[:, None] & (n < N)[None, :]
    at = m[:, None] * N + n[None, :]
    PART: tl.constexpr = K // SPLIT
    acc = tl.zeros([BM, BN], tl.float32)
    for k in range(0, PART, BK):
        inputs = split * PART + k + tl.arange(0, BK)
        h = tl.load(x + m[:, None] * K + inputs[None, :], mask=live[:, None], other=0.0)
        w = tl.load(weight + n[:, None].to(tl.int64) * K + inputs[None, :], mask=(n < N)[:, None], other=0.0)
        acc = tl.dot(h, tl.trans(w), acc, input_precision="ieee")
    if SPLIT == 1:
        value = acc.to(out.dtype.element_ty)
        if RESIDUAL:
            value += tl.load(residual + at, mask=inside, other=0.0)
        tl.store(out + at, value, mask=inside)
    else:
        tl.store(part + split * rows * N + at, acc, mask=inside)
        tl.debug_barrier()
        counter = arrived + tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
        if tl.atomic_add(counter, 1) == SPLIT - 1:
            total = tl.zeros([BM, BN], tl.float32)
            for s in tl.static_range(SPLIT):
                total += tl.load(part + s * rows * N + at, mask=inside, other=0.0, cache_modifier=".cg")
            value = total.to(out.dtype.element_ty)
            if RESIDUAL:
                value += tl.load(residual + at, mask=inside, other=0.0)
            tl.store(out + at, value, mask=inside)
            tl.store(counter, 0)


@triton.jit(do_not_specialize=["rows"])
def gate_up(x, weight, out, rows, K: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
            BK: tl.constexpr):  # fmt: skip
    """silu(gate) * up; the weight [2 N, K] holds gate, then up. Grid: (N tiles, M tiles)."""
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    live = m < rows
    gate = tl.zeros([BM, BN], tl.float32)
    up = tl.zeros([BM, BN], tl.float32)
    for k in range(0, K, BK):
        at = k + tl.arange(0, BK)
        h = tl.load(x + m[:, None] * K + at[None, :], mask=live[:, None], other=0.0)
        w = weight + n[:, None].to(tl.int64) * K + at[None, :]
        w_gate = tl.load(w, mask=(n < N)[:, None], other=0.0)
        w_up = tl.load(w + N * K, mask=(n < N)[:, None], other=0.0)
        gate = tl.dot(h, tl.trans(w_gate), gate, input_precision="ieee")
        up = tl.dot(h, tl.trans(w_up), up, input_precision="ieee")
    kind = out.dtype.element_ty
    gate = gate.to(kind).to(tl.float32)
    value = (gate / (1.0 + tl.exp(-gate))).to(kind) * up.to(kind)
    tl.store(out + m[:, None] * N + n[None, :], value, mask=live[:, None] & (n < N)[None, :])


@triton.jit(do_not_specialize=["rows", "feeds", "position_stride", "slot_stride", "slots"])
def project_qkv(x, weight, cos, sin, position, slot, q, keys, values, rows, feeds, position_stride, slot_stride,
                slots, K: tl.constexpr, H: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, BM: tl.constexpr,
                BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """Queries [M, H, D], and keys and values written to the cache [B, KV, slots, D], rotated. Grid: (tiles, M tiles).

    A program makes channels c to c + BN of one head and their partners D / 2 further on.
    """
    HALF: tl.constexpr = D // 2
    TILES: tl.constexpr = HALF // BN
    head = tl.program_id(0) // TILES
    c = (tl.program_id(0) % TILES) * BN + tl.arange(0, BN)
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    live = m < rows
    first = tl.zeros([BM, BN], tl.float32)
    second = tl.zeros([BM, BN], tl.float32)
    for k in range(0, K, BK):
        at = k + tl.arange(0, BK)
        h = tl.load(x + m[:, None] * K + at[None, :], mask=live[:, None], other=0.0)
        w = weight + (head * D + c)[:, None].to(tl.int64) * K + at[None, :]
        w_first, w_second = tl.load(w), tl.load(w + HALF * K)
        first = tl.dot(h, tl.trans(w_first), first, input_precision="ieee")
        second = tl.dot(h, tl.trans(w_second), second, input_precision="ieee")
    kind = q.dtype.element_ty
    sample, feed = m // feeds, m % feeds
    if head < H + KV:
        place = tl.load(position + sample * position_stride + feed, mask=live, other=0)
        angle = place[:, None] * D + c[None, :]
        first, second = first.to(kind).to(tl.float32), second.to(kind).to(tl.float32)
        turned = first * tl.load(cos + angle).to(tl.float32) - second * tl.load(sin + angle).to(tl.float32)
        second = (second * tl.load(cos + angle + HALF).to(tl.float32)
                  + first * tl.load(sin + angle + HALF).to(tl.float32))  # fmt: skip
        first = turned
    if head < H:
        to = q + (m * H + head)[:, None] * D + c[None, :]
        tl.store(to, first.to(kind), mask=live[:, None])
        tl.store(to + HALF, second.to(kind), mask=live[:, None])
    else:
        where = tl.load(slot + sample * slot_stride + feed, mask=live, other=0)
        shared = (head - H) % KV
        inner = ((sample * KV + shared).to(tl.int64) * slots + where)[:, None] * D + c[None, :]
        if head < H + KV:
            tl.store(keys + inner, first.to(kind), mask=live[:, None])
            tl.store(keys + inner + HALF, second.to(kind), mask=live[:, None])
        else:
            tl.store(values + inner, first.to(kind), mask=live[:, None])
            tl.store(values + inner + HALF, second.to(kind), mask=live[:, None])


@triton.jit(do_not_specialize=["rows", "length", "mask_row"])
def reach(mask, out, rows, length, mask_row, BM: tl.constexpr, BK: tl.constexpr):
    """Slots up to the last that any row of a mask [M, L] sees, into out [1], which is 0. Grid: (L tiles, M tiles)."""
    at = tl.program_id(0) * BK + tl.arange(0, BK)
    row = tl.program_id(1) * BM + tl.arange(0, BM)
    inside = (row < rows)[:, None] & (at < length)[None, :]
    seen = tl.load(mask + row[:, None] * mask_row + at[None, :], mask=inside, other=0) != 0
    last = tl.max(tl.where(seen, at[None, :] + 1, 0))
    if last > 0:
        tl.atomic_max(out, last)


@triton.jit(do_not_specialize=["feeds", "length", "mask_sample", "mask_feed", "slots"])
def attend(q, keys, values, mask, reached, out, peaks, sums, arrived, feeds, length, mask_sample, mask_feed, slots,
           scale, H: tl.constexpr, KV: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, CHUNK: tl.constexpr,
           BK: tl.constexpr, AHEAD: tl.constexpr):  # fmt: skip
    """Attention of queries [M, H, D] over the cache. Grid: (B KV, chunks of CHUNK keys, tiles of BM of the G n rows).

    A program leaves what a chunk gives; the last one of a tile to come adds the chunks in their order. Chunks behind
    ``reached``, [1], the keys that any row sees at all, would add zeros, and are not read.
    """
    chunks = tl.maximum(tl.cdiv(tl.load(reached), CHUNK), 1)
    if tl.program_id(1) >= chunks:
        return
    G: tl.constexpr = H // KV
    lane = tl.arange(0, BM)
    r = tl.program_id(2) * BM + lane
    live = r < G * feeds
    sample, shared = tl.program_id(0) // KV, tl.program_id(0) % KV
    feed = r % feeds
    head = (sample * feeds + feed) * H + shared * G + r // feeds
    d = tl.arange(0, D)
    query = tl.load(q + head[:, None] * D + d[None, :], mask=live[:, None], other=0.0)
    base = tl.program_id(0).to(tl.int64) * slots * D
    peak = tl.full([BM], float("-inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    for start in range(0, CHUNK, BK):
        at = tl.program_id(1) * CHUNK + start + tl.arange(0, BK)
        inside = at < length
        inner = base + at[:, None] * D + d[None, :]
        key = tl.load(keys + inner, mask=inside[:, None], other=0.0)
        value = tl.load(values + inner, mask=inside[:, None], other=0.0)
        rows = mask + sample * mask_sample + feed[:, None] * mask_feed + at[None, :]
        seen = tl.load(rows, mask=live[:, None] & inside[None, :], other=0) != 0
        score = tl.where(seen, tl.dot(query, tl.trans(key), input_precision="ieee") * scale, float("-inf"))
        higher = tl.maximum(peak, tl.max(score, axis=1))
        level = tl.where(higher == float("-inf"), 0.0, higher)
        kept, share = tl.exp(peak - level), tl.exp(score - level[:, None])
        total = total * kept + tl.sum(share, axis=1)
        acc = acc * kept[:, None] + tl.dot(share.to(value.dtype), value, input_precision="ieee")
        peak = higher
    tile = tl.program_id(0) * tl.num_programs(2) + tl.program_id(2)
    first = tile * tl.num_programs(1)
    own = (first + tl.program_id(1)) * BM + lane
    tl.store(peaks + 2 * own, peak)
    tl.store(peaks + 2 * own + 1, total)
    tl.store(sums + own[:, None].to(tl.int64) * D + d[None, :], acc)
    tl.debug_barrier()
    if tl.atomic_add(arrived + tile, 1) == chunks - 1:
        all_peak = tl.full([BM], float("-inf"), tl.float32)
        all_total = tl.zeros([BM], tl.float32)
        all_acc = tl.zeros([BM, D], tl.float32)
        for chunk in tl.range(0, chunks, num_stages=AHEAD):
            its = (first + chunk) * BM + lane
            its_peak = tl.load(peaks + 2 * its, cache_modifier=".cg")
            its_total = tl.load(peaks + 2 * its + 1, cache_modifier=".cg")
            its_acc = tl.load(sums + its[:, None].to(tl.int64) * D + d[None, :], cache_modifier=".cg")
            above = tl.maximum(all_peak, its_peak)
            ground = tl.where(above == float("-inf"), 0.0, above)
            mine, other = tl.exp(all_peak - ground), tl.exp(its_peak - ground)
            all_total = all_total * mine + its_total * other
            all_acc = all_acc * mine[:, None] + its_acc * other[:, None]
            all_peak = above
        result = tl.where(all_total[:, None] == 0.0, 0.0, all_acc / all_total[:, None])
        tl.store(out + head[:, None] * D + d[None, :], result.to(out.dtype.element_ty), mask=live[:, None])
        tl.store(arrived + tile, 0)
