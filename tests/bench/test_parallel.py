"""The calculation of passes over several GPUs: by hand for round sizes, and the page's table is the command's."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from bench.parallel import estimate, main
from diagplan.adapters.cosmos_config import CosmosConfig
from diagplan.planner.roofline import Device

CONFIG = CosmosConfig(
    dim=64, n_layers=2, n_heads=4, n_kv_heads=4, ffn_hidden_size=128, vocab_size=100, video_latent_shape=(2, 4, 4)
)


def test_a_pass_by_hand() -> None:
    device = Device("slow", bytes_per_second=1e3, flops=1e12, source="made")
    layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64 + 2 * 16  # matrices and norms
    read = 2 * (2 * layer + 64 + 100 * 64)
    one = estimate(CONFIG, 1, 3, 10, device, link=1e6, latency=1.0)
    assert one.compute == pytest.approx((read + 2 * 2 * 4 * 16 * 2 * 10) / 1e3)
    assert one.collectives == 0
    two = estimate(CONFIG, 2, 3, 10, device, link=1e6, latency=1.0)
    sums, joined = 5 * 3 * 64 * 2, 3 * 100 * 2
    assert two.collectives == pytest.approx(6 + (sums + joined / 2) / 1e6)
    assert one.compute / 2 < two.compute < one.compute * 0.52  # norms are whole on both
    assert two.gigabytes < one.gigabytes


def test_the_pages_table_is_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    printed = set(capsys.readouterr().out.splitlines())
    page = (Path(__file__).parents[2] / "docs" / "many.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in page if line.startswith("| cosmos-1")]
    assert len(rows) == 8
    assert set(rows) <= printed
