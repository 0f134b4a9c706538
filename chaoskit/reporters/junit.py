"""junit.xml: one test case per finding, so that any CI shows them.

failure: the system under test deviated. error: the test bed is to blame, or nothing can be said; a skipped case would
be green in most CIs, and unknown is never pass.
"""

from __future__ import annotations

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from chaoskit.reporters.words import headline
from chaoskit.results import Results
from chaoskit.verdict import ExitCode, Finding, Verdict

name = "junit"
file = "junit.xml"


def render(results: Results) -> str:
    """XML with one suite."""
    suite = TestSuite(results.experiment)
    suite.timestamp = results.started_at
    for key, value in _properties(results).items():
        suite.add_property(key, value)
    cases = [_case(results, finding) for finding in results.findings]
    if results.exit_code != ExitCode.PASS and not any(case.result for case in cases):
        cases.append(_whole_run(results))
    suite.add_testcases(cases)
    report = JUnitXml("chaoskit")
    report.add_testsuite(suite)
    report.update_statistics()  # type: ignore[no-untyped-call]  # junitparser has no types
    report.time = suite.time = round(results.seconds, 3)  # of the run: its findings have no times of their own
    xml: bytes = report.tostring()  # type: ignore[no-untyped-call]  # junitparser has no types
    return f"<?xml version='1.0' encoding='utf-8'?>\n{xml.decode()}\n"


def _properties(results: Results) -> dict[str, str]:
    return {
        "seed": str(results.seed),
        "run_id": results.run_id,
        "verdict": results.verdict.value,
        "exit_code": str(int(results.exit_code)),
        "chaoskit": results.chaoskit_version,
        **{f"environment.{key}": value for key, value in results.environment.items()},
    }


def _case(results: Results, finding: Finding) -> TestCase:
    case = TestCase(finding.promise, classname=f"{results.experiment}.{finding.checker}")
    if finding.verdict is not Verdict.PASS and finding.kind == "infrastructure":
        case.result = [Error(finding.sentence, finding.kind)]
    elif finding.verdict is Verdict.UNKNOWN:
        case.result = [Error(finding.sentence, "inconclusive")]
    elif finding.verdict is Verdict.FAIL:
        case.result = [Failure(finding.sentence, finding.kind)]
    for result in case.result:
        result.text = "\n".join((finding.sentence, *finding.evidence))
    if not case.result:
        case.system_out = finding.sentence
    return case


def _whole_run(results: Results) -> TestCase:
    """A run that ended badly although no finding says so must not look green: interrupted, say."""
    case = TestCase("the run itself", classname=results.experiment)
    case.result = [Error(results.summary, headline(results))]
    return case
