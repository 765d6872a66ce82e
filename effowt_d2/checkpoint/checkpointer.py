"""Detectron2's checkpointer, with files that hold only trained tensors and are safe to read."""

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch import nn

from effowt_d2.assets.paths import resolve_weights
from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.state_dicts import check_tensors, check_values, without_shared_prefixes
from effowt_d2.utils.tensor_files import (
    CheckpointError,
    UnreadableCheckpointError,
    check_pickle,
    named_tensors,
    read_tensors,
)

from .contents import (
    HEADER,
    check_header,
    frozen_keys,
    guarded_towers,
    make_header,
    plain,
    trained_state,
)
from .fitting import check_coverage, check_structure, matching_tensors
from .safetensors_files import read_safetensors

__all__ = ["EffOWTCheckpointer"]


class _SafeReader(Checkpointer):
    """Stands behind Detectron2's checkpointer, which asks for native files here in v0.6 and in main."""

    unsafe_pickle = False

    def _load_file(self, f: str) -> dict[str, Any]:
        if f.endswith(".safetensors"):
            return read_safetensors(f)
        data = read_tensors(f, unsafe_pickle=self.unsafe_pickle)
        # anything but a checkpoint is weights alone
        return data if isinstance(data, dict) and {"model", HEADER} & set(data) else {"model": named_tensors(data, f)}


