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
from chaoskit.contracts import Cluster, ClusterWish, Fault, Narrator, System, key_prefix
from chaoskit.errors import BedLost, ChaoskitError, HealFailed
from chaoskit.experiment.place import access_of, place_of
from chaoskit.experiment.plan import Burst, FaultStep, PhaseKind, Plan, Search, Wait
from chaoskit.history import Mark, Phase, ShardWriter
from chaoskit.history import Search as RecordedSearch
from chaoskit.history import load as load_history
from chaoskit.load.workers import Loss
from chaoskit.runner.injection import Injection
from chaoskit.runner.judge import Interruption, check_steady_state
from chaoskit.runner.observer import Observer
from chaoskit.runner.order import Elsewhere, make_load
from chaoskit.runner.rundir import RunDir
from chaoskit.runner.scene import ClusterScene
from chaoskit.runner.search import BreakWatch
from chaoskit.runner.stop import Stop
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names
from chaoskit.verdict import Verdict
from chaoskit.workloads import WORKLOADS
from chaoskit.workloads.keys import padded

_LOAD_READY_S = 120.0  # granting 50,000 leases with their keys took 36 s on two busy cores
_LIFETIME_EXTRA_S = 3600.0
_MARKER_ATTEMPT_S = 1.0
_PUMP_EVERY_S = 0.1
_FINISH_S = 10.0
_FLUSHED_S = 0.5  # a worker writes every 50 ms; on another machine it also has a way to go


@dataclass(slots=True)
class Ending:
    """How a run ended, apart from what its history says."""

    interruption: Interruption = ""
    heal_failed: str = ""
    infra_failed: str = ""
    bed_lost: bool = False
    steady_state_failed: bool = False
    load_cut_short: str = ""  # which load worker was lost, when the run was to end with it
    notes: list[str] = field(default_factory=list)
    made_of: dict[str, str] = field(default_factory=dict)  # what the cluster's servers were


