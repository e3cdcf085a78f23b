"""The methods: networks and losses, no loop, no files. `sepclr_neuro.registry` names them."""
