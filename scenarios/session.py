"""One event loop around a running lab: clients, local copies, the runner, and the signals that end it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import uvloop

from multinet.errors import MultinetError
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.model.dialect import DIALECTS
from scenarios.actions.leftovers import links_of
from scenarios.cluster import Cluster, Emit
from scenarios.context import Context
from scenarios.loader import Scenario
from scenarios.runner import Runner
from topology.backend import Lab
from topology.expectation import Expectations, Oracle
from topology.expected_default import DefaultOnly


def run(lab: Lab, scenario: Scenario, run_dir: Path, emit: Emit) -> bool:
    """Run all steps in ``lab``; True when a signal ended it early."""
    return uvloop.run(_run(lab, scenario, run_dir, emit))


async def _run(lab: Lab, scenario: Scenario, run_dir: Path, emit: Emit) -> bool:
    loop = asyncio.get_running_loop()
    steps = asyncio.create_task(_steps(lab, scenario, run_dir, emit), name="steps")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, steps.cancel)
    descriptor = lab.fileno()

    def process_events() -> None:
        try:
            lab.process_events()
        except MultinetError as error:
            loop.remove_reader(descriptor)  # it would be readable for ever
            emit("error", {"what": error.what, "where": error.where, "why": error.why, "next_step": ""})

    loop.add_reader(descriptor, process_events)
    try:
        await steps
    except asyncio.CancelledError:
        return True
    finally:
        loop.remove_reader(descriptor)
    return False


async def _steps(lab: Lab, scenario: Scenario, run_dir: Path, emit: Emit) -> None:
    access = load_kubeconfig(lab.kubeconfig)
    async with Client(access) as client, Cluster(client, emit) as cluster:
        oracle = _oracle(scenario)
        baseline = {node: frozenset(names) for node, names in links_of(lab).items()}
        context = Context(scenario, lab, client, cluster, run_dir, emit, oracle, baseline)
        await Runner(context).run()


def _oracle(scenario: Scenario) -> Oracle:
    network = scenario.pod_network
    if network is not None:
        return DefaultOnly(network)
    return Expectations(DIALECTS[scenario.content.spec.lab.dialect])
