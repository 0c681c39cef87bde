"""NCCL with one process, under the variables of torchrun."""

import socket

import pytest

torch = pytest.importorskip("torch")

from diagplan.training.parallel import Workers, joined  # noqa: E402
from tests.support.cuda import needs_cuda  # noqa: E402

pytestmark = needs_cuda


def test_one_process_of_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with joined("cuda") as (workers, device):
        assert workers == Workers(rank=0, count=1)
        assert torch.device(device).type == "cuda"
        assert torch.distributed.get_backend() == "nccl"
        one = torch.full((3,), 2.0, device=device)
        torch.distributed.all_reduce(one)
        workers.wait()
        assert one.tolist() == [2.0] * 3
