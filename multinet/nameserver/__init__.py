"""The cluster's name server: names of services and their endpoints, as CoreDNS serves them."""
