"""CNI, both sides: the plugin executable with its wire to the node agent, and the runtime that calls plugins."""
