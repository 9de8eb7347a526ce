"""Network definitions and their files: nothing here trains or measures."""
