"""The report as one HTML file for people: works offline, without script."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jinja2

from conformance.catalogue import sort_key
from conformance.report import Clause, ConformanceReport


def render(report: ConformanceReport) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("conformance", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("report.html.j2")
    return template.render(report=report, sections=list(_sections(report)))


def _sections(report: ConformanceReport) -> Iterator[tuple[str, list[Clause]]]:
    """Clauses by document and first number of their section."""

    def group(clause: Clause) -> tuple[str, str]:
        return clause.document, clause.section.partition(".")[0]

    ordered = sorted(report.spec_clauses, key=lambda one: (one.document, sort_key(one.section), one.id))
    for (document, section), clauses in itertools.groupby(ordered, group):
        yield f"{document}, section {section}", list(clauses)
