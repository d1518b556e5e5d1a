"""Cases to look at: right and wrong calls of each class, with the map of where the model looks."""

import hashlib
import hmac
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image
from torch import nn

from ich.base.classes import CLASSES
from ich.cohort.series import SERIES
from ich.images.cache import Cache
from ich.images.windowing import to_float
from ich.models.activation import class_maps, spread

KINDS = ("true positive", "false positive", "false negative", "true negative")
CASES_COLUMNS = [
    "class", "kind", "place", "image_id", "alias", "series_instance_uid", "number", "of", "millimetres", "probability",
    "threshold", *CLASSES, "picture",
]  # fmt: skip
TILE = 224  # pixels: larger images are made smaller, so that the page stays light
QUALITY = 80  # of JPEG
OPACITY = 0.55  # of the map where it is highest


def choose(cohort: pd.DataFrame, predictions: pd.DataFrame, points: pd.DataFrame, number: int) -> pd.DataFrame:
    """Choose cases of the test part at the operating point `youden` of slices.

    The most right calls may be to call nothing of a rare class, which would leave two of the four kinds empty. Of
    positive calls those of the highest probability are taken, so that the false ones are the worst; of the false
    negatives those of the lowest. The true negatives are those of the highest probability, the nearest misses: the
    lowest are slices of air. At most one slice of a patient stands in each cell.

    Parameters
    ----------
    cohort : DataFrame
        image_id, patient_id, part, the six labels, shard and row.
    predictions : DataFrame
        image_id and probabilities of the test part.
    points : DataFrame
        As from `operating.operating_points`.
    number : int
        Most cases of each class and kind.

    Returns
    -------
    DataFrame
        The cohort's columns, with class, kind (of `KINDS`), place (from 1), probability, threshold and picture (a
        file's name).
    """
    rows = cohort.merge(predictions, on="image_id", validate="one_to_one")
    decided = points.query("part == 'test' and unit == 'slice' and rule == 'youden'")
    cuts = decided.drop_duplicates("class").set_index("class")["threshold"]
    chosen = pd.concat([*_cells(rows, cuts, number)], ignore_index=True)
    names = chosen["class"] + "_" + chosen["kind"].str.replace(" ", "_") + "_" + chosen["place"].astype(str) + ".jpg"
    return chosen.assign(picture=names)


def _cells(rows: pd.DataFrame, cuts: pd.Series, number: int) -> Iterator[pd.DataFrame]:
    for name in CLASSES:
        probability, threshold = rows[f"probability_{name}"], cuts[name]
        # Without a threshold nothing is called, and nothing is not.
        positive, called, spared = rows[name] == 1, probability >= threshold, probability < threshold
        members = (called & positive, called & ~positive, spared & positive, spared & ~positive)
        ranked = rows.assign(probability=probability)
        for kind, these in zip(KINDS, members, strict=True):
            ordered = ranked[these].sort_values(["probability", "image_id"], ascending=[kind == "false negative", True])
            found = ordered.drop_duplicates("patient_id").head(number)
            yield found.assign(
                **{"class": name, "kind": kind, "place": range(1, len(found) + 1), "threshold": threshold}
            )


def places(slices: pd.DataFrame) -> pd.DataFrame:
    """Say where each slice lies in its series.

    Parameters
    ----------
    slices : DataFrame
        image_id, patient_id, study_instance_uid, series_instance_uid, index and position (mm) of whole series.

    Returns
    -------
    DataFrame
        image_id, number (from 1, from the feet up), of (slices in the series), millimetres (from the first slice) and
        alias: 12 hexadecimal digits in the place of the id. They are HMAC-SHA-256 with all ids as the key, so that who
        has the data can find a slice again, and who only knows or guesses its id cannot.
    """
    key = hashlib.sha256("\n".join(sorted(slices["image_id"])).encode()).digest()
    series = slices.groupby(SERIES)
    return pd.DataFrame(
        {
            "image_id": slices["image_id"],
            "number": slices["index"] + 1,
            "of": series["image_id"].transform("size"),
            "millimetres": (slices["position"] - series["position"].transform("min")).round(1),
            "alias": [hmac.digest(key, name.encode(), "sha256").hex()[:12] for name in slices["image_id"]],
        }
    )


def strip(image: np.ndarray, heat: np.ndarray) -> Image.Image:
    """Put the windows of a slice side by side, and the map over the last of them behind.

    Parameters
    ----------
    image : uint8 array [channel, height, width]
    heat : float array [height, width]
        The class activation map; what adds to the logit is shown, from nothing to the highest.

    Returns
    -------
    Image
        (channels + 1) square tiles of at most `TILE` pixels.
    """
    size = image.shape[-1]
    share = np.clip(heat, 0, None)
    share = share / share.max() if share.max() > 0 else share
    grey = np.repeat(image[..., None], 3, axis=-1)
    opacity = OPACITY * share[..., None]
    overlay = (1 - opacity) * grey[-1] + opacity * 255 * colormaps["inferno"](share)[..., :3]
    tiles = np.concatenate([*grey, overlay.round().astype(np.uint8)], axis=1)
    side = min(size, TILE)
    return Image.fromarray(tiles).resize((side * (len(image) + 1), side), Image.Resampling.LANCZOS)


def pictures(chosen: pd.DataFrame, cache: Cache, network: nn.Sequential) -> Iterator[Image.Image]:
    """Draw the strip of each case, with the map of the case's class.

    Parameters
    ----------
    chosen : DataFrame
        From `choose`.
    cache : Cache
        The images that the model was trained on.
    network : nn.Sequential
        On any device, in evaluation mode.
    """
    device = next(network.parameters()).device
    for row in chosen.to_dict("records"):
        image = cache.read(np.array([row["shard"]]), np.array([row["row"]]))
        maps = spread(network, class_maps(network, to_float(image.to(device))), image.shape[-1])
        yield strip(image[0].numpy(), maps[0, CLASSES.index(row["class"])].float().cpu().numpy())


def telling_series(cohort: pd.DataFrame) -> tuple[str, str]:
    """Name patient and series with the most subtypes in the test part, of equals that with the most positive slices."""
    test = cohort[cohort["part"] == "test"]
    series = test.groupby(SERIES)
    ranked = pd.DataFrame({"kinds": series[list(CLASSES)].max().sum(axis=1), "slices": series["any"].sum()})
    return ranked.sort_values(["kinds", "slices"], ascending=False, kind="stable").index[0]
