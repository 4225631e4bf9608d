"""Which job of a fleet is next: one at a time on a host, retries, and results that others wait for.

Decides only: :func:`drive` asks it, and has a :class:`Crew` do the jobs. Threads do them for users, a
simulated clock in tests and in ``tools/simulate_fleet``; the decisions are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from deploy_nas.core.errors import DeployNASError, TargetError

PARALLEL = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job, and what it has to do with others.

    Args:
        name: its own.
        host: the machine it runs on; one job at a time runs there.
        offers: names under which its result is of use to other jobs.
        like: the offer it starts from, which makes it short.
        alone: whether it may run without that offer, in full, while no other job does so for the same offer.
    """

    name: str
    host: str
    offers: tuple[str, ...] = ()
    like: str | None = None
    alone: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """How often a job is tried, and how long after a failure; the wait doubles each time.

    Args:
        tries: in all.
        wait_s: after the first failure.
        most_s: longest wait.
        patience_s: how long jobs wait for one that runs in full, before another of them does so too.
    """

    tries: int = 4
    wait_s: float = 10.0
    most_s: float = 600.0
    patience_s: float = 2400.0

    def after_s(self, tries: int) -> float:
        """The wait after so many failures."""
        return float(min(self.most_s, self.wait_s * 2.0 ** min(tries - 1, 60)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A job that begins: what it starts from, if anything, and which try it is."""

    job: Job
    source: str | None = None
    number: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a try ended.

    Args:
        error: why it failed; ``None`` if it did not.
        again: whether another try may help.
        usable: whether others can start from its result.
    """

    error: DeployNASError | None = None
    again: bool = False
    usable: bool = True


class Crew(Protocol):
    """Does the jobs, and has the clock."""

    def now_s(self) -> float:
        """The time, in seconds from any moment."""

    def start(self, start: Start) -> None:
        """Begin a job, and return at once."""

    def wait(self, most_s: float | None) -> tuple[str, Ended] | None:
        """The next job that ends, by name, within ``most_s``; ``None``: none did."""


class Tell(Protocol):
    """Is told of each job that begins or ends."""

    def began(self, start: Start) -> None:
        """A job begins."""

    def ended(self, job: Job, ended: Ended, again_in_s: float | None, tries: int) -> None:
        """A try ended; the next is in so many seconds, ``None``: it was the last."""


@dataclass(slots=True)
class Schedule:
    """The jobs of a run, and where each stands.

    Args:
        jobs: to do, each with a name of its own; those that others wait for go first, else in this order.
        parallel: jobs at once, at most.
        retry: how failures are met.
        held: results that are there already, by offer: the name of what holds it.
    """

    jobs: Sequence[Job]
    parallel: int = PARALLEL
    retry: Retry = field(default_factory=Retry)
    held: Mapping[str, str] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    _waiting: dict[str, Job] = field(default_factory=dict)
    _running: dict[str, Job] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)
    _not_before_s: dict[str, float] = field(default_factory=dict)
    _in_full: dict[str, dict[str, float]] = field(default_factory=dict)
    _offering: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        wanted = Counter(job.like for job in self.jobs if job.like is not None)
        first = sorted(self.jobs, key=lambda job: -sum(wanted[offer] for offer in job.offers))
        self._waiting = {job.name: job for job in first}
        self._sources = dict(self.held)
        self._offering.update(offer for job in self.jobs for offer in job.offers)

    @property
    def finished(self) -> bool:
        """Whether every job has ended for good."""
        return not self._waiting and not self._running

    @property
    def idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def take(self, now_s: float) -> list[Start]:
        """The jobs that begin now."""
        starts: list[Start] = []
        busy = {job.host for job in self._running.values()}
        for job in list(self._waiting.values()):
            if len(self._running) >= self.parallel:
                break
            if job.host in busy or self._not_before_s.get(job.name, now_s) > now_s:
                continue
            source = None if job.like is None else self._sources.get(job.like)
            if job.like is not None and source is None and not self._may_go_alone(job, now_s):
                continue
            del self._waiting[job.name]
            self._running[job.name] = job
            busy.add(job.host)
            if job.like is not None and source is None:
                self._in_full.setdefault(job.like, {})[job.name] = now_s
            self.tries[job.name] += 1
            starts.append(Start(job=job, source=source, number=self.tries[job.name]))
        return starts

    def _may_go_alone(self, job: Job, now_s: float) -> bool:
        """Whether it may run in full: no other does, or the last one that began has taken very long."""
        began = self._in_full.get(job.like or "", {})
        return job.alone and all(now_s - at_s >= self.retry.patience_s for at_s in began.values())

    def wait_s(self, now_s: float) -> float | None:
        """How long until something can begin, even if nothing ends before; ``None``: nothing will."""
        if len(self._running) >= self.parallel:
            return None
        busy = {job.host for job in self._running.values()}
        times = [
            max(self._not_before_s.get(job.name, now_s), self._alone_at_s(job, now_s))
            for job in self._waiting.values()
            if job.host not in busy
        ]
        waits = [at_s - now_s for at_s in times if now_s < at_s < float("inf")]
        return min(waits, default=None)

    def _alone_at_s(self, job: Job, now_s: float) -> float:
        """When it can go as far as others are concerned; infinity: once another has ended."""
        if job.like is None or job.like in self._sources:
            return now_s
        if not job.alone:
            return float("inf")
        began = self._in_full.get(job.like, {})
        return max((at_s + self.retry.patience_s for at_s in began.values()), default=now_s)

    def end(self, name: str, ended: Ended, now_s: float) -> float | None:
        """Note how a try ended; returns in how many seconds the next one is, ``None``: this was the last."""
        job = self._running.pop(name)
        if job.like is not None:
            self._in_full.get(job.like, {}).pop(name, None)
        if ended.error is not None and ended.again and self.tries[name] < self.retry.tries:
            wait_s = self.retry.after_s(self.tries[name])
            self._not_before_s[name] = now_s + wait_s
            self._waiting[name] = job  # behind those that were not tried yet
            return wait_s
        for offer in job.offers:
            self._offering[offer] -= 1
            if ended.error is None and ended.usable:
                self._sources.setdefault(offer, name)
        return None

    def given_up(self, *, stuck: bool = False) -> list[tuple[Job, Ended]]:
        """Jobs that wait for a result that nobody will give: they end untried, and so do those behind them.

        ``stuck`` gives up all that wait: they wait for each other.
        """
        found: list[tuple[Job, Ended]] = []
        while lost := [job for job in self._waiting.values() if stuck or self._is_lost(job)]:
            for job in lost:
                del self._waiting[job.name]
                for offer in job.offers:
                    self._offering[offer] -= 1
                error = TargetError(
                    f"was not tried: there is no stable profile to carry over from {job.like!r}",
                    subject=job.name,
                    hint="see what happened there, use `allow_unstable`, or take its 'like' out",
                )
                found.append((job, Ended(error=error, usable=False)))
        return found

    def _is_lost(self, job: Job) -> bool:
        like = job.like
        return like is not None and not job.alone and like not in self._sources and self._offering[like] <= 0


def drive(schedule: Schedule, crew: Crew, tell: Tell | None = None) -> Mapping[str, Ended]:
    """Have a crew do all jobs; returns how each ended, by name."""
    found: dict[str, Ended] = {}

    def done(job: Job, ended: Ended, again_in_s: float | None) -> None:
        if again_in_s is None:
            found[job.name] = ended
        if tell is not None:
            tell.ended(job, ended, again_in_s, schedule.tries[job.name])

    jobs = {job.name: job for job in schedule.jobs}
    while True:
        for job, ended in schedule.given_up():
            done(job, ended, None)
        if schedule.finished:
            return found
        for start in schedule.take(crew.now_s()):
            if tell is not None:
                tell.began(start)
            crew.start(start)
        wait_s = schedule.wait_s(crew.now_s())
        if wait_s is None and schedule.idle:
            for job, ended in schedule.given_up(stuck=True):
                done(job, ended, None)
            continue
        one = crew.wait(wait_s)
        if one is not None:
            name, ended = one
            done(jobs[name], ended, schedule.end(name, ended, crew.now_s()))
