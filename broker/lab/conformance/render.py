"""Render: the report for other programs and for people who were not there: JUnit XML, and one page of HTML.

Refuses: to let a word of the report become markup.
Keeps: the page needs no other file and loads nothing; it is told in one language, and says which.
Source: the JUnit XML that CI systems read (testsuites, testsuite, testcase, failure, skipped).
"""

from html import escape
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from broker.lab.conformance.report import Report, Result, Verdict
from broker.lab.conformance.words import Words

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d1d1f}"
    "h2{border-top:1px solid #ccc;padding-top:1rem}dt{font-weight:600}"
    ".passed{color:#0a6b2d}.failed{color:#a4001d}.skipped{color:#595959}"
)


def junit(report: Report, words: Words) -> bytes:
    """One test suite for each role that was played."""
    root = Element("testsuites", name="unefois conformance")
    for role in dict.fromkeys(one.role for one in report.results):
        of = [one for one in report.results if one.role == role]
        counts = {verdict: sum(one.verdict is verdict for one in of) for verdict in Verdict}
        suite = SubElement(
            root,
            "testsuite",
            name=role,
            tests=str(len(of)),
            failures=str(counts[Verdict.FAILED]),
            errors="0",
            skipped=str(counts[Verdict.SKIPPED]),
            time=f"{sum(one.seconds for one in of):.2f}",
        )
        for one in of:
            case = SubElement(suite, "testcase", classname=f"conformance.{role}", name=one.case)
            case.set("time", f"{one.seconds:.2f}")
            _end(case, one, words)
    indent(root)
    told: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return told + b"\n"


def _end(case: Element, result: Result, words: Words) -> None:
    if result.skipped is not None:
        SubElement(case, "skipped", message=result.skipped)
    if result.findings:
        wrong = [words.finding(one) for one in result.findings]
        failure = SubElement(case, "failure", message=wrong[0], type=result.findings[0].key)
        failure.text = "\n".join([*wrong, words.case(result.case, "remedy")])


def html(report: Report, words: Words, version: str) -> bytes:
    """The page."""
    title = escape(words.say("title"))
    parts = [
        f'<!doctype html><html lang="{words.language}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>{title}</h1><p><strong>{escape(verdict(report, words))}</strong></p><p>unefois {escape(version)}</p>",
        *(_section(one, words) for one in report.results),
        "</main></body></html>\n",
    ]
    return "\n".join(parts).encode()


def _section(result: Result, words: Words) -> str:
    ended = result.verdict.value
    said = [(words.say("proves"), [words.case(result.case, "proves")])]
    if result.skipped is not None:
        said.append((words.say("skipped"), [result.skipped]))
    if result.findings:
        said.append((words.say("wrong"), [words.finding(one) for one in result.findings]))
        said.append((words.say("remedy"), [words.case(result.case, "remedy")]))
    told = "".join(
        f"<dt>{escape(name)}</dt>{''.join(f'<dd>{escape(one)}</dd>' for one in texts)}" for name, texts in said
    )
    head = f"{escape(words.say(result.role))}: {escape(words.case(result.case, 'title'))}"
    return (
        f'<section id="{escape(result.case)}"><h2>{head} <span class="{ended}">{escape(words.say(ended))}</span></h2>'
        f"<dl>{told}</dl></section>"
    )


def verdict(report: Report, words: Words) -> str:
    """The report in one sentence."""
    passed, failed, skipped = (report.count(one) for one in Verdict)
    if report.good:
        return words.say("good", passed=passed, skipped=skipped)
    return words.say("bad", failed=failed, count=len(report.results))
