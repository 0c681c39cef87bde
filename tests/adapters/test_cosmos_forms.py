"""A rank's part of a Cosmos from every form of file; of shards a rank reads its own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.cosmos_files import checked_cosmos  # noqa: E402
from diagplan.adapters.cosmos_forms import open_cosmos  # noqa: E402
from diagplan.adapters.parallel_cuts import Cut  # noqa: E402
from diagplan.adapters.parallel_parts import cosmos_part  # noqa: E402
from diagplan.adapters.weights import Checkpoint  # noqa: E402
from tests.support.cosmos_forms import FORMS, write_form  # noqa: E402
from tests.support.cosmos_golden import golden  # noqa: E402


@pytest.mark.parametrize("form", FORMS)
def test_parts_from_every_file_form(form: str, tmp_path: Path) -> None:
    case = golden("b")
    weights = case.weights()
    checkpoint, config, names = checked_cosmos(write_form(form, case, tmp_path), case.config)
    for rank, world in ((0, 2), (1, 2), (2, 4)):
        cuts = cosmos_part(config, SimpleNamespace(rank=rank, world=world)).cuts
        for name, cut in cuts.items():
            assert torch.equal(checkpoint.read(names[name], cut=cut), cut.of(weights[name])), name
    columns = Cut(1, ((1, 3), (5, 6)))  # across what a shard, or a joined matrix, is cut along
    w1 = "layers.0.feed_forward.w1.weight"
    assert torch.equal(checkpoint.read(names[w1], cut=columns), columns.of(weights[w1]))


def test_a_rank_reads_its_own_shard_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, read = golden("a"), []
    checkpoint = open_cosmos(write_form("tensor parallel", case, tmp_path))
    whole = Checkpoint.read

    def noted(self: Checkpoint, name: str, **options: Any) -> Any:
        read.append(self.path.name)
        return whole(self, name, **options)

    monkeypatch.setattr(Checkpoint, "read", noted)
    cuts = cosmos_part(case.config, SimpleNamespace(rank=1, world=2)).cuts
    for name, cut in cuts.items():
        checkpoint.read(f"model.{name}", cut=cut)
    assert set(read) == {"4B_model_mp_{rank}.pt", "4B_model_mp_1.pt"}
    assert len(read) == 2 * len(cuts)
