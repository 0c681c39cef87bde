"""Results of a study, made by hand."""

from dataclasses import replace

from diagplan.planner.policy import Policies
from diagplan.study.results import Result


def exact_result(id_: str, ntp: Result) -> Result:
    """That of the same tokens in passes that differ from clip to clip."""
    speculation = {"window": 36, "draft": "previous-frame", "adaptive": False}
    plan = {**ntp.plan, "steps": 3.0, "speculation": speculation}
    return replace(ntp, id=id_, plan=plan, seconds={"clips": [0.25, 0.5, 0.75]}, passes=[2, 2, 5])


def result(id_: str, *, loss: float, policies: Policies | None = None) -> Result:
    """A result of three clips and two frames, made by hand."""
    chosen = policies or Policies()
    curve = [[loss, loss + 0.1], [loss + 0.2, loss + 0.3], [loss, loss]]
    plan = {"steps": 10, "tokens": 20, "frames": 2, "digest": id_}
    plan |= {"policies": {name: getattr(chosen, name) for name in Policies.__dataclass_fields__}}
    return Result(
        id=id_, bound={"seed": 0}, plan=plan, seconds={"single": [1.0, 2.0, 4.0], "batched": 3.0, "batch": 2},
        curves=dict.fromkeys(("loss", "equal_truth", "equal_ntp", "error", "ssim"), curve),
        counted=[2, 0, 2], followed=[1, 0, 2], single={"frechet_tokenizer": 0.5},
        extra={"fvd": {"of": "x", "value": 7.0}},
    )  # fmt: skip
