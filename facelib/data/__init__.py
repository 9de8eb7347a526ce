"""Data sets: FER-2013, the votes of FER+, UTKFace, synthetic faces; their duplicates and their
degradation."""
