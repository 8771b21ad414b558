"""Which volumes a container is refused for; clean-up that survives every cancellation."""

from __future__ import annotations

import asyncio

import pytest

from multinet.errors import InputError
from multinet.kubelet.cleanup import completed
from multinet.kubelet.volumes import check


def pod(*volumes):
    return {"metadata": {"name": "web"}, "spec": {"volumes": list(volumes)}}


def mounting(name):
    return {"name": "c", "volumeMounts": [{"name": name, "mountPath": "/data"}]}


@pytest.mark.parametrize(
    ("volume", "told"),
    [
        ({"name": "v", "nfs": {"server": "x"}}, "volume v of type nfs is not supported"),
        ({"name": "v", "persistentVolumeClaim": {}}, "type persistentVolumeClaim is not supported"),
        ({"name": "other", "secret": {}}, "volume v is not among the pod's volumes"),
    ],
)
def test_a_mounted_volume_is_refused_by_type(volume, told):
    name = volume["name"] if volume["name"] != "other" else "v"
    with pytest.raises(InputError, match=told) as caught:
        check(pod(volume), mounting(name))
    assert caught.value.where == "container c, mountPath /data"


def test_a_block_device_is_refused_too():
    container = {"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}
    with pytest.raises(InputError, match="persistentVolumeClaim"):
        check(pod({"name": "v", "persistentVolumeClaim": {"claimName": "x"}}), container)


def test_unmounted_volumes_and_the_automatic_token_are_no_reason():
    token = {"name": "kube-api-access-x7k2p", "projected": {"sources": []}}
    check(pod({"name": "v", "emptyDir": {}}, token), mounting(token["name"]))
    check(pod({"name": "v", "emptyDir": {}}), {"name": "c"})


async def test_clean_up_goes_on_through_cancellations_which_are_delivered_afterwards():
    go_on, done = asyncio.Event(), []

    async def work():
        await go_on.wait()
        done.append("first half")
        await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.01)
        done.append("second half")

    task = asyncio.create_task(completed(work()))
    for _ in range(3):
        await asyncio.wait({task}, timeout=0.005)
        task.cancel()
    go_on.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert done == ["first half", "second half"]


async def test_clean_up_returns_its_result_and_raises_its_error():
    async def result():
        return 7

    async def failure():
        raise OSError(5, "broken")

    assert await completed(result()) == 7
    with pytest.raises(OSError, match="broken"):
        await completed(failure())


async def test_a_cancellation_takes_the_place_of_the_error_of_the_clean_up():
    async def failure():
        await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.01)
        raise OSError(5, "broken")

    task = asyncio.create_task(completed(failure()))
    await asyncio.wait({task}, timeout=0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    cause = caught.value
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    assert isinstance(cause, OSError)
