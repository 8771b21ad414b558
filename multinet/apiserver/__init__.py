"""The embedded Kubernetes API: what a lab talks to where no cluster is given."""
