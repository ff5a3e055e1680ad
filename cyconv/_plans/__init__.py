"""Floor 1: which algorithm, in which blocks, with how much scratch memory. Nothing here checks arguments."""
