"""Large loads staged by several connections: a coordinator, its workers, and who runs them."""
