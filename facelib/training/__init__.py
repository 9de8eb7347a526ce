"""How networks learn: the loop, augmentation, imbalance, calibration, run folders, one module per task."""
