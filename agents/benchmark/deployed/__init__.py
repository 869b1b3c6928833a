"""What a schedule costs who deploys it: time of each optimizer step and each decision, and memory."""