def run(
    plan: Plan,
    rundir: RunDir,
    run_id: str,
    narrator: Narrator,
    stop: Stop,
    binaries: Mapping[str, Path],
    *,
    elsewhere: Elsewhere | None = None,
    web_ui_port: int = 0,
) -> Ending:
    """Carry out the plan; the history is on disk when this returns, and nothing else of the run is left. With a port,
    Locust's page is on loopback while load runs."""
    ending = Ending()
    backend = BACKENDS[plan.cluster.backend]()
    system = SYSTEMS[plan.cluster.system](plan.cluster.version, access_of(plan.cluster))
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
                needs=plan.needs(),
                clients_at=elsewhere.clients_at if elsewhere else None,
                lifetime_s=2 * plan.seconds() + _LIFETIME_EXTRA_S,
                place=place_of(plan.cluster),
            )
            with stop.at_once():
                cluster = backend.start(wish, system, narrator.say)
                cleanup.callback(cluster.close)
            ending.made_of = cluster.made_of()
            story = Story(plan, rundir, run_id, narrator, stop, cluster, system, ending, elsewhere, web_ui_port)
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
        elsewhere: Elsewhere | None,
        web_ui_port: int,
    ) -> None:
        self.plan = plan
        self.rundir = rundir
        self.narrator = narrator
        self.stop = stop
        self.cluster = cluster
        self.system = system
        self.ending = ending
        self.prefix = padded(key_prefix(run_id), plan.load.key_size)
        self.shard = ShardWriter(rundir.history / "controller.shard")
        if cluster.base_revision:
            self.shard.add(Mark("shared_cluster", time.monotonic_ns(), revision=cluster.base_revision))
        self.observer = Observer(cluster, system, self.prefix, self.shard)
        self._elsewhere = elsewhere
        self.load = make_load(plan, run_id, self.prefix, cluster, rundir, elsewhere, narrator.say, web_ui_port)
        self._web_ui_port = web_ui_port
        self._active: dict[str, Injection] = {}
        self._shown_ns = 0

    def tell(self) -> None:
        """From the first operation to the last; leaves the cluster healed."""
        phases = self.plan.phases()
        self.narrator.begin(self.plan.title, [(phase.name, phase.seconds) for phase in phases])
        with self.stop.at_once():
            for line in self._elsewhere.invitation if self._elsewhere else ():
                self.narrator.say(line)
            self.load.start()
            self.load.wait_ready(_LOAD_READY_S)
        self._mark("load_ready")
        if self._web_ui_port:
            self.narrator.say(
                f"Locust's web UI, to look at: http://127.0.0.1:{self._web_ui_port}/{self._whose_share()}"
            )
        self.load.go()
        try:
            with self._phase("warmup", "warmup", judged=False):
                self._pump(self.plan.warmup)
            self._follow_method()
        finally:
            self.cluster.heal()
        self._drain()

    def _whose_share(self) -> str:
        workers = self.plan.load.workers
        return f" (worker 0 of {workers}, its share alone)" if workers > 1 else ""

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
                case Search():
                    self._search(step)

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

    def _search(self, step: Search) -> None:
        """Raise the rate step by step until it breaks or the steps are done, then back and let it settle."""
        kind = WORKLOADS[step.workload].operations[0]
        watch = BreakWatch(kind, step.p99)
        every_ns = round(step.every * 1e9)
        begins_ns = self.load.begin_search(step.name)
        begun, stopped = 0, ""
        try:
            for begun, rate in enumerate(step.rates, start=1):
                stopped = self._search_step(step.phase(rate), rate, begins_ns + (begun - 1) * every_ns, every_ns, watch)
                if stopped or self.stop.requested:
                    break
        finally:
            self.load.end_search(step.name)
            ends_ns = time.monotonic_ns()
            stopped = stopped or ("the run was stopped" if self.stop.requested else "")
            limit_ns = round(step.p99 * 1e9)
            self.shard.add(
                RecordedSearch(step.name, kind, limit_ns, every_ns, step.rates, begun, begins_ns, ends_ns, stopped)
            )
        self.narrator.say(f"{step.name}: {f'broke, {stopped}' if stopped else 'every step was offered'}")
        with self._phase(f"settle:{step.name}", "step", judged=False):
            self._pump(step.settle)

    def _search_step(self, name: str, rate_per_s: float, begins_ns: int, every_ns: int, watch: BreakWatch) -> str:
        """One step; why the search is over, if it is. Steps follow the schedule, so that they add no time of theirs."""
        self.narrator.phase(name)
        ends_ns = begins_ns + every_ns
        watch.begin(rate_per_s, begins_ns, ends_ns)
        why = ""

        def over() -> bool:
            nonlocal why
            why = watch.add(self.load.latest())
            return bool(why) or self.stop.requested or time.monotonic_ns() >= ends_ns

        self._pump_until(over)
        self.shard.add(Phase(name, "step", begins_ns, min(max(time.monotonic_ns(), begins_ns), ends_ns), judged=False))
        return why

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
            self._note_losses(self.load.losses())

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
            self._watch_over_load()
            if self.observer.bed_lost:
                self.stop.fail(self.observer.bed_lost)
            self._show()
            time.sleep(_PUMP_EVERY_S)

    def _watch_over_load(self) -> None:
        """A lost worker's share goes to the others or the run ends early, as the experiment says."""
        losses = self.load.losses()
        self._note_losses(losses)
        if reason := self.load.poll():
            self.stop.fail(f"{'every' if self.plan.load.workers > 1 else 'the'} load worker died: {reason}")
        elif losses and self.plan.load.on_worker_loss == "inconclusive":
            self.ending.load_cut_short = "; ".join(loss.why for loss in losses)
            self.stop.cut_short()
        else:
            for loss in losses:
                others = ", ".join(map(str, self.load.redistribute(loss.worker)))
                self._mark("share_redistributed", f"the share of worker {loss.worker} went to {others}", loss.worker)
                self.narrator.say(f"the share of load worker {loss.worker} went to worker {others}")

    def _note_losses(self, losses: list[Loss]) -> None:
        for loss in losses:
            self._mark("worker_lost", loss.why, loss.worker)
            self.narrator.say(f"load worker lost: {loss.why}")

    def _show(self) -> None:
        sample = self.load.latest()
        if sample and sample.at_ns != self._shown_ns:
            self._shown_ns = sample.at_ns
            self.narrator.second(sample, self.observer.leader, tuple(self._active))

    def _mark(self, kind: str, detail: str = "", worker: int | None = None) -> None:
        self.shard.add(Mark(kind, time.monotonic_ns(), detail, worker=worker))
