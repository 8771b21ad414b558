"""Read a scenario file: YAML with positions, shape by the models, meaning by :mod:`scenarios.semantics`.

Whatever is wrong comes out as :class:`~scenarios.errors.InvalidScenarioError` with every finding as
``file:line:column: what: why (next step)``.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from multinet.errors import InputError
from scenarios import positions
from scenarios.errors import InvalidScenarioError, nearest
from scenarios.manifests import Manifest, flatten
from scenarios.positions import Document, YamlPath
from scenarios.schema import ALLOWED, KIND, Lab, ScenarioFile, Step
from topology.backend import Wire
from topology.podnetwork import PodNetwork


@dataclass(frozen=True, slots=True)
class LoadedStep:
    """A step, the line it starts in, and the objects it applies (files read)."""

    index: int
    step: Step
    line: int
    manifests: tuple[Manifest, ...]

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.name

    @property
    def action(self) -> str:
        """The step's action."""
        return self.step.action


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario ready to run. ``file`` is the path as it is shown, ``path`` where it really is."""

    name: str
    file: str
    path: Path
    content: ScenarioFile
    document: Document
    steps: tuple[LoadedStep, ...]

    @property
    def node_names(self) -> tuple[str, ...]:
        """node1, node2, ..."""
        return tuple(f"node{number}" for number in range(1, self.content.spec.lab.nodes + 1))

    @property
    def host_names(self) -> tuple[str, ...]:
        """The plain hosts beside the nodes."""
        return tuple(self.content.spec.lab.hosts)

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The links beside the fabric."""
        links = self.content.spec.lab.links
        return tuple(Wire((link.nodes[0], link.nodes[1]), link.device) for link in links)

    @property
    def pod_network(self) -> PodNetwork | None:
        """The CNI plugins that make the pods' network in place of multinet, if the scenario chooses some."""
        cni = self.content.spec.lab.cni
        return None if cni is None else PodNetwork(cni.name, cni.cni_version, tuple(cni.plugins))


def read(path: Path) -> ScenarioFile:
    """A scenario file by its shape alone, whether it can be run or not; ``InputError`` as :func:`load`."""
    return _content(_only_document(path, str(path)))


def load(
    path: Path, *, shown: str | None = None, nodes: int | None = None, dialect: str | None = None
) -> Scenario:
    """Read and check a scenario file; ``InvalidScenarioError`` when it can't be used.

    ``nodes`` and ``dialect`` replace what the file says about the lab.
    """
    from scenarios import semantics

    try:
        document = _only_document(path, shown or str(path))
        content = _with_lab(_content(document), nodes, dialect)
    except InvalidScenarioError:
        raise
    except InputError as error:
        raise InvalidScenarioError([error]) from error
    findings: list[InputError] = []
    steps = tuple(
        LoadedStep(
            index,
            step,
            document.at(("spec", "steps", index)).line,
            _manifests(document, path.parent, index, step, findings),
        )
        for index, step in enumerate(content.spec.steps)
    )
    scenario = Scenario(content.metadata.name, document.file, path, content, document, steps)
    findings += semantics.findings(scenario)
    if findings:
        raise InvalidScenarioError(findings)
    return scenario


def _with_lab(content: ScenarioFile, nodes: int | None, dialect: str | None) -> ScenarioFile:
    """``content`` with another lab; ``InputError`` for one that can't be."""
    given = {key: value for key, value in (("nodes", nodes), ("dialect", dialect)) if value is not None}
    try:
        lab = Lab.model_validate({**content.spec.lab.model_dump(exclude_unset=True), **given})
    except ValidationError as error:
        detail = error.errors()[0]
        raise InputError(
            f"--{detail['loc'][0]} {detail['input']}: {detail['msg']}", next_step="see multinet run --help"
        ) from error
    return content.model_copy(update={"spec": content.spec.model_copy(update={"lab": lab})})


def _only_document(path: Path, shown: str) -> Document:
    documents = positions.read(path, shown)
    if not documents:
        raise InputError(
            "the file is empty", where=shown, next_step="start from scenarios/library/right-network.yaml"
        )
    first = documents[0]
    if len(documents) > 1:
        raise InputError(
            "a scenario file has one document",
            where=str(documents[1].at(())),
            why=f"there are {len(documents)}, separated by ---",
            next_step="put the objects into apply steps, or the scenarios into files of their own",
        )
    if not isinstance(first.value, dict) or first.value.get("kind") != KIND:
        kind = first.value.get("kind") if isinstance(first.value, dict) else type(first.value).__name__
        raise InputError(
            f"this is not a scenario: its kind is {kind!r}",
            where=str(first.at(("kind",))),
            why=f"a scenario says kind: {KIND}",
            next_step="plain manifests go into an apply step of a scenario",
        )
    return first


