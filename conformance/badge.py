"""A badge for a README: an SVG that says the result of each profile, and carries the report's digest.

The digest is in the picture's description and its tooltip: whoever has the report can check that the badge
speaks of it (``conformance.report.read`` recomputes it).
"""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from conformance.report import ConformanceReport

_COLOURS = {"success": "#1a7f37", "partial": "#9a6700", "failure": "#cf222e"}
_CHARACTER = 6.6
_HEIGHT = 20


def results(report: ConformanceReport) -> dict[str, str]:
    """``{profile: result}``; the worse of core and extended."""
    order = ("failure", "partial", "success")
    return {
        profile.name: next(
            result
            for result in order
            if result in (profile.core.result, profile.extended.result if profile.extended else "")
        )
        for profile in report.profiles
    }


def render(report: ConformanceReport) -> str:
    """The picture: the standard's version at the left, what is met at the right."""
    found = results(report)
    worst = next(word for word in ("failure", "partial", "success") if word in found.values())
    met = [name for name, result in found.items() if result == "success"]
    words = {"success": ", ".join(met), "partial": f"{len(met)} of {len(found)} profiles in full"}
    right = words.get(worst, "not conformant")
    left = f"multi-network {report.spec_version}"
    widths = [len(text) * _CHARACTER + 12 for text in (left, right)]
    about = report.implementation
    title = f"{about.project} {about.version} ({report.mode}), {report.date[:10]}, {report.digest}"
    total = sum(widths)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total:.0f}" height="{_HEIGHT}" role="img"'
        f" aria-label={quoteattr(f'{left}: {right}')}>\n"
        f"<title>{escape(title)}</title>\n<desc>{escape(report.digest)}</desc>\n"
        f'<rect width="{widths[0]:.1f}" height="{_HEIGHT}" fill="#424a53"/>\n'
        f'<rect x="{widths[0]:.1f}" width="{widths[1]:.1f}" height="{_HEIGHT}" fill="{_COLOURS[worst]}"/>\n'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">\n'
        f'<text x="6" y="14">{escape(left)}</text>\n'
        f'<text x="{widths[0] + 6:.1f}" y="14">{escape(right)}</text>\n</g>\n</svg>\n'
    )
