"""stats - medians, spread, bootstrap intervals, verdicts.

Knows numbers alone: no row, no allocator. All randomness is seeded, so that a report made twice
from one file is the same.
"""
import math
import random

LEVEL = 0.95
RESAMPLES = 1000
LEAST_ROUNDS = 3     # below that there is no interval, and so no verdict

AHEAD, BEHIND, SAME, UNKNOWN = "ahead", "behind", "not distinguishable", "too few rounds"


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def spread(values):
    """(largest - smallest) / median; None for fewer than two values or a median of 0."""
    if len(values) < 2 or not median(values):
        return None
    return (max(values) - min(values)) / median(values)


def percentile(ordered, share):
    """Of a sorted list, between its elements."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def interval_of(draws, level=LEVEL):
    draws = sorted(draws)
    rest = (1 - level) / 2
    return percentile(draws, rest), percentile(draws, 1 - rest)


def draws_ratio(above, below, seed, count=RESAMPLES):
    """COUNT resampled ratios of medians.

    Where both lists are of the same rounds they are resampled together: a drift of the machine met
    both alike.
    """
    rng = random.Random(str(seed))
    paired = len(above) == len(below)
    draws = []
    for _ in range(count):
        a = [rng.randrange(len(above)) for _ in above]
        b = a if paired else [rng.randrange(len(below)) for _ in below]
        draws.append(median([above[i] for i in a]) / median([below[i] for i in b]))
    return draws


def draws_alone(values, seed, count=RESAMPLES):
    """COUNT resampled medians."""
    rng = random.Random(str(seed))
    return [median(rng.choices(values, k=len(values))) for _ in range(count)]


class Ratio:
    """A ratio of medians with its interval (None, None where there are too few rounds)."""

    def __init__(self, value, low=None, high=None, rounds=0):
        self.value, self.low, self.high, self.rounds = value, low, high, rounds

    def inverse(self):
        if self.low is None:
            return Ratio(1 / self.value, rounds=self.rounds)
        return Ratio(1 / self.value, 1 / self.high, 1 / self.low, self.rounds)

    def verdict(self, noise=0.0):
        """NOISE: how far apart the same allocator was from itself, as |ratio - 1|."""
        if self.low is None:
            return UNKNOWN
        if self.low <= 1 <= self.high or abs(math.log(self.value)) <= math.log1p(noise or 0):
            return SAME
        return AHEAD if self.value > 1 else BEHIND

    def as_dict(self):
        return {"value": self.value, "low": self.low, "high": self.high, "rounds": self.rounds}


def usable(values):
    return bool(values) and all(v is not None and v > 0 for v in values)


def ratio(above, below, seed, level=LEVEL):
    """Ratio of median(ABOVE) to median(BELOW), or None where one of them has no figures."""
    if not usable(above) or not usable(below):
        return None
    value = median(above) / median(below)
    rounds = min(len(above), len(below))
    if rounds < LEAST_ROUNDS:
        return Ratio(value, rounds=rounds)
    low, high = interval_of(draws_ratio(above, below, seed), level)
    return Ratio(value, low, high, rounds)


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def geometric_ratio(pairs, seed, level=LEVEL):
    """Geometric mean of the ratios of PAIRS [(above, below)], resampled inside each; or None."""
    pairs = [(a, b) for a, b in pairs if usable(a) and usable(b)]
    if not pairs:
        return None
    value = geometric_mean([median(a) / median(b) for a, b in pairs])
    rounds = min(min(len(a), len(b)) for a, b in pairs)
    if rounds < LEAST_ROUNDS:
        return Ratio(value, rounds=rounds)
    columns = [draws_ratio(a, b, f"{seed}/{i}") for i, (a, b) in enumerate(pairs)]
    low, high = interval_of([geometric_mean(row) for row in zip(*columns)], level)
    return Ratio(value, low, high, rounds)
