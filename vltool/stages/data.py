"""The stages that make what is learned from: the generated world, region features, words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vltool.config import RunConfig
from vltool.errors import ConfigError
from vltool.stages.runs import separate_trainings, write_counts
from vltool.stages.stage import Listener


def make_world(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Write the generated world's pictures and official files."""
    from vltool.world.files import write_world

    world = config.world
    if world is None:
        raise ConfigError("the stage 'world' needs the key 'world' in the configuration")
    counts = write_world(
        Path(world.out),
        num_train=world.train,
        num_val=world.val,
        num_test=world.test,
        seed=world.seed,
        questions_per_image=world.questions_per_image,
        twelve=world.twelve,
        progress=lambda done, total: listener.progress("drawing pictures", done, total),
    )
    return {**counts, "outputs": [world.out]}


def extract_features(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Region features of every named picture into the run's store."""
    from vltool.detectors.load import load_detector
    from vltool.features.extract import extract
    from vltool.features.shards import engine_called
    from vltool.splits.identity import visual_genome_aliases
    from vltool.tasks.wanted_boxes import given_boxes

    settings = config.features
    engine = engine_called(settings.engine, workers=settings.workers, ray_address=settings.ray_address)
    detector = load_detector(
        backend=settings.backend,
        config_file=settings.config_file or None,
        weights=settings.weights or None,
        precision=settings.precision,
        say=listener.say,
    )
    listener.say(f"detector {detector.name}, {detector.feature_dim}-d features, recipe {settings.recipe}")
    counts: dict[str, Any] = {"images": 0, "stored": 0, "skipped": 0, "failed": 0, "regions": 0, "failures": ""}
    passes: list[tuple[str, dict[str, Any]]] = [(settings.store, settings.selection)]
    for store, selection in passes:
        for source in settings.extract:
            result = extract(
                list(source.images),
                store,
                detector=detector,
                image_id_pattern=source.image_id,
                aliases=visual_genome_aliases(source.vg_images) if source.vg_images else None,
                **selection,
                workers=settings.workers,
                on_error=settings.on_error,
                engine=engine,
                progress=lambda done, total: listener.progress("extracting region features", done, total),
            )
            for name in ("images", "stored", "skipped", "failed", "regions"):
                counts[name] += getattr(result, name)
            counts["failures"] = str(result.failures or counts["failures"])
        if settings.given_store and len(passes) == 1:  # the frame of given boxes is known when all else is stored
            boxes = given_boxes(config)
            passes.append((settings.given_store, {"recipe": "given-boxes", "boxes": boxes, "only_with_boxes": True}))
    listener.say(
        f"{counts['images']:,} pictures: {counts['stored']:,} stored, {counts['skipped']:,} were there, "
        f"{counts['failed']:,} failed" + (f" (listed in {counts['failures']})" if counts["failed"] else "")
    )
    return {**counts, "outputs": [store for store, _ in passes]}


_COVERED = {"spacy": "words, {:.1f} % with a vector", "wordpiece": "word pieces, {:.1f} % of the text known"}


def embed_text(config: RunConfig, listener: Listener) -> dict[str, Any]:
    """Tokens, vocabularies of the training data, word vectors; and the counts of every split.

    Of protocol `paper`, the words of training (ii) too, in a folder of their own.
    """
    found = [embed_training(part, listener) for part in separate_trainings(config)]
    return {**found[0], "outputs": [path for counts in found for path in counts["outputs"]]}


def embed_training(config: RunConfig, listener: Listener) -> dict[str, Any]:
    from vltool.tasks.corpus import FILES, build_corpus, save_corpus
    from vltool.tasks.prepare import prepare_tasks
    from vltool.training.inputs import text_folder

    prepared = prepare_tasks(config)
    for row in prepared.counts:
        listener.say(
            f"{row['task']}/{row['split']}: {row['read']:,} read"
            + "".join(f", {row[k]:,} {k.replace('_', ' ')}" for k in ("not_asked", "contaminated") if row[k])
            + (f", {row['excluded']:,} excluded" if "excluded" in row else "")
            + (f", {row['moved']:+,} by protocol {config.splits.protocol}" if row.get("moved") else "")
            + f", {row['used']:,} used"
        )
    folder = text_folder(config)
    corpus = build_corpus(prepared, config.text, before=folder, progress=listener.say, decoders=config.decoders)
    save_corpus(corpus, folder)
    if config.splits.protocol != "paper-ii":
        write_counts(config, prepared)
    answers = {name: len(pool) for name, pool in corpus.answers.items()}
    covered = 100 * corpus.coverage["found"] / max(1, corpus.coverage["words"])
    listener.say(
        f"{len(corpus.words):,} {_COVERED[config.text.tokenizer].format(covered)}; "
        + "; ".join(f"{count:,} answers of {name}" for name, count in answers.items())
    )
    if corpus.coverage["num_bad_lines"] or corpus.coverage["missing"]:
        listener.say(
            f"{config.text.glove}: {len(corpus.coverage['missing']):,} words without a vector and "
            f"{corpus.coverage['num_bad_lines']:,} lines that cannot be used, listed in {folder / FILES[-1]}"
        )
    return {
        "sentences": len(corpus.tokens),
        "words": len(corpus.words),
        "covered": covered,
        "answers": answers,
        "coverage": corpus.coverage,
        "outputs": [str(folder / name) for name in FILES],
    }
