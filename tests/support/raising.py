"""A module of a third party that cannot be imported here, with an error of its own."""

raise RuntimeError("no such driver")
