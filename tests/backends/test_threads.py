"""How many threads a pass takes: by size, by measurement, by the environment, as asked."""

import pytest

from diagplan.backends import threads
from diagplan.backends.threads import SMALL, choose_threads, threads_in_use, threads_of_session, usable_cpus


def timed(seconds: dict[int, float]) -> tuple[list[int], object]:
    calls: list[int] = []

    def one(number: int) -> float:
        calls.append(number)
        return seconds[number]

    return calls, one


@pytest.mark.parametrize(
    ("one", "four", "chosen"), [(1.0, 0.4, 4), (1.0, 0.84, 4), (1.0, 0.86, 1), (1.0, 1.0, 1), (1.0, 30.0, 1)]
)
def test_more_threads_where_they_are_clearly_faster(one: float, four: float, chosen: int) -> None:
    calls, measure = timed({1: one, 4: four})
    assert choose_threads(SMALL, measure, 4, {}) == chosen  # type: ignore[arg-type]
    assert calls == [1, 4] * 4  # a first pass of each, then in turn


def test_a_median_forgets_a_disturbed_pass() -> None:
    two = iter([0.5, 0.5, 9.0, 0.5])  # the first one warms up
    assert choose_threads(SMALL, lambda number: 1.0 if number == 1 else next(two), 2, {}) == 2


def test_small_models_and_single_cores_are_not_measured() -> None:
    calls, measure = timed({1: 1.0, 4: 0.1})
    assert choose_threads(SMALL - 1, measure, 4, {}) == 1  # type: ignore[arg-type]
    assert choose_threads(SMALL, measure, 1, {}) == 1  # type: ignore[arg-type]
    assert calls == []


def test_the_environment_holds() -> None:
    calls, measure = timed({1: 1.0, 4: 0.1})
    assert choose_threads(1 << 40, measure, 4, {"OMP_NUM_THREADS": "3"}) is None  # type: ignore[arg-type]
    assert calls == []


@pytest.mark.parametrize(
    ("asked", "size", "environment", "number"),
    [
        (5, 0, {"OMP_NUM_THREADS": "3"}, 5),
        ("auto", SMALL - 1, {}, 1),
        ("auto", SMALL, {}, usable_cpus()),
        (None, 0, {}, usable_cpus()),
        ("auto", SMALL, {"OMP_NUM_THREADS": "3"}, 3),
        (None, 0, {"OMP_NUM_THREADS": "nonsense"}, usable_cpus()),
        (None, 0, {"OMP_NUM_THREADS": "0"}, usable_cpus()),
    ],
)
def test_threads_of_a_session(asked: threads.Threads, size: int, environment: dict[str, str], number: int) -> None:
    assert threads_of_session(asked, size, environment) == number


def test_torchs_threads_are_set_for_a_loaded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from diagplan.examples.image_model import ImageModel

    model, before = ImageModel.random(positions=20), torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        torch.set_num_threads(before + 2)
        threads.settle_threads(model, None)
        assert torch.get_num_threads() == before + 2
        threads.settle_threads(model, before + 1)
        assert torch.get_num_threads() == before + 1
        threads.begin_with_one("auto", {"OMP_NUM_THREADS": "2"})
        threads.begin_with_one(None, {})
        assert torch.get_num_threads() == before + 1
        threads.begin_with_one("auto", {})
        assert torch.get_num_threads() == 1
        threads.begin_with_one(before + 1, {"OMP_NUM_THREADS": "2"})
        assert torch.get_num_threads() == before + 1
        threads.settle_threads(model, "auto")
        assert torch.get_num_threads() == 1
        # A large one is measured; its passes run with the numbers that are compared.
        monkeypatch.setattr(ImageModel, "weight_bytes", lambda _: SMALL)
        monkeypatch.setattr(threads, "usable_cpus", lambda: 2)
        monkeypatch.setattr("time.perf_counter", lambda: float(torch.get_num_threads() == 1))
        threads.settle_threads(model, "auto")
        assert torch.get_num_threads() == 1  # no time passes: nothing is clearly faster
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("two", "chosen"), [(0.5, 2), (0.9, 1)])
def test_a_large_model_is_timed_with_the_batch_that_it_takes(
    two: float, chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from diagplan.examples.image_model import ImageModel

    batches: list[int] = []

    class ThreeTexts(ImageModel):
        only_batch = 3

        def weight_bytes(self) -> int:
            return SMALL

        def forward(self, ids, *others):  # type: ignore[no-untyped-def]
            batches.append(len(ids))
            now[0] += {1: 1.0, 2: two}[torch.get_num_threads()]
            return super().forward(ids, *others)

    now, before = [0.0], torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "usable_cpus", lambda: 2)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    try:
        model = ThreeTexts.random(positions=20)
        threads.settle_threads(model, "auto")
        assert threads_in_use(model) == torch.get_num_threads() == chosen
    finally:
        torch.set_num_threads(before)
    assert batches == [3] * 8
