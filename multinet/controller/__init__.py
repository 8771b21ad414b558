"""Reconciles namespaces, NADs and pods into virtual networks, interfaces and addresses."""
