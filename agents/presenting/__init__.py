"""How results are shown: the style of all figures, and the progress bar of all commands."""
