"""When a run is likely to be over, from how long the last ones of its workflow took: who waits looks then, and seldom before.

Mean and deviation are kept as TCP keeps those of its round trips (RFC 6298, section 2; Jacobson and Karels, 1988).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

# Who waits for a result looks again after a tenth of the time waited so far: so much later than the end it is told at most.
LATE, SHORTEST, LONGEST = 0.1, 0.001, 0.25  # the last two in seconds
NOT_BEGUN = 0.002  # seconds: the shortest pause before a run that nobody has begun yet, which is not over in the next moment
OF_ITS_AGE = 0.01  # and no pause is shorter than this part of what the run has taken so far: nobody feels it
AT_MOST = 0.02  # seconds that one look is put off because the run is expected to take longer: so late is told who is wrong
OFTEN, CLOSEST = 0.25, 0.0003  # when it may be over any moment: pauses in deviations, and the shortest of them in seconds
LIKE_THE_LAST = 0.7  # who waits for many runs in turn waits for each about as long as for the one before: most of that in one pause
OVERDUE = 4.0  # deviations above the mean, after which nothing is expected any more
OLD, OLD_DEVIATION = 7 / 8, 3 / 4  # how much of what was known stays when another run has ended
FAR = 0.5  # a run that takes less than this part of the mean says that the mean is of other times: a queue that is gone
MOST = 1000  # workflows that are remembered


@dataclass(slots=True)
class Usual:
    """How long the runs of one workflow take: mean and mean deviation, in seconds; and how long the last was waited for."""

    mean: float
    deviation: float
    waited: float = 0.0

    def learn(self, seconds: float, waited: float = 0.0) -> None:
        """Another one has ended."""
        self.waited = waited
        if seconds < FAR * self.mean:
            self.mean, self.deviation = seconds, seconds / 2
            return
        self.deviation = OLD_DEVIATION * self.deviation + (1 - OLD_DEVIATION) * abs(self.mean - seconds)
        self.mean = OLD * self.mean + (1 - OLD) * seconds

    def pause(self, age: float, waited: float, otherwise: float) -> float:
        """Seconds until a look is worth while at a run of this age; `otherwise`, where nothing is known of it."""
        early = self.mean - self.deviation - age
        if early > 0:
            return max(min(early, max(otherwise, AT_MOST)), CLOSEST)
        otherwise = max(otherwise, min(LIKE_THE_LAST * self.waited - waited, AT_MOST))
        if age < self.mean + OVERDUE * self.deviation:
            return min(otherwise, max(OFTEN * self.deviation, CLOSEST))
        return otherwise


@dataclass(slots=True)
class Expectations:
    """What this process has seen of runs that it waited for, by workflow."""

    _usual: OrderedDict[str, Usual] = field(default_factory=OrderedDict)

    def learn(self, workflow: str, seconds: float, waited: float) -> None:
        """A run of the workflow has ended, which took so long from its start, and was waited for so long."""
        known = self._usual.get(workflow)
        if known is not None:
            known.learn(seconds, waited)
            return
        self._usual[workflow] = Usual(seconds, seconds / 2, waited)
        if len(self._usual) > MOST:
            self._usual.popitem(last=False)

    def pause(self, workflow: str, *, age: float, waited: float, begun: bool) -> float:
        """Seconds until the next look at a run of this age, by one who has waited so long."""
        steady = min(max(waited * LATE, SHORTEST if begun else NOT_BEGUN), LONGEST)
        known = self._usual.get(workflow)
        pause = steady if known is None else known.pause(age, waited, steady)
        return min(max(pause, OF_ITS_AGE * age), LONGEST)
