"""How wide passes are while guesses hold and while they fail."""

import pytest

from diagplan.backends.window import Window, feeds_of, widths_of_window


def test_few_shapes() -> None:
    assert [feeds_of(n) for n in (1, 2, 8, 9, 36)] == [1, 8, 8, 16, 40]
    assert widths_of_window(36, 1, adaptive=False) == (36,)
    assert widths_of_window(64, 9, adaptive=True) == (9, 16, 32, 64)
    assert widths_of_window(8, 9, adaptive=True) == (8,)
    assert widths_of_window(8, 1, adaptive=True) == (1, 8)


def test_a_fixed_window_stays() -> None:
    window = Window((36,))
    for accepted in (1, 1, 1, 1, 1, 1, 36):
        window.tell(accepted, guessed_right=False)
        assert (window.width, window.one_step) == (36, False)


def test_failing_guesses_end_in_single_steps_soon() -> None:
    """Few wide passes are wasted: in a replay of hundreds of tokens they are below ten percent."""
    window, fed = Window(widths_of_window(64, 1, adaptive=True)), 0
    for _ in range(100):
        fed += feeds_of(window.width)
        window.tell(1, guessed_right=False)
    assert window.one_step
    assert fed < 100 + 200


def test_two_passes_that_accept_one_entry_are_enough() -> None:
    """But not two that accept few, nor one, nor two with another between."""
    for accepted, one_step in (((1, 1), True), ((2, 2), False), ((1,), False), ((1, 9, 1), False), ((9, 1, 1), True)):
        window = Window(widths_of_window(64, 1, adaptive=True))
        for count in accepted:
            window.tell(count, guessed_right=False)
        assert window.one_step == one_step, accepted


def test_guesses_that_hold_again_widen_the_window() -> None:
    window = Window(widths_of_window(64, 1, adaptive=True))
    while not window.one_step:
        window.tell(1, guessed_right=False)
    widths = []
    for _ in range(10):
        window.tell(window.width, guessed_right=True)
        widths.append(window.width)
    assert widths[:2] == [1, 1]
    assert widths == sorted(widths)
    assert widths[-1] == 64


def test_now_and_then_a_right_guess_does_not() -> None:
    window = Window(widths_of_window(64, 1, adaptive=True))
    for i in range(60):
        window.tell(1, guessed_right=i % 3 == 0)
    assert window.one_step


def test_attempts_that_come_to_nothing_become_rare() -> None:
    """Four right guesses in eight, but none where passes are wide: not every run of them is worth an attempt."""
    window, attempts = Window(widths_of_window(64, 1, adaptive=True)), 0
    for i in range(400):
        was_one = window.one_step
        window.tell(1, guessed_right=i % 8 < 4)
        attempts += was_one and not window.one_step
    assert 1 <= attempts <= 4
    for _ in range(30):
        window.tell(window.width, guessed_right=True)
    assert (window.width, window.attempts) == (64, 0)


@pytest.mark.parametrize("accepted", [3, 7, 14])
def test_a_window_is_some_times_what_is_accepted(accepted: int) -> None:
    window = Window(widths_of_window(128, 1, adaptive=True))
    for _ in range(20):
        window.tell(accepted, guessed_right=False)
    assert 2 * accepted <= window.width <= 6 * accepted


def test_steps_count_as_what_they_feed() -> None:
    """Passes of a diagonal plan that accept one step of nine entries have failed."""
    window = Window(widths_of_window(64, 9, adaptive=True), 9.0)
    for _ in range(12):
        window.tell(9, guessed_right=False)
    assert (window.one_step, window.width) == (True, 9)
