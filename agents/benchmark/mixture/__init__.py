"""The broad mixture, as the policy for any loop trains on it: many kinds of run at once, each of them rare."""
