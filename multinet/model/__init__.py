"""The pure core: NADs, the selection grammar, networks, attachments, IPAM, status, dialects. No I/O."""
