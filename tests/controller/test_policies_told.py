"""A MultiNetworkPolicy that is in force for nobody says so."""

from __future__ import annotations

import pytest

from multinet.kube.resources import MULTI_NETWORK_POLICIES, NADS
from multinet.model.policies import ANNOTATION_POLICY_FOR


def policy(name, named=None):
    annotations = {} if named is None else {ANNOTATION_POLICY_FOR: named}
    metadata = {"name": name, "namespace": "default", "annotations": annotations}
    return {"metadata": metadata, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}


@pytest.mark.parametrize("named", [None, "", " , "])
async def test_without_a_network(world, named):
    world.api.put(MULTI_NETWORK_POLICIES, policy("p", named))
    await world.settle()
    ((reason, message),) = world.said.warnings("default/p")
    assert reason == "PolicyForNobody"
    assert ANNOTATION_POLICY_FOR in message


async def test_a_name_that_no_nad_has_until_there_is_one_and_when_it_is_gone(world):
    world.nad("default/left", cidr="10.1.1.0/24")
    world.api.put(MULTI_NETWORK_POLICIES, policy("right", "left"))
    world.api.put(MULTI_NETWORK_POLICIES, policy("typo", "default/left, letf,other/left"))
    await world.settle()
    assert world.said.warnings("default/right") == []
    ((reason, message),) = world.said.warnings("default/typo")
    assert reason == "NetworkNotFound"
    assert "names default/letf, other/left:" in message
    world.api.remove(NADS, "default/left")
    await world.settle()
    assert [reason for reason, _ in world.said.warnings("default/right")] == ["NetworkNotFound"]
    world.nad("default/left", cidr="10.1.1.0/24")
    await world.settle()
    world.api.remove(NADS, "default/left")
    await world.settle()
    assert len(world.said.warnings("default/right")) == 2
