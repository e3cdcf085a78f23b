"""Maps: the voxels behind a representation."""
