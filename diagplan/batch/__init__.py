"""Many clips: a file of jobs, workers on this machine or on Ray, each of which has the model and the plan laid out."""

from diagplan.batch.recipe import Recipe
from diagplan.batch.run import run_batch
from diagplan.batch.tally import Progress, Summary

__all__ = ["Progress", "Recipe", "Summary", "run_batch"]
