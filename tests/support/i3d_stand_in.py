"""TorchScript modules of I3D's form, and of another, for the tests of the Frechet Video Distance."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class StandIn(nn.Module):
    """Features are the mean colours of the first and the last frame."""

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        """As the published file: the caller has scaled everything already."""
        assert not rescale
        assert not resize
        assert return_features
        assert x.shape[1] == 3
        assert x.shape[3] == 224
        return torch.cat([x[:, :, 0].mean(dim=[2, 3]), x[:, :, -1].mean(dim=[2, 3])], dim=1)


class OtherForm(nn.Module):
    """Takes the videos alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Not what I3D takes."""
        return x


def script(module: Any, path: Path) -> Path:
    """The module as a TorchScript file at ``path``."""
    with warnings.catch_warnings():  # the published file is TorchScript, whatever torch calls it now
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return path
