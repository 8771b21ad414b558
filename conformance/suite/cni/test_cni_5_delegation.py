"""CNI, section 4: plugins that delegate, to an IPAM plugin of the suite's that records how it is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.cnicall import IFNAME, IPAM, NETWORK, Caller, Container, Outcome
from conformance.evidence import Evidence
from conformance.recorder import Answer, Recorder
from multinet.model.objects import Obj

Ipam = tuple[Recorder, Obj]
FAILS: Obj = {"cniVersion": "1.0.0", "code": 112, "msg": "the recorder says no"}


def call(attaching: Caller, ipam: Ipam, command: str, container: Container | None, **more: object) -> Outcome:
    """A call with the recorder as IPAM plugin."""
    recorder, config = ipam
    path = (recorder.bin, *attaching.target.cni_path)
    return attaching(command, container, config={**config, **more}, path=path)


@pytest.fixture
def assigned(attaching: Caller, containers: Callable[[], Container], ipam: Ipam) -> Obj:
    """An address that fits the plugin's network, which the recorder assigns: its own IPAM once had it."""
    other = containers()
    address: Obj = attaching("ADD", other).result["ips"][0]
    assert attaching("DEL", other).status == 0
    del address["interface"]
    ipam[0].answer(assigns(attaching, address))
    return address


def assigns(attaching: Caller, address: Obj) -> Answer:
    """The recorder's answer to ADD; as an IPAM plugin's it has no interfaces."""
    return Answer(command="ADD", result={"cniVersion": attaching.version, "ips": [address], "dns": {}})


@pytest.mark.requirement("CNI-DLG-1")
def test_a_delegate_gets_everything(
    attaching: Caller, ipam: Ipam, container: Container, evidence: Evidence, assigned: Obj
) -> None:
    recorder, config = ipam
    evidence.case(config, "the IPAM plugin is found by CNI_PATH, with environment and configuration")
    done = call(attaching, ipam, "ADD", container)
    evidence.log("the recorder", recorder.text())
    evidence.saw(done)
    assert done.result["ips"][0]["address"] == assigned["address"]
    (seen,) = recorder.calls("ADD", plugin_name=IPAM)
    assert seen.attachment == (container.id, NETWORK, IFNAME)
    assert seen.env["CNI_NETNS"] == container.netns
    assert seen.env["CNI_PATH"].split(":")[0] == str(recorder.bin)
    # A list's plugins get what stands beside them.
    given = {key: value for key, value in config.items() if key != "plugins"}
    assert {key: seen.config.get(key) for key in given} == given


@pytest.mark.requirement("CNI-ADD-5")
@pytest.mark.parametrize("how", ["refuses", "no-address"])
def test_a_delegate_that_fails_is_called_with_del(
    attaching: Caller, ipam: Ipam, container: Container, evidence: Evidence, how: str
) -> None:
    recorder, config = ipam
    answer = Answer(command="ADD", error=FAILS) if how == "refuses" else Answer(command="ADD", stdout="{}")
    recorder.answer(answer)
    evidence.case(config, "ADD fails, and the IPAM plugin has been called with DEL")
    done = call(attaching, ipam, "ADD", container)
    evidence.log("the recorder", recorder.text())
    evidence.saw(done)
    assert done.error
    seen = [each.command for each in recorder.calls(plugin_name=IPAM)]
    if how == "no-address" and seen == ["ADD"]:
        evidence.ambiguous("no DEL: the IPAM plugin has not failed, it only gave nothing")
        return
    assert seen == ["ADD", "DEL"]


def expect_passed_on(
    command: str,
    attaching: Caller,
    ipam: Ipam,
    container: Container,
    evidence: Evidence,
    address: Obj,
    *,
    fails: bool,
) -> None:
    """A verb about an attachment reaches the IPAM plugin, once, and how that ends is how the call ends."""
    recorder, config = ipam
    result = call(attaching, ipam, "ADD", container).result
    assert result["ips"][0]["address"] == address["address"]
    if fails:
        recorder.answer(Answer(command=command, error=FAILS))
    evidence.case(config, f"the IPAM plugin is called with {command}, and its error is returned")
    done = call(attaching, ipam, command, container, prevResult=result)
    evidence.saw(done)
    assert [each.container for each in recorder.calls(command, plugin_name=IPAM)] == [container.id]
    if fails:
        assert FAILS["msg"] in done.error["msg"]
    else:
        assert done.status == 0, str(done)


@pytest.mark.requirement("CNI-DEL-5")
@pytest.mark.parametrize("fails", [False, True])
def test_del_is_passed_on(
    attaching: Caller, ipam: Ipam, container: Container, evidence: Evidence, assigned: Obj, *, fails: bool
) -> None:
    expect_passed_on("DEL", attaching, ipam, container, evidence, assigned, fails=fails)


@pytest.mark.requirement("CNI-CHK-6")
@pytest.mark.parametrize("fails", [False, True])
def test_check_is_passed_on(
    attaching: Caller, ipam: Ipam, container: Container, evidence: Evidence, assigned: Obj, *, fails: bool
) -> None:
    expect_passed_on("CHECK", attaching, ipam, container, evidence, assigned, fails=fails)


@pytest.mark.requirement("CNI-GC-3")
def test_gc_is_passed_on(attaching: Caller, ipam: Ipam, evidence: Evidence) -> None:
    recorder, config = ipam
    evidence.case(config, "the IPAM plugin is called with GC")
    evidence.saw(call(attaching, ipam, "GC", None, **{"cni.dev/valid-attachments": []}))
    assert recorder.calls("GC", plugin_name=IPAM)


@pytest.mark.requirement("CNI-ST-4")
def test_status_is_passed_on(attaching: Caller, ipam: Ipam, evidence: Evidence) -> None:
    recorder, config = ipam
    recorder.answer(Answer(command="STATUS", error={**FAILS, "code": 50}))
    evidence.case(config, "the IPAM plugin is called with STATUS, and its error is returned")
    done = call(attaching, ipam, "STATUS", None)
    evidence.saw(done)
    assert recorder.calls("STATUS", plugin_name=IPAM)
    assert done.error
