"""Settings for hypothesis: the same examples in every run, and no file of those that failed."""

from hypothesis import HealthCheck, settings


def repeatable(examples: int) -> settings:
    """So many examples, however long each takes. A folder that examples share is theirs to clean."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
