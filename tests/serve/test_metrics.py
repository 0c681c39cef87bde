"""Counters as Prometheus reads them."""

import re

from diagplan.serve.metrics import Histogram, Metrics

LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"{}]+"\})? [0-9.e+-]+')


def test_the_page() -> None:
    metrics = Metrics()
    metrics.accept()
    metrics.begin(3, [0.01, 0.2, 99.0])
    metrics.batch(1.5)
    metrics.end("done", 2.0, tokens=1_000_000_007, frames=2, passes=12.5)
    metrics.end("wrong", 0.1)
    metrics.answer(202)
    metrics.answer(202)
    metrics.answer(429)
    text = metrics.text({"queued": 4, "running": 3}, workers=1, free=123_456_789_012)
    lines = text.splitlines()
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    assert text.endswith("\n")
    for line in lines:
        assert line.startswith(("# HELP ", "# TYPE ")) or LINE.fullmatch(line), line
    for wanted in (
        'diagplan_jobs{state="queued"} 4', "diagplan_queue_length 4", "diagplan_jobs_accepted_total 1",
        'diagplan_jobs_ended_total{state="done"} 1', "diagplan_tokens_total 1000000007", "diagplan_passes_total 12.5",
        "diagplan_disk_free_bytes 123456789012", 'diagplan_http_responses_total{code="202"} 2',
        'diagplan_queue_seconds_bucket{le="0.05"} 1', 'diagplan_queue_seconds_bucket{le="+Inf"} 3',
        "diagplan_job_seconds_count 2", 'diagplan_batch_size_bucket{le="4"} 1', "diagplan_batch_size_sum 3",
    ):  # fmt: skip
        assert wanted in lines
    assert kinds["diagplan_batch_size"] == "histogram"
    assert kinds["diagplan_jobs"] == "gauge"
    named = {line.partition("{")[0].partition(" ")[0] for line in lines if not line.startswith("#")}
    assert {re.sub("_(bucket|sum|count)$", "", name) if name not in kinds else name for name in named} == set(kinds)


def test_values_on_a_bound_belong_below_it() -> None:
    held = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        held.add(value)
    assert list(held.lines("n"))[:3] == ['n_bucket{le="1"} 2', 'n_bucket{le="2"} 3', 'n_bucket{le="+Inf"} 4']
    assert (held.count, held.sum) == (4, 10.0)
