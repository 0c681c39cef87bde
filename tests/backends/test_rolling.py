"""Rolling windows: WHAM's golden rollout, MC-AR beyond its context, and what tokens do not depend on."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, compile_plan, replay  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.adapters.wham import Wham, random_weights  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.rolling import roll  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from diagplan.backends.torch_graphs import StaticPasses  # noqa: E402
from diagplan.planner.rollout import compile_rollout  # noqa: E402
from diagplan.planner.speculation import Speculation  # noqa: E402
from tests.support.wham import CONFIG, DATA, golden_model  # noqa: E402

RNG = np.random.default_rng(4)
IMAGES = DATA["images_tokens"].reshape(2, 4, 3, 4)
#: Of the four given frames, then the forced ones of the generated frames but for the last.
ACTIONS = np.concatenate([DATA["action_tokens"], DATA["rollout/forced_action_tokens"]], axis=1)[:, :7] + 32
SAMPLER = Sample(temperature=1.2)


def small_mc_ar(frames: int = 3, **more: Any) -> McAr:
    config = McArConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=40, image_vocab=33, max_position_embeddings=frames * 14, rows=3, cols=4, action_tokens=2, **more,
    )  # fmt: skip
    return McAr.random(config, dtype=torch.float64, seed=5)


MC_AR = Layout(frames=1, rows=3, cols=4, prompt_frames=2, between_frames=2)
PROMPT, BLOCKS = RNG.integers(0, 33, (2, 3, 3, 4)), RNG.integers(33, 40, (2, 9, 2))


def by_hand(model: McAr, prompt: np.ndarray, blocks: np.ndarray, frames: int) -> np.ndarray:
    """Next-token prediction without cache or plan: each token from a causal pass over the last two frames."""
    video = [frame.ravel() for frame in prompt]
    for _ in range(frames):
        first = len(video) - 2
        ids = np.concatenate([np.r_[video[first + i], blocks[first + i]] for i in range(2)])
        for _ in range(12):
            n = len(ids)
            slots, mask = torch.arange(n), torch.ones((n, n), dtype=torch.bool).tril()
            logits = model.forward(torch.from_numpy(ids)[None], slots, slots, mask, model.new_cache(1, n))
            ids = np.r_[ids, int(logits[0, -1, :33].argmax())]
        video.append(ids[-12:])
    return np.stack(video[-frames:]).reshape(frames, 3, 4)


def test_golden_rollout() -> None:
    rollout = compile_rollout(CONFIG.layout(), NextToken(), frames=4, prompt_frames=4)
    rolled = roll(rollout, golden_model(), IMAGES, ACTIONS)
    np.testing.assert_array_equal(rolled.tokens.reshape(2, 4, 12), DATA["rollout/image_tokens"])
    assert (rolled.windows, rolled.complete) == (4, True)
    assert 0 < rolled.prefill_seconds < rolled.seconds
    one = roll(rollout, golden_model(), IMAGES[1], ACTIONS[1])
    np.testing.assert_array_equal(one.tokens[0], rolled.tokens[1])


def test_mc_ar_beyond_its_context() -> None:
    model = small_mc_ar()
    rollout = compile_rollout(MC_AR, NextToken(), frames=5)
    rolled = roll(rollout, model, PROMPT[:, :2], BLOCKS[:, :6])
    for sample in range(2):
        want = by_hand(model, PROMPT[sample, :2], BLOCKS[sample], 5)
        np.testing.assert_array_equal(rolled.tokens[sample], want)
    # Without a window this video is too long.
    with pytest.raises(MismatchError, match="expected a plan of at most 42 positions"):
        replay(compile_plan(replace(MC_AR, frames=5), NextToken()), model, PROMPT[:, :2], BLOCKS[:, :6])


@pytest.mark.parametrize("schedule", [Diagonal(k=1), Diagonal(k=2, d=3)], ids=repr)
@pytest.mark.parametrize("static", [False, True])
def test_a_video_of_one_window_is_one_replay(schedule: Diagonal, static: bool) -> None:
    model = small_mc_ar(frames=5)
    window = replace(MC_AR, frames=3)
    plan = compile_plan(replace(window, prompt_frames=1, frames=4), schedule)
    want = replay(plan, model, PROMPT[:, :1], BLOCKS[:, :4], sampler=SAMPLER, seed=3)
    rollout = compile_rollout(window, schedule, frames=4, prompt_frames=1)
    assert len(rollout.windows) == 1
    got = roll(rollout, model, PROMPT[:, :1], BLOCKS[:, :4], sampler=SAMPLER, seed=3, static=static)
    np.testing.assert_array_equal(got.tokens, want)


@pytest.mark.parametrize("sampler", [Greedy(), SAMPLER], ids=repr)
def test_frames_do_not_depend_on_what_follows_or_on_the_batch(sampler: Any) -> None:
    model, window = small_mc_ar(frames=4), replace(MC_AR, frames=2)

    def tokens(frames: int, rows: slice, **options: Any) -> np.ndarray:
        rollout = compile_rollout(window, Diagonal(k=1, d=2), frames=frames, prompt_frames=3)
        blocks = BLOCKS[rows, : frames + 2]
        return roll(rollout, model, PROMPT[rows], blocks, sampler=sampler, seed=8, **options).tokens

    whole = tokens(7, slice(0, 2))
    for frames in range(1, 7):
        np.testing.assert_array_equal(tokens(frames, slice(0, 2)), whole[:, :frames])
    np.testing.assert_array_equal(tokens(7, slice(0, 1)), whole[:1])
    np.testing.assert_array_equal(tokens(7, slice(0, 2), static=True), whole)
    np.testing.assert_array_equal(tokens(7, slice(0, 2), chunk=5), whole)
    np.testing.assert_array_equal(tokens(7, slice(1, 2), samples=[1]), whole[1:])


def test_each_sample_may_have_a_seed_of_its_own() -> None:
    model = small_mc_ar(frames=4)
    rollout = compile_rollout(replace(MC_AR, frames=2), Diagonal(k=1, d=2), frames=5, prompt_frames=3)

    def tokens(rows: slice, seed: Any) -> np.ndarray:
        numbers = [0] * len(PROMPT[rows])
        return roll(rollout, model, PROMPT[rows], BLOCKS[rows, :7], sampler=SAMPLER, seed=seed, samples=numbers).tokens

    both = tokens(slice(0, 2), [3, 8])
    np.testing.assert_array_equal(both[:1], tokens(slice(0, 1), 3))
    np.testing.assert_array_equal(both[1:], tokens(slice(1, 2), 8))


def test_noise_belongs_to_the_frame_not_to_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that sees nothing but the last token, which no self-test would let pass: any window gives one video."""
    monkeypatch.setattr("diagplan.backends.rolling.require_tested", lambda _: None)
    weights = random_weights(CONFIG, dtype=torch.float64)
    for name, weight in weights.items():
        if "c_proj" in name or "wpe" in name:
            weight.zero_()
    model = Wham(CONFIG, weights)
    videos = []
    for kept, frames in ((3, 1), (2, 2), (1, 3), (1, 1), (2, 1)):
        window = replace(CONFIG.layout(), prompt_frames=kept, frames=frames)
        rollout = compile_rollout(window, NextToken(), frames=6, prompt_frames=1)
        videos.append(roll(rollout, model, IMAGES[:, :1], ACTIONS[:, :6], sampler=SAMPLER, seed=2).tokens)
    for video in videos[1:]:
        np.testing.assert_array_equal(video, videos[0])
    assert len({frame.tobytes() for frame in videos[0][0]}) == 6


