"""What is looked at once, when a schedule is made, and said before it can cost a run."""
