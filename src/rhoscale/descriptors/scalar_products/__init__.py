"""The paper's descriptors: distances to the nearest atoms and cosines at the point (sections IV.C-D)."""
