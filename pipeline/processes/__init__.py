"""How this process ends and what it leaves, those beside it, and what they may take."""
