"""The policy for loops of any kind: a warm start on what constants of κ cost, then reinforcement by PPO.

A :class:`~.learner.Learner` has tasks played by :class:`~.players.Players`: on each of them constants of κ and copies
of the actor train side by side (:mod:`.episodes`). The constants say what each κ costs (:mod:`.curves`), the actor is
fitted to that on its own states (:mod:`.imitation`), then reinforced (:mod:`.reinforce`); :mod:`.selection` keeps the
best.
"""
