"""From a similarity matrix to pairs. Runs on the host, on numpy arrays: the loop must not wait for a device.

Letters: N detections in falling score order, M tracks, P other columns (backdrops) after the tracks.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["ASSIGNMENTS", "assign_greedy", "assign_hungarian"]


def assign_greedy(similarity: np.ndarray, num_tracks: int, threshold: float) -> np.ndarray:
    """Let each detection, best score first, take the free column it is most similar to.

    A track is taken once; a backdrop absorbs any number of detections. Ties go to the first column.

    Args:
        similarity: (N, M + P) float, rows in falling score order.
        num_tracks: M.
        threshold: a pair counts only if its similarity is above this.

    Returns:
        (N,) int64 track columns, -1 where a detection takes none.
    """
    chosen = np.full(len(similarity), -1, dtype=np.int64)
    if similarity.shape[1] == 0:
        return chosen
    free = similarity.copy()
    # columns only ever get taken away, so a row that has no pair above the threshold now never will
    for row in np.flatnonzero(similarity.max(axis=1) > threshold):
        column = int(free[row].argmax())
        if free[row, column] > threshold and column < num_tracks:
            chosen[row] = column
            free[:, column] = -np.inf
    return chosen


def assign_hungarian(similarity: np.ndarray, num_tracks: int, threshold: float) -> np.ndarray:
    """Pair detections and columns so that the sum of similarities above the threshold is largest.

    Args:
        similarity: (N, M + P) float.
        num_tracks: M.
        threshold: a pair counts only if its similarity is above this, which is 0 or more.

    Returns:
        (N,) int64 track columns, -1 where a detection takes none.
    """
    chosen = np.full(len(similarity), -1, dtype=np.int64)
    # a pair at or below the threshold is worth nothing, so it can't push a good pair out
    gain = np.where(similarity > threshold, similarity, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    good = (similarity[rows, columns] > threshold) & (columns < num_tracks)
    chosen[rows[good]] = columns[good]
    return chosen


ASSIGNMENTS = {"greedy": assign_greedy, "hungarian": assign_hungarian}
