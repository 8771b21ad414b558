"""When policies are put into force, and what happens where they can't be."""

from __future__ import annotations

import asyncio

import pytest

from multinet.errors import WaitExpiredError
from multinet.model.attachments import Address, Interface, PodRef
from multinet.vrouter import nft
from multinet.vrouter.datapath import Attachment, DatapathError, Network, Port, Wanted
from multinet.vrouter.policing import Policing

CLOSED = {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "default"}, "spec": {}}


class Filter:
    def __init__(self):
        self.scripts, self.error, self.left = [], None, (frozenset(), frozenset())

    async def apply(self, script):
        if self.error:
            raise self.error
        self.scripts.append(script)

    async def names(self, family):
        return self.left if family == "inet" else (frozenset(), frozenset())


def pod(name, **labels):
    return {"metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels}, "spec": {}}


def interface(name):
    address = Address("10.32.0.1", 12, "10.47.255.254")
    ref = PodRef("default", name, name)
    return Interface(ref, "node1", 0, 1, "net", 1, "l3", "", "eth0", "02::1", (address,))


def attachment(name):
    wanted = Wanted(0, "eth0", "02::1", ("10.32.0.1/12",), (), 0, Network(1, "l3"))
    return Attachment(
        name, "/run/netns/x", f"default/{name}", name, (Port(wanted, f"tap{name}-0", 1, 2, 1500),)
    )


@pytest.fixture(autouse=True)
def nft_is_there(monkeypatch):
    monkeypatch.setattr(nft, "lack", lambda: "")


@pytest.fixture
def filter_():
    return Filter()


@pytest.fixture
def policing(filter_):
    made = Policing(lambda: [interface("a"), interface("b")], rules=filter_, limit_s=0.05)
    made.policies_listed()
    made.namespace_changed(None, {"metadata": {"name": "default"}})
    return made


async def test_without_policies_nothing_runs(policing, filter_):
    await policing.admit(attachment("a"))
    await policing.update()
    assert filter_.scripts == []
    assert not policing.needed.is_set()


async def test_a_selected_pod_waits_for_its_rules_and_others_do_not(policing, filter_):
    policing._limit_s = 30.0
    policing.policy_changed(None, CLOSED | {"spec": {"podSelector": {"matchLabels": {"app": "a"}}}})
    assert policing.needed.is_set()
    policing.peers_listed()
    policing.pod_changed(None, pod("b"))
    await policing.admit(attachment("b"))
    assert filter_.scripts == []
    admitting = asyncio.ensure_future(policing.admit(attachment("a")))
    await asyncio.sleep(0)
    assert not admitting.done()
    policing.pod_changed(None, pod("a", app="a"))
    await admitting
    assert '"tapa-0" : jump allow-' in filter_.scripts[-1]
    assert len(filter_.scripts) == 1


async def test_a_table_that_somebody_deleted_is_made_again_as_it_was(policing, filter_):
    policing.policy_changed(None, CLOSED)
    policing.peers_listed()
    policing.pod_changed(None, pod("a"))
    await policing.admit(attachment("a"))
    (script,) = filter_.scripts
    assert await policing.restore()  # this filter says that nothing is there
    assert filter_.scripts == [script, script]
    filter_.left = frozenset({"forward"}), frozenset()
    assert not await policing.restore()
    assert len(filter_.scripts) == 2


async def test_a_pod_that_stays_unknown_gets_no_network(policing):
    policing.policy_changed(None, CLOSED)
    policing.peers_listed()
    with pytest.raises(WaitExpiredError, match="the policies for pod default/a to be known"):
        await policing.admit(attachment("a"))


async def test_rules_that_can_not_be_made_keep_the_pod_out(policing, filter_, monkeypatch):
    policing.policy_changed(None, CLOSED)
    policing.peers_listed()
    policing.pod_changed(None, pod("a"))
    filter_.error = DatapathError("nft -f was refused")
    with pytest.raises(DatapathError):
        await policing.admit(attachment("a"))
    monkeypatch.setattr(nft, "lack", lambda: "the program nft is missing")
    filter_.error = None
    with pytest.raises(DatapathError, match="can't be enforced on this node"):
        await policing.admit(attachment("a"))


async def test_a_pod_that_is_gone_keeps_its_rules_until_it_is_dismissed(policing, filter_):
    policing.policy_changed(None, CLOSED)
    policing.peers_listed()
    policing.pod_changed(None, pod("a"))
    await policing.admit(attachment("a"))
    policing.pod_changed(pod("a"), None)
    await policing.update()
    assert len(filter_.scripts) == 1
    policing.dismiss("a")
    await policing.update()
    assert filter_.scripts[1:] == ["table inet multinet-policy\ndelete table inet multinet-policy\n"]


async def test_an_earlier_agents_rules_are_replaced_once_everything_is_known(policing, filter_):
    filter_.left = frozenset({"forward", "allow-0123456789abcdef"}), frozenset()
    policing.open([attachment("a")])
    policing.policy_changed(None, CLOSED)
    await policing.update()
    assert filter_.scripts == []
    policing.pod_changed(None, pod("a"))
    policing.peers_listed()
    await policing.update()
    assert "delete chain inet multinet-policy allow-0123456789abcdef" in filter_.scripts[0]


def test_changes_that_policies_do_not_look_at_are_none(policing):
    told = []
    policing.on_change(lambda: told.append(1))
    policing.pod_changed(None, pod("a", app="a"))
    policing.pod_changed(pod("a"), pod("a", app="a") | {"status": {"phase": "Running"}})
    policing.members_changed()
    assert len(told) == 1


def test_a_policy_that_can_not_be_understood_is_told():
    told = []
    policing = Policing(list, rules=Filter(), warn=lambda *said: told.append(said))
    policing.policy_changed(None, CLOSED | {"spec": {"policyTypes": ["Up"]}})
    assert told[0][1] == "PolicyInvalid"
    assert "spec.policyTypes" in told[0][2]
