"""The comparison of schedules and other contestants: who takes part, how they play, what is written, drawn and said."""
