"""A package, so that no installed one called `tests` comes before it."""
