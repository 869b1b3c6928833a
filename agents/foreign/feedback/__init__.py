"""What feedback adds: the same λ without looking, and paired differences to it."""
