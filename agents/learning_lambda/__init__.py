"""Why λ and α are not learned like weights: by gradient on training data, and on held-out data, on digits."""
