"""Stand-ins for scheduler, kubelet and container runtime on emulated nodes."""
