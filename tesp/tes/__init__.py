"""Values of the Task Execution Service 1.1: models, states, views. No I/O."""
