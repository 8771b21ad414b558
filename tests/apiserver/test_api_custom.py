"""Custom resources: served as soon as defined, validated, pruned, defaulted, printed, retired."""

from __future__ import annotations

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NADS = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions"
WIDGETS = "/apis/example.org/v1/namespaces/default/widgets"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def widget_crd():
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "colour": {"type": "string", "default": "red", "enum": ["red", "blue"]},
            "port": {"x-kubernetes-int-or-string": True},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "names": {"type": "array", "items": {"type": "string", "maxLength": 3}},
        },
    }
    status = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Names", "type": "string", "jsonPath": ".spec.names[*]"},
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [version],
        },
    }


def widget(name, **spec):
    return {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def test_a_definition_is_served_at_once_and_retired_with_its_objects(api):
    assert (await api.get(WIDGETS)).status == 404
    made = await api.post(CRDS, widget_crd())
    conditions = {c["type"]: c["status"] for c in made.body["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert (await api.post(WIDGETS, widget("a", size=1))).status == 201
    assert (await api.get("/apis/example.org/v1")).body["resources"][0]["shortNames"] == ["wd"]
    await api.call("DELETE", f"{CRDS}/widgets.example.org")
    assert (await api.get(f"{CRDS}/widgets.example.org")).status == 404
    assert (await api.get(WIDGETS)).status == 404
    await api.post(CRDS, widget_crd())
    assert (await api.get(WIDGETS)).body["items"] == []


async def test_defaults_pruning_and_status(api):
    await api.post(CRDS, widget_crd())
    sent = {**widget("a", size=2, lost=1, open={"kept": 1}), "status": {"ready": True}}
    made = await api.post(WIDGETS, sent)
    assert made.body["spec"] == {"size": 2, "colour": "red", "open": {"kept": 1}}
    assert "status" not in made.body
    assert made.headers.getall("Warning") == ['299 - "unknown field \\"spec.lost\\""']
    strict = await api.post(f"{WIDGETS}?fieldValidation=Strict", widget("b", size=2, lost=1))
    assert strict.status == 400
    assert 'strict decoding error: unknown field "spec.lost"' in strict.body["message"]
    patched = await api.merge(f"{WIDGETS}/a/status", {"status": {"ready": True}, "spec": {"size": 9}})
    assert (patched.body["status"], patched.body["spec"]["size"]) == ({"ready": True}, 2)
    assert patched.body["metadata"]["generation"] == 1
    bigger = await api.merge(f"{WIDGETS}/a", {"spec": {"size": 3}, "status": None})
    assert (bigger.body["metadata"]["generation"], bigger.body["status"]) == (2, {"ready": True})


async def test_findings_are_in_the_words_of_kubernetes(api):
    await api.post(CRDS, widget_crd())
    expected = {
        "size": (
            {"size": "x"},
            'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
        ),
        "missing": ({}, "spec.size: Required value"),
        "minimum": (
            {"size": 0},
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        "enum": (
            {"size": 1, "colour": "green"},
            'spec.colour: Unsupported value: "green": supported values: "red", "blue"',
        ),
        "items": (
            {"size": 1, "names": ["long-one"]},
            "spec.names[0]: Too long: may not be more than 3 bytes",
        ),
        "port": (
            {"size": 1, "port": True},
            'spec.port: Invalid value: "boolean": '
            'spec.port in body must be of type integer,string: "boolean"',
        ),
    }
    for spec, message in expected.values():
        answer = await api.post(WIDGETS, widget("a", **spec))
        assert answer.status == 422
        assert answer.body["message"] == f'Widget.example.org "a" is invalid: {message}'


async def test_the_attachment_definition_is_there_from_the_start(api):
    bad = {"metadata": {"name": "right"}, "spec": {"config": 5}}
    assert (
        'spec.config: Invalid value: "integer": spec.config in body must be of type string: "integer"'
        in (await api.post(NADS, bad)).body["message"]
    )
    names = {item["metadata"]["name"] for item in (await api.get(CRDS)).body["items"]}
    assert "network-attachment-definitions.k8s.cni.cncf.io" in names
    assert "virtualnetworks.multinet.opencontrail.org" in names


async def test_a_custom_update_needs_a_resource_version(api):
    await api.post(CRDS, widget_crd())
    await api.post(WIDGETS, widget("a", size=1))
    answer = await api.call("PUT", f"{WIDGETS}/a", widget("a", size=2))
    assert (
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        in answer.body["message"]
    )


async def test_printer_columns(api):
    await api.post(CRDS, widget_crd())
    await api.post(WIDGETS, widget("a", size=1, names=["x", "y"]))
    table = (await api.get(WIDGETS, Accept=TABLE)).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Names"]
    assert table["rows"][0]["cells"] == ["a", 1, "x,y"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_bad_definition_is_refused(api):
    crd = widget_crd()
    crd["metadata"]["name"] = "other.example.org"
    crd["spec"]["versions"][0]["storage"] = False
    answer = await api.post(CRDS, crd)
    assert answer.status == 422
    assert 'must be spec.names.plural+"."+spec.group' in answer.body["message"]
    assert "must have exactly one version marked as storage version" in answer.body["message"]
