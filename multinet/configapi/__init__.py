"""The Contrail config API and the web console on it: faces on the state that the controller keeps.

In a test, in the same process::

    from multinet.configapi.server import ConfigApi

    async with ConfigApi.start(load_kubeconfig(path), host="127.0.0.1", port=0) as server:
        server.url           # "http://127.0.0.1:40123"; the console is below /console/

As a process: :func:`multinet.configapi.main.main`. What it speaks and what it refuses:
``docs/configapi.md``.

How it is built, from the bottom up; each module knows only those above it in this list::

    errors, kinds, notes       refusals with an HTTP status; the resource types as data; what is kept
    view, records              informers on the Kubernetes API, and objects that have no other home
    entries                    a config object and the catalog of all: uuid, fq name, parent, references
    read_places, read_networks, read_machines, catalog     Kubernetes objects -> entries
    subnets, addressing        subnets as clients write them; choice of addresses
    write_*, service           create, update, delete -> Kubernetes objects
    wire, listing, actions     entries -> JSON, queries, the actions of the API
    auth, rest, console        HTTP
    server, main               the process

It has no state of its own: every object is in the Kubernetes API, and what a caller writes is written with
the caller's own token, so Kubernetes' access rules are the only ones.
"""
