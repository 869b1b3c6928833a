"""The policy: actor, card, file, and the files that ship with the package."""
