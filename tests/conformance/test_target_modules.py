"""A target in a module of somebody else: found beside the call; what is wrong with it is told in a line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance import target
from multinet.errors import InputError

GOOD = """
class Mine:
    claim, isolated, start, attach, stop = "mine", False, None, None, None
make = lambda argument: Mine()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walked_package").mkdir()
    return tmp_path / "walked_package"


def test_it_is_found_beside_the_call(here: Path) -> None:
    (here / "good.py").write_text(GOOD)
    assert str(target.make("walked_package.good:x").claim) == "mine"
    (here.parent / "good_alone.py").write_text(GOOD)
    assert str(target.make("good_alone").claim) == "mine"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "imports",
            "import nobody_has_this",
            "imports.py:1: the target's module .*No module named 'nobody_has",
        ),
        ("syntax", "def make(a) pass", "syntax.py:1: the target's module .* can't be imported: expected ':'"),
        ("without", "", r"needs make\(argument\) \(see docs/targets.md\)"),
        ("raising", "def make(text):\n    return {}[text]", "raising.py:2: make.*failed: KeyError: 'x'"),
        (
            "object",
            "make = lambda text: 'claim'",
            "is no target: it has no claim, isolated, start, attach, stop",
        ),
    ],
)
def test_what_is_wrong_with_it_is_told(here: Path, name: str, text: str, message: str) -> None:
    (here / f"{name}.py").write_text(text)
    with pytest.raises(InputError, match=message):
        target.make(f"walked_package.{name}:x")


def test_one_that_is_not_there_is_told_with_where_was_looked(here: Path) -> None:
    with pytest.raises(InputError, match=f"there is no module nobody_has_this in {here.parent} or among"):
        target.make("nobody_has_this.target")


@pytest.mark.parametrize("name", ["", ".target", "a..b", "../reference", "Reference"])
def test_what_is_no_modules_name_is_no_target(here: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no target .*known are cni, kubeconfig"):
        target.make(name)


def test_the_shortest_one_of_the_documentation_works_and_is_short(here: Path) -> None:
    page = (Path(target.__file__).parents[1] / "docs" / "targets.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    assert len(example.splitlines()) < 100
    (here / "shortest.py").write_text(example)
    made = target.make("walked_package.shortest:kubeconfig")
    assert isinstance(made, target.ClusterTarget)
    wish = target.Network("net", "space", ("10.1.0.0/24",))
    assert made.nad(wish)["metadata"] == {"name": "net", "namespace": "space", "annotations": {}}
    with pytest.raises(target.CannotProvideError):
        made.nad(target.Network("net", "space", addressless=True))
