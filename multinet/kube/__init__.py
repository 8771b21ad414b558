"""The client side of the Kubernetes API: kubeconfig, requests, informers, queues, event recorder."""
