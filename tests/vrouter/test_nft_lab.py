"""nft scripts in namespaces: all or nothing, with nft's own words."""

import json
import os
import subprocess

import pytest

from multinet.vrouter import nft
from multinet.vrouter.datapath import DatapathError

pytestmark = pytest.mark.lab


@pytest.fixture
def tables():
    """A function that lists the tables of a fresh network namespace, and its descriptor."""
    if nft.lack():
        pytest.skip(f"no nft here: {nft.lack()}")
    subprocess.run(["ip", "netns", "add", "nft-test"], check=True)
    inside = os.open("/run/netns/nft-test", os.O_RDONLY)
    yield inside
    os.close(inside)
    subprocess.run(["ip", "netns", "delete", "nft-test"], check=True)


def names(inside):
    listed = json.loads(nft.listing("tables", inside=inside))["nftables"]
    return {each["table"]["name"] for each in listed if "table" in each}


async def test_a_script_is_carried_out_in_the_namespace_it_is_meant_for(tables):
    await nft.apply_async("add table inet one\nadd table bridge two\n", inside=tables)

    assert names(tables) == {"one", "two"}
    assert not {"one", "two"} & names(None)


def test_whether_there_is_a_table_the_kernel_says(tables):
    nft.apply("add table inet one\nadd table bridge two\n", inside=tables)

    asked = [("inet", "one"), ("bridge", "two"), ("ip", "one"), ("inet", "two"), ("inet", "on")]
    assert [nft.exists(*each, inside=tables) for each in asked] == [True, True, False, False, False]
    assert not nft.exists("inet", "one")


def test_a_script_with_an_error_changes_nothing_and_says_what_nft_said(tables):
    with pytest.raises(DatapathError) as refused:
        nft.apply("add table inet one\nadd rule inet one nowhere accept\n", inside=tables)

    assert "nothing was changed" in str(refused.value)
    assert "No such file or directory" in str(refused.value)
    assert names(tables) == set()


def test_without_the_program_the_reason_has_the_remedy(monkeypatch):
    monkeypatch.setattr(nft, "_ADMIN_DIRS", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    nft.program.cache_clear()
    nft.lack.cache_clear()
    try:
        assert "apt-get install nftables" in nft.lack()
        with pytest.raises(DatapathError, match="apt-get install nftables"):
            nft.apply("add table inet one\n")
    finally:
        nft.program.cache_clear()
        nft.lack.cache_clear()
