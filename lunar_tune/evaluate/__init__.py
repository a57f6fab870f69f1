"""Judge what ships: figures of an arm, paired differences between arms, and the gate. Nothing is imported here."""
