"""Which points no other one beats."""

from collections.abc import Sequence

Point = tuple[float, float]
"""A cost, of which less is better, and an accuracy, of which more is."""


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Places of the points than which none is at least as good in both and better in one; by ascending cost.

    Of equal points all are kept.
    """
    kept: list[int] = []
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not kept or points[place][1] > points[kept[-1]][1] or points[place] == points[kept[-1]]:
            kept.append(place)
    return kept
