"""Every reader is total: what once failed, first; then a few inputs more. The long run is `./lab fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conformance.fuzz.parsers import SUBJECTS, NotTotalError, Subject, corpus, feed, run, subject

pytestmark = pytest.mark.usefixtures("warnings_unlogged")

KEPT = list(corpus.read())
# A new cluster is made for each input of these.
SLOW = ("kubernetes-api", "config-api", "pod")


def test_the_corpus_is_of_subjects_there_are() -> None:
    assert {kept.subject for kept in KEPT} <= set(SUBJECTS)
    assert all(kept.why for kept in KEPT)


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept.subject}: {kept.why}"[:90])
def test_what_is_kept(kept: corpus.Kept) -> None:
    feed(SUBJECTS[kept.subject], kept.given)


@pytest.mark.hypothesis
@pytest.mark.parametrize("name", SUBJECTS)
def test_new_input(name: str) -> None:
    @settings(
        max_examples=settings.default.max_examples // (10 if name in SLOW else 3),
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(SUBJECTS[name].inputs)
    def examine(value: object) -> None:
        feed(SUBJECTS[name], value)

    examine()


def test_a_reader_that_computes_for_ever_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(_given: object) -> str:
        while True:
            pass

    monkeypatch.setattr(subject, "CPU_LIMIT_S", 0.05)
    with pytest.raises(NotTotalError, match="computes for more than"):
        feed(Subject("slow", st.none(), forever), None)


def test_a_run_shrinks_what_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(given: int) -> str:
        return {True: "small"}[given < 7]

    monkeypatch.setitem(SUBJECTS, "picky", Subject("picky", st.integers(0, 1000), picky))
    outcome = run(5.0, only=["picky"])
    (failure,) = outcome.failures
    assert (failure.subject, failure.given) == ("picky", 7)
    assert "fails with KeyError" in failure.why
    assert outcome.to_dict()["failures"] == 1
