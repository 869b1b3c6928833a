"""Rules of the literature, as schedules: shapes over the run, and feedback that is no more than a formula."""
