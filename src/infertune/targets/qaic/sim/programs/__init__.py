"""The simulated vendor tools: each a program with a `main`, installed as a thin executable by `install`."""