def test_frames_are_handed_out_and_actions_asked_for_in_turn() -> None:
    rollout = compile_rollout(MC_AR, Diagonal(k=2), frames=4, prompt_frames=3)
    events: list[tuple[str, int]] = []
    frames = {}

    def on_frame(frame: int, tokens: np.ndarray) -> None:
        events.append(("frame", frame))
        frames[frame] = tokens.copy()

    def action(gap: int) -> np.ndarray:
        events.append(("action", gap))
        return np.asarray(BLOCKS[0, gap])

    rolled = roll(rollout, small_mc_ar(), PROMPT, action, on_frame=on_frame)
    want: list[tuple[str, int]] = [("action", 0), ("action", 1), ("action", 2), ("frame", 0)]
    for frame in range(1, 4):
        want += [("action", 2 + frame), ("frame", frame)]
    assert events == want
    for frame in range(4):
        np.testing.assert_array_equal(frames[frame], rolled.tokens[:, frame])
    known = roll(rollout, small_mc_ar(), PROMPT, BLOCKS[0, :6])
    np.testing.assert_array_equal(rolled.tokens, known.tokens)


def test_whams_own_actions_close_the_loop() -> None:
    """Frames and actions both by the model: each action is chosen after the frame it belongs to."""
    model, policy = golden_model(), golden_model().policy()
    video = {i: IMAGES[:, i] for i in range(4)}
    chosen = {i: ACTIONS[:, i] for i in range(3)}

    def action(gap: int) -> np.ndarray:
        if gap not in chosen:
            seen = range(gap - 3, gap)
            before = [ids for i in seen for ids in (video[i].reshape(2, -1), chosen[i])]
            given = np.concatenate([*before, video[gap].reshape(2, -1)], axis=1)
            chosen[gap] = replay(compile_plan(CONFIG.action_layout(4), NextToken()), policy, given=given).reshape(2, -1)
        return chosen[gap]

    rollout = compile_rollout(CONFIG.layout(), NextToken(), frames=5, prompt_frames=4)
    rolled = roll(rollout, model, IMAGES, action, on_frame=lambda i, tokens: video.update({4 + i: tokens.copy()}))
    blocks = np.stack([chosen[i] for i in range(8)], axis=1)
    for (low, high), column in zip(CONFIG.action_ranges(), blocks.reshape(-1, 4).T, strict=True):
        assert ((low <= column) & (column < high)).all()
    np.testing.assert_array_equal(roll(rollout, model, IMAGES, blocks).tokens, rolled.tokens)


