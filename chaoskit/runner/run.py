"""The story of a run: up, load, hurt, heal, drain, judge, report.

The main thread tells the story and shows it; faults run in threads of their own, so the live view never stops.
Whatever happens, the cluster is healed and removed, and what was recorded is judged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import Cluster, ClusterWish, Fault, Narrator, System
from chaoskit.errors import BedLost, ChaoskitError, HealFailed
from chaoskit.experiment.plan import Burst, FaultStep, PhaseKind, Plan, Wait
from chaoskit.history import Mark, Phase, ShardWriter
from chaoskit.history import load as load_history
from chaoskit.load.process import LoadProcess
from chaoskit.runner.injection import Injection
from chaoskit.runner.judge import Interruption, check_steady_state
from chaoskit.runner.observer import Observer
from chaoskit.runner.order import load_order, worker_environment
from chaoskit.runner.rundir import RunDir
from chaoskit.runner.scene import ClusterScene
from chaoskit.runner.stop import Stop
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names
from chaoskit.verdict import Verdict

_LOAD_READY_S = 60.0
_LIFETIME_EXTRA_S = 3600.0
_MARKER_ATTEMPT_S = 1.0
_PUMP_EVERY_S = 0.1
_FINISH_S = 10.0
_FLUSHED_S = 0.5  # a worker flushes four times a second


@dataclass(slots=True)
class Ending:
    """How a run ended, apart from what its history says."""

    interruption: Interruption = ""
    heal_failed: str = ""
    infra_failed: str = ""
    bed_lost: bool = False
    steady_state_failed: bool = False
    notes: list[str] = field(default_factory=list)


def run(
    plan: Plan, rundir: RunDir, run_id: str, narrator: Narrator, stop: Stop, binaries: Mapping[str, Path]
) -> Ending:
    """Carry out the plan; the history is on disk when this returns, and nothing else of the run is left."""
    ending = Ending()
    backend = BACKENDS[plan.cluster.backend]()
    system = SYSTEMS[plan.cluster.system](plan.cluster.version)
    try:
        with ExitStack() as cleanup:
            cleanup.callback(system.close)
            wish = ClusterWish(
                run_id=run_id,
                members=member_names(plan.cluster.members),
                version=plan.cluster.version,
                flags=plan.cluster.flags,
                run_dir=rundir.path,
                binaries=binaries,
                images=plan.cluster.images,
                image=plan.cluster.image,
                lifetime_s=2 * plan.seconds() + _LIFETIME_EXTRA_S,
            )
            with stop.at_once():
                cluster = backend.start(wish, system, narrator.say)
                cleanup.callback(cluster.close)
            story = Story(plan, rundir, run_id, narrator, stop, cluster, system, ending)
            cleanup.callback(story.close)
            story.tell()
    except HealFailed as error:
        ending.heal_failed = f"{error}; `chaoskit clean` removes it"
    except ChaoskitError as error:
        ending.bed_lost = isinstance(error, BedLost)
        ending.infra_failed = str(error)
    except KeyboardInterrupt:
        narrator.say("stopped before anything was done to the cluster")
    finally:
        narrator.end()
    ending.interruption = stop.interruption
    ending.infra_failed = ending.infra_failed or stop.failure
    return ending


class Story:
    """One run on a cluster that is up."""

    def __init__(
        self,
        plan: Plan,
        rundir: RunDir,
        run_id: str,
        narrator: Narrator,
        stop: Stop,
        cluster: Cluster,
        system: System,
        ending: Ending,
    ) -> None:
        self.plan = plan
        self.rundir = rundir
        self.narrator = narrator
        self.stop = stop
        self.cluster = cluster
        self.system = system
        self.ending = ending
        self.prefix = f"/chaoskit/{run_id}/"
        self.shard = ShardWriter(rundir.history / "controller.shard")
        self.observer = Observer(cluster, system, self.prefix, self.shard)
        self.load = LoadProcess(
            load_order(plan, run_id, self.prefix, cluster, rundir), rundir.path, worker_environment(plan, run_id)
        )
        self._active: dict[str, Injection] = {}
        self._shown_ns = 0

    def tell(self) -> None:
        """From the first operation to the last; leaves the cluster healed."""
        phases = self.plan.phases()
        self.narrator.begin(self.plan.title, [(phase.name, phase.seconds) for phase in phases])
        with self.stop.at_once():
            self.load.start()
            self.load.wait_ready(_LOAD_READY_S)
        self._mark("load_ready")
        self.load.go()
        try:
            with self._phase("warmup", "warmup", judged=False):
                self._pump(self.plan.warmup)
            self._follow_method()
        finally:
            self.cluster.heal()
        self._drain()

    # ── the method ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _follow_method(self) -> None:
        for step in self.plan.method:
            if self.stop.requested or self.ending.steady_state_failed:
                return
            match step:
                case Wait(kind="baseline"):
                    with self._phase(step.name, step.kind):
                        self._pump(step.for_)
                        self._judge_steady_state()
                case Wait():
                    with self._phase(step.name, step.kind):
                        self._pump(step.for_)
                case FaultStep():
                    self._hurt(step)
                case Burst():
                    self._burst(step)

    def _judge_steady_state(self) -> None:
        """Judge the baseline so far; without a steady state nothing is injected."""
        if self.stop.requested:
            return
        ends_ns = time.monotonic_ns()
        self._pump(_FLUSHED_S)
        self.observer.flush()
        history = load_history(self.rundir.history)
        history.phases.append(Phase("baseline", "baseline", self._begun_ns, ends_ns))
        verdict, findings = check_steady_state(history, self.plan.promises())
        unmet = "; ".join(finding.sentence for finding in findings if finding.verdict is not Verdict.PASS)
        self._mark("steady_state", detail=unmet or "met")
        if verdict is not Verdict.PASS:
            self.ending.steady_state_failed = True
            self.narrator.say(f"steady state not met, nothing is injected: {unmet}")

    def _hurt(self, step: FaultStep) -> None:
        """One fault step: its faults side by side, each in its own thread; the phase lasts from proof to proof."""
        self.narrator.phase(f"fault:{step.name}")
        injections = [self._injection(timed.name, timed.fault) for timed in step.faults]
        threads = [
            threading.Thread(target=self._inject_after, args=(timed.after, injection), name=timed.name)
            for timed, injection in zip(step.faults, injections, strict=True)
        ]
        for thread in threads:
            thread.start()
        self._pump_until(lambda: not any(thread.is_alive() for thread in threads))
        begun = [injection for injection in injections if injection.heal_began_ns]  # a stop may have come before
        for injection in begun:
            self.shard.add(injection.span())
        if begun:
            self._record_fault_phase(step.name, begun)

    def _record_fault_phase(self, name: str, injections: list[Injection]) -> None:
        """From the first proof to the last proven heal; a fault without proof has a phase that is not judged."""
        proven = all(injection.verified_ns for injection in injections)
        begins = min(
            injection.verified_ns or injection.injected_ns or injection.heal_began_ns for injection in injections
        )
        ends = max(injection.healed_ns or injection.heal_began_ns for injection in injections)
        self.shard.add(Phase(f"fault:{name}", "fault", begins, ends, judged=proven))

    def _inject_after(self, seconds: float, injection: Injection) -> None:
        if self.stop.wait(seconds):
            return
        self._active[injection.name] = injection
        injection.run()
        del self._active[injection.name]

    def _injection(self, name: str, fault: Fault) -> Injection:
        scene = ClusterScene(self.cluster, self.system, self.plan.seed, name)
        return Injection(
            name, fault, scene, self.cluster, self.stop, self.narrator.say, lambda: tuple(self._active.values())
        )

    def _burst(self, step: Burst) -> None:
        with self._phase(f"burst:{step.name}", "burst"):
            self.load.begin_burst(step.name)
            self._pump(step.for_)
            self.load.end_burst(step.name)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _drain(self) -> None:
        """No more arrivals; a last write that every watch must reach; then everything is flushed."""
        with self._phase("drain", "drain", judged=False):
            deadline = time.monotonic() + self.plan.drain
            if not self.load.poll():
                self.load.stop_arrivals()
                self._mark("load_stopped")
            revision = self._final_marker(deadline)
            while not self._caught_up(revision) and time.monotonic() < deadline and not self.load.poll():
                self._show()
                time.sleep(_PUMP_EVERY_S)
            for member in self.observer.wait_audits(revision, max(1.0, deadline - time.monotonic())):
                self.ending.notes.append(
                    f"the audit watcher of {member} did not reach revision {revision} before the drain deadline"
                )
            self._mark("drained")
            self.load.finish(_FINISH_S)

    def _final_marker(self, deadline: float) -> int:
        """The last write, tried at each member in turn; 0 when no member acknowledged it in time."""
        while time.monotonic() < deadline:
            for member, endpoint in self.cluster.direct_endpoints().items():
                revision = self.system.put(endpoint, f"{self.prefix}marker", "final", _MARKER_ATTEMPT_S)
                if revision:
                    self.shard.add(Mark("final_marker", time.monotonic_ns(), "acknowledged", revision, member))
                    return revision
        self.shard.add(Mark("final_marker", time.monotonic_ns(), "no member acknowledged it"))
        return 0

    def _caught_up(self, revision: int) -> bool:
        sample = self.load.latest()
        if sample is None:
            return False
        return not sample.in_flight and (not sample.watches_open or sample.watch_reached >= revision)

    def close(self) -> None:
        """End the worker and the observer; what they saw is on disk."""
        self.load.kill()
        self.observer.close()
        self.shard.close()

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _phase(self, name: str, kind: PhaseKind, *, judged: bool = True) -> Iterator[None]:
        self.narrator.phase(name)
        self._begun_ns = begins_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.shard.add(Phase(name, kind, begins_ns, time.monotonic_ns(), judged))

    def _pump(self, seconds: float) -> None:
        """Let the run go on for a while."""
        until = time.monotonic() + seconds
        self._pump_until(lambda: self.stop.requested or time.monotonic() >= until)

    def _pump_until(self, over: Callable[[], bool]) -> None:
        while not over():
            if reason := self.load.poll():
                self._lost_worker(reason)
            if self.observer.bed_lost:
                self.stop.fail(self.observer.bed_lost)
            self._show()
            time.sleep(_PUMP_EVERY_S)

    def _lost_worker(self, reason: str) -> None:
        if not self.stop.failure:
            self._mark("worker_lost", detail=reason)
            self.stop.fail(f"the load worker died: {reason}")

    def _show(self) -> None:
        sample = self.load.latest()
        if sample and sample.at_ns != self._shown_ns:
            self._shown_ns = sample.at_ns
            self.narrator.second(sample, self.observer.leader, tuple(self._active))

    def _mark(self, kind: str, detail: str = "") -> None:
        self.shard.add(Mark(kind, time.monotonic_ns(), detail))
