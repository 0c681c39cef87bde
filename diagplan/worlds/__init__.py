"""World models: a transformer, its image tokenizer and how its actions become tokens; one module a family."""

from diagplan.worlds.loading import SHIPPED, load_world
from diagplan.worlds.world import World

__all__ = ["SHIPPED", "World", "load_world"]
