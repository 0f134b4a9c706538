"""History → findings: one guarantee family is one file and one entry here. They run in this order."""

from __future__ import annotations

from chaoskit.checkers.answers import AnswersChecker
from chaoskit.checkers.evidence import EvidenceChecker
from chaoskit.checkers.fault import FaultChecker
from chaoskit.checkers.generator import GeneratorChecker
from chaoskit.checkers.knee import KneeChecker
from chaoskit.checkers.lease import LeaseChecker
from chaoskit.checkers.log_agreement import LogAgreementChecker
from chaoskit.checkers.slo import SloChecker
from chaoskit.checkers.steady_state import SteadyStateChecker
from chaoskit.checkers.watch import WatchChecker
from chaoskit.contracts import Checker

CHECKERS: dict[str, Checker] = {
    "evidence": EvidenceChecker(),
    "steady-state": SteadyStateChecker(),
    "fault": FaultChecker(),
    "generator": GeneratorChecker(),
    "knee": KneeChecker(),
    "log": LogAgreementChecker(),
    "answers": AnswersChecker(),
    "watch": WatchChecker(),
    "lease": LeaseChecker(),
    "slo": SloChecker(),
}
