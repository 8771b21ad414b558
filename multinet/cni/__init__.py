"""CNI, both sides: the plugin executable, and the runtime that calls plugins."""
