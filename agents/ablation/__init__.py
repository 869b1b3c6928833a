"""What each family of features gives the policy: the same committee, fitted without it."""
