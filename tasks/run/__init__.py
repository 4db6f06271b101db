"""The folder of a run: what it holds, who may write to it, what is trusted of it."""
