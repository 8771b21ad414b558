"""CNI, both sides: the plugin with its wire to the node agent, and the runtime that calls plugins."""
