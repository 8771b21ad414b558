"""The embedded Kubernetes API: what a lab talks to where no cluster is given.

In a test, in the same process (any event loop, no root, a free port)::

    from multinet.apiserver.server import ApiServer

    async with ApiServer.start(host="127.0.0.1", port=0, workdir=tmp_path) as server:
        server.kubeconfig    # Path of a kubeconfig file (mode 0600), for kubectl or multinet.kube
        server.url           # "https://127.0.0.1:40123"
        server.token         # the bearer token
        server.ca_pem        # the CA certificate, PEM text

``ApiServer.start(..., crds=[...])`` replaces the CRDs of :mod:`multinet.model.crds`. As a process:
:func:`multinet.apiserver.main.main`.

How it is built, from the bottom up; each module knows only those above it in this list::

    errors, protobuf, codec  Status errors; bytes <-> objects (the seam for other encodings)
    store                    objects as serialised bytes, one revision counter, history, watchers
    resources, builtins      a table of resource types; each a few lines of data and a Strategy of functions
    structural, schema, crd_types  structural schemas; a CustomResourceDefinition becomes a resource type
    patches, strategic       the patch formats
    operations               create, update, patch, delete as Kubernetes defines them; no HTTP
    lifecycle                what happens by itself: namespace contents, garbage collection, CRDs
    tables, discovery, openapi, watching, kubelet_proxy    representations
    dispatch, server, main   HTTP

Objects are never shared between the store and callers: see :mod:`multinet.apiserver.store`.
"""
