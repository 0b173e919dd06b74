"""A request and its answer under any server: access rules and the budget of bodies."""
