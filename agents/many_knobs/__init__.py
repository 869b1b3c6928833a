"""Knobs beside λ, measured: two knobs against one, one λ against one for each layer; constants, searches, policies."""