class EffOWTCheckpointer(DetectionCheckpointer, _SafeReader):
    """Saves what was trained; loads all of it or nothing.

    A file holds the model's state dict without the tensors that a tower was loaded with and that do not train, the config, name and weight hash of the
    towers, versions, and the checkpointables. It is loaded only into a model with the same towers and exactly these
    tensors. Checkpoints that this class did not write load as Detectron2 loads them, with its report.

    Args:
        model: wrapped in DistributedDataParallel or not.
        save_dir: local folder for ``save`` and ``resume_or_load``.
        save_to_disk: if omitted, only the main process writes.
        config: stored with the model, as text (``cfg.dump()``).
        unsafe_pickle: also load files that hold more than tensors and plain values; they can run any code.
        complete: every trained tensor of the model must be in a file that is loaded, as for evaluation.
        partial: load what fits of a file, whatever model it is of, and list the rest.
        checkpointables: objects with ``state_dict`` and ``load_state_dict``: optimizer, scheduler, trainer.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        save_to_disk: bool | None = None,
        config: str = "",
        unsafe_pickle: bool = False,
        complete: bool = False,
        partial: bool = False,
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.config = config
        self.unsafe_pickle = unsafe_pickle
        self.complete = complete
        self.partial = partial
        self._file = ""
        self._unusable: set[str] = set()

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``save_dir/name.pth`` and tag it as the newest; other processes than the main one do nothing.

        Args:
            name: of the file, without extension.
            kwargs: more to save, returned by ``load``.

        Raises:
            OSError: the file could not be written; older checkpoints and their tag are as they were.
            TypeError: something to save is neither a tensor nor a plain value.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": trained_state(self.model), HEADER: make_header(self.model, self.config)}
        data.update((key, item.state_dict()) for key, item in self.checkpointables.items())
        data.update(kwargs)
        data = {key: plain(value, key) for key, value in data.items()}
        file = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", file)
        self._keep_unusable(file)
        write_atomically(file, lambda stream: torch.save(data, stream))
        self.tag_last_checkpoint(f"{name}.pth")

    def _keep_unusable(self, file: str) -> None:
        """Only what a resuming run passed over; a file that is rewritten is replaced."""
        if file in self._unusable and os.path.exists(file):
            kept = _unused_name(f"{file}.unusable")
            os.rename(file, kept)
            self.logger.warning("The unusable %s is kept as %s", file, kept)
        self._unusable.discard(file)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Note which file is the newest."""
        tag = os.path.join(self.save_dir, "last_checkpoint")
        write_atomically(tag, lambda stream: stream.write(last_filename_basename.encode()))

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a checkpoint; if that fails, the model is as it was before.

        Args:
            path: file, ``effowt://NAME``, ``detectron2://...`` or URL; if empty, nothing is loaded.
            checkpointables: names of those to load; all that the file holds if omitted.

        Returns:
            What else was in the file, the header included.

        Raises:
            FileNotFoundError: no such file.
            OSError: it could not be fetched.
            UnreadableCheckpointError: it is damaged, or no checkpoint.
            CheckpointError: it is of another model or tower, holds NaN or numbers of another kind, or wants more than
                tensors and plain values.
        """
        if path and not os.path.isfile(resolve_weights(path.split("?")[0])):
            raise FileNotFoundError(f"checkpoint {path}: no such file")
        self._file = path
        before = {key: value.to("cpu", copy=True) for key, value in trained_state(self.model).items()} if path else {}
        try:
            with guarded_towers(self.model, path):
                return super().load(path, checkpointables)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            self.model.load_state_dict(before, strict=False)
            raise CheckpointError(f"{path}: its entries are not those of a checkpoint: {error!r}") from error
        except BaseException:
            self.model.load_state_dict(before, strict=False)
            raise
        finally:
            # Detectron2 main keeps what it parsed of a path when loading fails, and then refuses to load again
            self._parsed_url_during_load = None

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Continue from the newest checkpoint in ``save_dir``, or load ``path`` without checkpointables.

        A damaged newest checkpoint is reported, and the newest good one before it is taken. The damaged file stays;
        when ``save`` comes to its name again, it is renamed to NAME.pth.unusable. Another number of processes than
        that of the run before is reported too.

        Args:
            path: what to load if there is nothing to resume.
            resume: False ignores the checkpoints in ``save_dir``.

        Returns:
            As ``load``.

        Raises:
            UnreadableCheckpointError: there are checkpoints in ``save_dir``, but no good one.
        """
        if not (resume and self.has_checkpoint()):
            return self.load(path, checkpointables=[])
        newest = self.get_checkpoint_file()
        try:
            loaded = self.load(newest)
        except (UnreadableCheckpointError, FileNotFoundError) as error:
            self.logger.warning("The newest checkpoint can't be used: %s", error)
            self._unusable.add(newest)
            older = sorted(self._iterations(newest))
            if not older:
                raise UnreadableCheckpointError(f"{error}; there is no other checkpoint in {self.save_dir}") from error
            self.logger.warning("Going back to %s, after iteration %d", older[-1][1], older[-1][0])
            loaded = self.load(older[-1][1])
        if self.checkpointables:
            self._warn_world_size(loaded.get(HEADER, {}))
        return loaded

    def _warn_world_size(self, header: Mapping[str, Any]) -> None:
        before, now = header.get("processes"), comm.get_world_size()
        if before not in (None, now):
            self.logger.warning(
                "The checkpoint was written by a run of %d processes, this one has %d. The batches stay the same, but "
                "what is drawn at random in a step is another, so the end will not be the same to the bit",
                before,
                now,
            )

    def _iterations(self, newest: str) -> Iterator[tuple[int, str]]:
        """The iteration at which each other good checkpoint of a training run was written, and its file."""
        for file in self.get_all_checkpoint_files():
            if os.path.basename(file) == os.path.basename(newest):
                continue
            try:
                data = read_tensors(file, unsafe_pickle=self.unsafe_pickle)
            except CheckpointError as error:
                self.logger.warning("Passed over: %s", error)
                self._unusable.add(file)
                continue
            if isinstance(data, dict) and HEADER in data and "iteration" in data:
                yield data["iteration"], file

    def _load_file(self, filename: str) -> dict[str, Any]:
        if not self.unsafe_pickle and filename.endswith(".pkl"):
            check_pickle(filename)
        elif filename.endswith(".pyth"):
            # Detectron2 reads these itself, by whatever torch's default is
            read_tensors(filename, unsafe_pickle=self.unsafe_pickle)
        data = super()._load_file(filename)
        check_structure(data, filename)
        return data

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        frozen = set(frozen_keys(self.model))
        # Detectron2 renames these itself
        if not checkpoint.get("matching_heuristics", False):
            self._prepare(checkpoint)
        incompatible = super()._load_model(checkpoint)
        check_coverage(self.model, incompatible.missing_keys, self._file, complete=self.complete, partial=self.partial)
        # they are not in the file on purpose
        incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if key not in frozen]
        return incompatible

    def _prepare(self, checkpoint: dict[str, Any]) -> None:
        """Take off prefixes and, where a part is enough, what has no place; make sure that the rest fits."""
        problem = f"{self._file} does not fit the model, which is left as it was"
        self._convert_ndarray_to_tensor(checkpoint["model"])
        state = checkpoint["model"]
        if HEADER in checkpoint:
            check_header(checkpoint[HEADER], self.model, self._file, only_warn=self.partial)
        else:
            state = without_shared_prefixes(state, self.model.state_dict())
        if self.partial:
            state = matching_tensors(state, self.model, self._file)
        elif HEADER in checkpoint:
            check_tensors(state, trained_state(self.model), problem=problem)
        check_values(state, self.model.state_dict(), problem=problem)
        checkpoint["model"] = state


def _unused_name(file: str) -> str:
    names = itertools.chain([file], (f"{file}.{number}" for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))
