"""The cluster's own controllers, as kube-controller-manager has them: what makes and follows workloads."""
