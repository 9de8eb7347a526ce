"""From a picture to faces, and back: reading, detection, alignment, the encoder, editing."""
