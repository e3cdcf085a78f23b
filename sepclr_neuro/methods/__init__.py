"""The methods: networks and losses, no loop, no files. `sepclr_neuro.config.registry` names them."""
