"""What a model file keeps of an embedding: where its checkpoint is, not the weights."""

from functools import cached_property

from sklperturb.embedding._checkpoint import SECheckpoint


class KeptCheckpointMixin:
    """Open the checkpoint of an embedding from a file once it is used."""

    @cached_property
    def checkpoint_(self):
        # `fit` sets it. To load a model opens no other file than the model's.
        if not hasattr(self, "tokens_"):
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        return SECheckpoint(self.checkpoint)

    def _to_file(self):
        state = {k: v for k, v in vars(self).items() if k != "checkpoint_"}
        checkpoint = state["checkpoint"]
        if isinstance(checkpoint, SECheckpoint):
            if any(part is not None for part in checkpoint._arguments.values()):
                raise TypeError(
                    "A checkpoint with config or protein_embeddings of its own cannot "
                    "be found again; put them into its folder, and pass the folder."
                )
            checkpoint = checkpoint.path
        return state | {"checkpoint": None if checkpoint is None else str(checkpoint)}
