"""From loads to writes: rows named, checked, their references and ids settled. Writes nothing."""