def _content(document: Document) -> ScenarioFile:
    try:
        return ScenarioFile.model_validate(document.value)
    except ValidationError as error:
        findings: dict[tuple[str, str], InputError] = {}
        for detail in error.errors(include_url=False):
            finding = _finding(document, detail)
            findings.setdefault((finding.where, ""), finding)
        raise InvalidScenarioError(list(findings.values())) from error


def _finding(document: Document, detail: ErrorDetails) -> InputError:
    path, missing = _real_path(document.value, detail["loc"])
    named = f"{path[-1]}: " if path and isinstance(path[-1], str) else ""
    kind = detail["type"]
    if kind == "extra_forbidden":
        key = str(path[-1])
        known = _keys_at(path[:-1])
        return InputError(
            f"unknown key {key!r}",
            where=str(document.at(path, key=True)),
            why=f"{_place(path[:-1])} knows {', '.join(known)}",
            next_step=nearest(key, known, "remove it"),
        )
    if kind == "missing":
        return InputError(
            f"the key {missing!r} is missing",
            where=str(document.at(path, key=True)),
            why=f"{_place(path)} needs it",
            next_step=f"add {missing}:",
        )
    what = detail["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        what = f"it must be written as {ALLOWED[detail['ctx']['pattern']]}"
    elif kind == "model_type":
        what = f"it must be a map; its keys are {', '.join(_keys_at(path))}"
    elif kind == "dict_type":
        what = "it must be a map"
    elif kind == "too_short":
        what = "it must not be empty"
    given = detail.get("input")
    shown = "" if isinstance(given, dict | list) else f"{given!r} was given"
    hint = ""
    if kind == "literal_error" and isinstance(given, str):
        hint = nearest(
            given, str(detail["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        )
    return InputError(
        f"{named}{what[0].lower()}{what[1:]}",
        where=str(document.at(path)),
        why=shown,
        next_step=hint,
    )


def _real_path(value: Any, location: tuple[int | str, ...]) -> tuple[YamlPath, str]:
    """The part of pydantic's location that exists in the file (it also names union members), and the rest."""
    path: list[str | int] = []
    rest = ""
    for part in location:
        if _holds(value, part):
            value = value[part]
            path.append(part)
        else:
            rest = str(part)
    return tuple(path), rest


def _holds(value: Any, part: int | str) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Models that an annotation mentions, through lists, unions and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]


def _keys_at(path: YamlPath) -> list[str]:
    """Keys that the model at ``path`` knows."""
    model: type[BaseModel] = ScenarioFile
    for part in path:
        if isinstance(part, int):
            continue
        field = next(
            (field for name, field in model.model_fields.items() if part in (name, field.alias)), None
        )
        models = _models_in(field.annotation) if field is not None else []
        if not models:
            break
        model = models[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _place(path: YamlPath) -> str:
    """The thing a path leads to, in words: ``a step``, ``wait``, ``the file``."""
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        plural = str(path[-2])
        return f"an item of {plural}" if plural != "steps" else "a step"
    return str(path[-1])


def _manifests(
    document: Document, folder: Path, index: int, step: Step, findings: list[InputError]
) -> tuple[Manifest, ...]:
    found: list[Manifest] = []
    for position, item in enumerate(step.apply or ()):
        path: YamlPath = ("spec", "steps", index, "apply", position)
        if isinstance(item, dict):
            found += flatten(document, path, item)
            continue
        try:
            for inner in positions.read(folder / item, _beside(document.file, item)):
                found += flatten(inner, (), inner.value)
        except InputError as error:
            where = str(document.at(path))
            if error.what == "there is no such file":
                error = InputError(
                    f"the file {item!r} does not exist",
                    where=where,
                    why=f"it is looked for beside the scenario, in {Path(document.file).parent}",
                    next_step=nearest(item, _others(folder, document.file), "check the path"),
                )
            elif error.where == _beside(document.file, item):
                # Nothing of the file was read, so the place to look at is where it is named.
                why = ": ".join(filter(None, (error.where, error.why)))
                error = InputError(error.what, where=where, why=why, next_step=error.next_step)
            findings.append(error)
    return tuple(found)


def _beside(file: str, item: str) -> str:
    return str(Path(file).parent / item)


def _others(folder: Path, file: str) -> list[str]:
    """Names of the YAML files beside the scenario."""
    return [path.name for path in folder.glob("*.yaml") if path.name != Path(file).name]