def test_cancelling_ends_within_a_window() -> None:
    rollout = compile_rollout(MC_AR, NextToken(), frames=4)
    steps = iter(range(10**6))
    rolled = roll(rollout, small_mc_ar(), PROMPT[0, :2], BLOCKS[0, :5], cancelled=lambda: next(steps) == 16)
    assert (rolled.windows, rolled.complete) == (1, False)
    assert (rolled.tokens[0, 0] >= 0).all()
    assert (rolled.tokens[0, 1] >= 0).sum() == 5
    assert (rolled.tokens[0, 2:] == -1).all()


def test_what_does_not_fit_is_refused() -> None:
    rollout, model = compile_rollout(MC_AR, NextToken(), frames=2), small_mc_ar()
    prompt, blocks = PROMPT[0, :2], BLOCKS[0, :3]
    for wrong_prompt, wrong_blocks, message in (
        (PROMPT[0], blocks, "expected prompt of shape [2, 3, 4]"),
        (prompt, BLOCKS[0, :4], "expected actions of shape [3, 2]"),
        (prompt, None, "expected actions of shape [3, 2], got none."),
        (PROMPT[:, :2], np.repeat(blocks[None], 3, axis=0), "expected as many prompts as actions, got 2 and 3."),
        (prompt, lambda _: blocks[:, :1], "expected an action of shape [2]"),
        (prompt, lambda gap: BLOCKS[:, gap], "expected an action for all samples or for 1, got 2."),
        (prompt + 99, blocks, "expected given ids from 0 to 39"),
    ):
        with pytest.raises(MismatchError, match=re.escape(message)):
            roll(rollout, model, wrong_prompt, wrong_blocks)
    with pytest.raises(MismatchError, match="expected a plan of at most 28 positions"):
        roll(rollout, small_mc_ar(frames=2), prompt, blocks)
    lead = compile_rollout(replace(MC_AR, lead=1), NextToken(), frames=2)
    with pytest.raises(MismatchError, match="expected a layout of frames and actions only"):
        roll(lead, model, prompt, blocks)
    empty = replace(MC_AR, between_frames=0)
    rolled = roll(compile_rollout(empty, NextToken(), frames=3), model, prompt)
    assert rolled.tokens.shape == (1, 3, 3, 4)


def test_a_rollout_of_another_grid() -> None:
    """As many positions, but not where this model's are."""
    turned = compile_rollout(replace(MC_AR, rows=4, cols=3), NextToken(), frames=2)
    with pytest.raises(MismatchError, match="expected a plan of 3 x 4 tokens a frame and 2 between frames"):
        roll(turned, small_mc_ar(rope="3d"), np.zeros((2, 4, 3), dtype=np.int64), BLOCKS[0, :3])


@pytest.mark.parametrize("sampler", [Greedy(), SAMPLER])
@pytest.mark.parametrize("speculation", [Speculation(window=6), Speculation(window=20, adaptive=True), "auto"])
def test_speculation_gives_the_same_video(sampler: Any, speculation: Any) -> None:
    """Windows of different plans, each with the noise of the whole video; actions asked for as they are needed."""
    model = small_mc_ar()
    rollout = compile_rollout(MC_AR, NextToken(), frames=5, prompt_frames=3)
    want = roll(rollout, model, PROMPT, BLOCKS[:, :7], sampler=sampler, seed=3)
    told: list[int] = []
    frames: list[int] = []
    got = roll(
        rollout, model, PROMPT, lambda i: BLOCKS[:, i], sampler=sampler, seed=3, speculation=speculation,
        on_pass=told.append, on_frame=lambda frame, _: frames.append(frame),
    )  # fmt: skip
    np.testing.assert_array_equal(got.tokens, want.tokens)
    assert want.passes == rollout.cost().passes == told[-1]
    assert len(told) == got.passes < want.passes
    assert told == sorted(told)
    assert frames == list(range(5))
    assert 0 < got.prefill_seconds < got.seconds
    rolled = roll(rollout, model, PROMPT, BLOCKS[:, :7], speculation=Speculation(window=9), cancelled=lambda: True)
    assert (rolled.complete, rolled.passes) == (False, 1)


@pytest.mark.parametrize("sampler", [Greedy(), SAMPLER], ids=repr)
def test_windows_of_a_plan_share_what_runs_their_passes(sampler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU these are graphs, which take longer to capture than a window to replay; the tokens stay the same."""
    runners: set[int] = set()
    advance = StaticPasses.advance

    def counted(self: StaticPasses, number: int) -> None:
        runners.add(id(self))
        advance(self, number)

    monkeypatch.setattr(StaticPasses, "advance", counted)
    rollout = compile_rollout(MC_AR, Diagonal(k=2), frames=6, prompt_frames=2)
    options: dict[str, Any] = {"sampler": sampler, "seed": 3}
    model = small_mc_ar()
    want = roll(rollout, model, PROMPT[:, :2], BLOCKS[:, :7], static=False, **options).tokens
    assert runners == set()
    got = roll(rollout, model, PROMPT[:, :2], BLOCKS[:, :7], static=True, **options)
    np.testing.assert_array_equal(got.tokens, want)
    assert got.windows == 6
    assert len(runners) == len({id(rollout.plan_of(window)) for window in rollout.windows}) < 6
