"""Who and what lettabox deploys to: the operator's file, its schema, and pyinfra's view of it."""
