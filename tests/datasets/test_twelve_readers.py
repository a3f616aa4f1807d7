"""The readers of 12-in-1's datasets, on files in the published formats and on the samples of real ones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.twelve_files import (
    CHOICES,
    GAME,
    GAME_OF_12_IN_1,
    GQA,
    GQA_SECRET,
    IMAGE_DATA,
    INSTANCES,
    PAIR,
    REFS,
    STATEMENT,
    VG_QA,
    VISUAL7W,
    write_json,
    write_lines,
    write_pickle,
)
from vltool.datasets import conceptual_captions, gqa, guesswhat, nlvr2, referring, snli_ve, visual7w, visual_genome_qa
from vltool.errors import ConfigError, DataError

Change = Callable[[Any], None]


def test_gqa_gives_what_the_official_evaluator_needs(tmp_path: Path) -> None:
    files = {
        "questions": write_json(tmp_path / "val.json", GQA),
        "choices": write_json(tmp_path / "choices.json", CHOICES),
        "images": write_json(tmp_path / "image_data.json", IMAGE_DATA),
    }
    first, second = gqa.read(files=files)
    assert (first.image_id, second.image_id) == ("coco:42", "gqa:n578564")
    assert (first.answer, first.structural, first.semantic, first.detailed) == ("picture", "query", "rel", "relS")
    assert (first.is_balanced, second.is_balanced) == (True, False)
    assert (first.group, second.group) == ("thing", "")
    assert first.entailed == ("201", "202")
    assert (first.num_steps, second.num_steps) == (2, 1)  # the steps that only ask are not counted
    assert (first.valid, first.plausible) == (("picture", "clock"), ("picture",))


@pytest.mark.parametrize("field", ["question", "answer", "imageId", "entailed", "groups", "types"])
def test_half_a_surrogate_pair_in_a_gqa_question_is_named(tmp_path: Path, field: str) -> None:
    def break_it(content: Any) -> None:
        whole = content["201"][field]
        if isinstance(whole, dict):
            whole["global" if field == "groups" else "detailed"] = "\ud83d"
        else:
            content["201"][field] = "\ud83d" if isinstance(whole, str) else [*whole, "\ud83d"]

    questions = write_json(tmp_path / "q.json", GQA, break_it)
    with pytest.raises(DataError, match=r"q.json: questions\[201\]\.\w+: expected .*half a surrogate pair is none"):
        gqa.read(files={"questions": questions})


def test_half_a_surrogate_pair_in_gqa_choices_or_as_a_key_is_named(tmp_path: Path) -> None:
    def break_choices(content: Any) -> None:
        content["201"]["valid"] = ["\ud83d"]

    def break_key(content: Any) -> None:
        content["\ud83d"] = content.pop("202")

    files = {
        "questions": write_json(tmp_path / "q.json", GQA),
        "choices": write_json(tmp_path / "choices.json", CHOICES, break_choices),
    }
    with pytest.raises(DataError, match=r"choices.json: choices\[201\]\.valid: expected .*half a surrogate pair"):
        gqa.read(files=files)
    with pytest.raises(DataError, match=r"q.json: .*surrogate pair.*'\\ud83d'") as refused:
        gqa.read(files={"questions": write_json(tmp_path / "q.json", GQA, break_key)})
    str(refused.value).encode("utf-8")


def test_gqa_in_parts_and_without_answers(tmp_path: Path) -> None:
    folder = tmp_path / "train_all_questions"
    folder.mkdir()
    for number, content in enumerate((GQA, GQA_SECRET)):
        write_json(folder / f"train_all_questions_{number}.json", content)
    found = gqa.read(files={"questions": folder})
    assert [record.question_id for record in found] == ["201", "202", "301"]
    assert found[2].answer == "" and found[2].image_id == "vg:5" and found[0].image_id == "vg:2331963"
    write_json(folder / "twice.json", GQA_SECRET)
    with pytest.raises(DataError, match=r"twice.json: questions\[301\]: asked in two parts"):
        gqa.read(files={"questions": folder})


def test_the_world_names_its_pictures_itself(tmp_path: Path) -> None:
    files = {"questions": write_json(tmp_path / "q.json", GQA), "images": write_json(tmp_path / "i.json", IMAGE_DATA)}
    assert gqa.read(files=files, image_id="world:{number}")[0].image_id == "world:2331963"


def test_gqa_predictions(tmp_path: Path) -> None:
    listed = [{"questionId": "201", "prediction": "clock"}, {"questionId": "202", "prediction": ""}]
    path = write_json(tmp_path / "p.json", listed)
    assert gqa.read_predictions(path) == {"201": "clock", "202": ""}
    write_json(path, [*listed, listed[0]])
    with pytest.raises(DataError, match=r"p.json: predictions\[2\]\.questionId: expected a question that is not"):
        gqa.read_predictions(path)


def test_visual_genome_questions_and_their_pictures(tmp_path: Path) -> None:
    files = {
        "questions": write_json(tmp_path / "qa.json", VG_QA),
        "images": write_json(tmp_path / "image_data.json", IMAGE_DATA),
    }
    found = visual_genome_qa.read(files=files)
    assert [(r.question_id, r.image_id) for r in found] == [
        (50, "vg:5"),
        (51, "vg:5"),
        (70, "coco:391895"),
        (71, "coco:391895"),
    ]
    assert found[0].answers == ("Green.",) and found[0].question_type == "what"
    for listed in ("7", "7 # by Visual Genome's number"):
        (tmp_path / "ids.txt").write_text(listed)
        assert [r.question_id for r in visual_genome_qa.read(files={**files, "ids": tmp_path / "ids.txt"})] == [70, 71]
    (tmp_path / "ids.txt").write_text("7\n8")
    with pytest.raises(DataError, match=r"ids.txt: 1 of its pictures are not in .*qa.json, first 'vg:8'"):
        visual_genome_qa.read(files={**files, "ids": tmp_path / "ids.txt"})


def test_referring_expressions_point_at_one_of_the_picture_s_things(tmp_path: Path) -> None:
    files = {
        "refs": write_pickle(tmp_path / "refs(unc).p", REFS),
        "instances": write_json(tmp_path / "instances.json", INSTANCES),
    }
    train, test = referring.read(files=files)
    assert (train.record_id, test.record_id) == ("3-0", "3-1")
    assert train.text == "The RIGHT cat" and train.image_id == "coco:9" and (train.height, train.width) == (40, 60)
    assert train.box_ids == (30, 31) and train.boxes == ((5, 1, 25, 4), (30, 1, 50, 4))
    assert train.candidates == (0, 1) and train.answer == 1
    assert [record.kind for record in referring.read(files=files, split="testA")] == ["testA"]
    assert len(referring.read(files=files, split="train+testA")) == 2
    with pytest.raises(DataError, match=r"refs\(unc\).p: no split 'val'; there are testA, train"):
        referring.read(files=files, split="val")


class Thief:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([Thief()]))
    files = {"refs": path, "instances": write_json(tmp_path / "instances.json", INSTANCES)}
    with pytest.raises(DataError, match=r"refs\(unc\).p: its pickle asks for builtins.print"):
        referring.read(files=files)
    assert capsys.readouterr().out == ""


def test_visual7w_candidates_are_in_an_order_that_tells_nothing(tmp_path: Path) -> None:
    files = {
        "dataset": write_json(tmp_path / "dataset_v7w_pointing.json", VISUAL7W),
        "images": write_json(tmp_path / "image_data.json", IMAGE_DATA),
    }
    first, second = visual7w.read(files=files, split="train")
    assert first.image_id == "coco:391895" and (first.height, first.width) == (375, 500)
    assert first.boxes is second.boxes and first.box_ids == (11, 12, 13, 14, 15)
    assert first.candidates == (0, 1, 2, 3) and first.answer == 3 and first.boxes[3] == (-1, 2, 7, 9)
    assert second.candidates == (0, 1, 4) and second.answer == 0
    assert [r.record_id for r in visual7w.read(files=files)] == ["1", "2", "3"]
    (other,) = visual7w.read(files={"dataset": files["dataset"]}, split="val")
    assert other.image_id == "vg:5" and other.height == 0


def test_a_visual7w_box_outside_of_its_picture_is_named_where_the_size_is_known(tmp_path: Path) -> None:
    def outside(content: Any) -> None:
        content["boxes"][2]["x"] = 501  # box 12, in a picture of 500 x 375

    files = {"dataset": write_json(tmp_path / "v7w.json", VISUAL7W, outside)}
    assert visual7w.read(files=files)[0].boxes[1] == (501, 2, 509, 9)
    files["images"] = write_json(tmp_path / "image_data.json", IMAGE_DATA)
    with pytest.raises(DataError, match=r"v7w.json: images\[0\]\.qa_pairs: expected boxes in the picture of 500 x 375"):
        visual7w.read(files=files)


@pytest.mark.parametrize("game", [GAME, GAME_OF_12_IN_1], ids=["published", "12-in-1"])
def test_a_game_in_either_layout(tmp_path: Path, game: dict[str, Any]) -> None:
    (found,) = guesswhat.read(files={"games": write_lines(tmp_path / "guesswhat.train.jsonl", [game])})
    assert found.record_id == "2400" and found.image_id == "coco:9" and found.kind == "success"
    assert found.text == "Is it a cat? Yes. On the left? No."
    assert found.turns == (("Is it a cat?", "Yes"), ("On the left?", "No"))
    assert found.box_ids == (30, 31) and found.boxes[1] == (30, 1, 50, 4) and found.answer == 1


def test_a_game_without_questions_has_no_text(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "games.jsonl", [GAME], lambda games: games[0].update(qas=[], status="incomplete"))
    assert guesswhat.read(files={"games": path})[0].text == ""


def test_a_statement_has_two_pictures_and_the_pairs_of_its_sentence(tmp_path: Path) -> None:
    secret = {name: value for name, value in STATEMENT.items() if name != "label"} | {"identifier": "dev-850-3-0"}
    path = write_lines(tmp_path / "dev.json", [STATEMENT, secret])
    first, second = nlvr2.read(files={"statements": path})
    assert (first.image_id, first.other_image_id) == ("nlvr2:dev-850-2-img0", "nlvr2:dev-850-2-img1")
    assert first.sentence_id == second.sentence_id == "dev-850--0"
    assert first.is_true is True and second.is_true is None
    with pytest.raises(ConfigError, match=r"expected \{number\} or \{stem\}"):
        nlvr2.read(files={"statements": path}, image_id="nlvr2:img")


def test_nlvr2_predictions(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("identifier,prediction\ndev-850-2-0,True\ndev-850-3-0,false\n")
    assert nlvr2.read_predictions(path) == {"dev-850-2-0": True, "dev-850-3-0": False}
    for line, message in (("dev-850-2-0,True", "is predicted twice"), ("dev-1-1-1,maybe", "expected identifier,True")):
        path.write_text(f"dev-850-2-0,True\n{line}\n")
        with pytest.raises(DataError, match=rf"p.csv: line 2: .*{message}"):
            nlvr2.read_predictions(path)


def test_snli_ve_in_either_spelling_and_without_a_gold_label(tmp_path: Path) -> None:
    older = {"Flikr30kID": "2248275918.jpg", **{k: v for k, v in PAIR.items() if k != "Flickr30K_ID"}}
    undecided = {**PAIR, "pairID": "x#1", "gold_label": "-"}
    path = write_lines(tmp_path / "dev.jsonl", [PAIR, {**older, "pairID": "y"}, undecided])
    found = snli_ve.read(files={"dev_pairs": path}, split="dev")
    assert {record.image_id for record in found} == {"flickr30k:2248275918"}
    assert [record.label for record in found] == ["contradiction", "contradiction", ""]
    assert found[0].hypothesis == "A toddler sleeps."


def test_conceptual_captions_are_named_by_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("a dog .\thttp://x/1.jpg\na cat .\thttp://x/2.jpg\n")
    assert [(r.image_id, r.text) for r in conceptual_captions.read(files={"captions": path})] == [
        ("cc:0", "a dog ."),
        ("cc:1", "a cat ."),
    ]
    (tmp_path / "ids.txt").write_text("1.jpg\n")
    (found,) = conceptual_captions.read(files={"captions": path, "ids": tmp_path / "ids.txt"})
    assert found.text == "a cat ."
    (tmp_path / "ids.txt").write_text("2\n")
    with pytest.raises(DataError, match=r"ids.txt: 1 of its pictures are no row of .*train.tsv, first 'cc:2'"):
        conceptual_captions.read(files={"captions": path, "ids": tmp_path / "ids.txt"})
    path.write_text("a dog .\n")
    with pytest.raises(DataError, match=r"train.tsv: line 1: expected a caption, a tab and an address"):
        conceptual_captions.read(files={"captions": path})


def read_gqa(folder: Path, change: Change) -> object:
    return gqa.read(files={"questions": write_json(folder / "f.json", GQA, change)})


def read_vg(folder: Path, change: Change) -> object:
    return visual_genome_qa.read(files={"questions": write_json(folder / "f.json", VG_QA, change)})


def read_refs(folder: Path, change: Change) -> object:
    instances = write_json(folder / "instances.json", INSTANCES)
    return referring.read(files={"refs": write_pickle(folder / "f.json", REFS, change), "instances": instances})


def read_v7w(folder: Path, change: Change) -> object:
    return visual7w.read(files={"dataset": write_json(folder / "f.json", VISUAL7W, change)})


def read_games(folder: Path, change: Change) -> object:
    return guesswhat.read(files={"games": write_lines(folder / "f.json", [GAME, {**GAME, "dialogue_id": 7}], change)})


def read_nlvr2(folder: Path, change: Change) -> object:
    pair = [STATEMENT, {**STATEMENT, "identifier": "dev-850-3-0"}]
    return nlvr2.read(files={"statements": write_lines(folder / "f.json", pair, change)})


def read_snli(folder: Path, change: Change) -> object:
    return snli_ve.read(files={"pairs": write_lines(folder / "f.json", [PAIR, {**PAIR, "pairID": "b"}], change)})


@pytest.mark.parametrize(
    ("read", "change", "message"),
    [
        (read_gqa, lambda c: c["201"].update(imageId=5), r"questions\[201\]\.imageId: expected text, found 5"),
        (read_gqa, lambda c: c["201"].update(isBalanced=1), r"questions\[201\]\.isBalanced: expected true or false"),
        (read_gqa, lambda c: c["201"].pop("types"), r"questions\[201\]\.types: expected an object of fields"),
        (read_gqa, lambda c: c["201"]["types"].pop("detailed"), r"questions\[201\]\.detailed: expected text"),
        (read_gqa, lambda c: c["201"].update(entailed=[202]), r"questions\[201\]\.entailed: expected a list of texts"),
        (read_gqa, lambda c: c["201"].update(question=" "), r"questions\[201\]\.question: expected text that is not"),
        (
            read_vg,
            lambda c: c[1]["qas"][0].update(qa_id=50),
            r"images\[1\]\.qas\[0\]\.qa_id: expected an id of its own",
        ),
        (
            read_vg,
            lambda c: c[1]["qas"][0].update(image_id=5),
            r"images\[1\]\.qas\[0\]\.image_id: expected the picture",
        ),
        (read_vg, lambda c: c[0]["qas"][1].update(answer=None), r"images\[0\]\.qas\[1\]\.answer: expected text"),
        (read_refs, lambda c: c[0].update(ann_id=99), r"refs\[0\]\.ann_id: expected a thing that .*instances.json"),
        (read_refs, lambda c: c[0].update(image_id=8), r"refs\[0\]\.image_id: expected the picture of its thing"),
        (
            read_refs,
            lambda c: c[1]["sentences"][0].update(sent_id=0),
            r"refs\[1\]\.sentences\[0\]\.sent_id: expected an",
        ),
        (read_refs, lambda c: c[0].pop("split"), r"refs\[0\]\.split: expected text"),
        (read_v7w, lambda c: c["boxes"][1].update(box_id=14), r"boxes\[1\]\.box_id: expected an id of its own"),
        (read_v7w, lambda c: c["boxes"][1].update(width=-1), r"boxes\[1\]\.bbox: expected four finite numbers"),
        (
            read_v7w,
            lambda c: c["images"][0]["qa_pairs"][0].update(multiple_choices=[11, 14]),
            r"images\[0\]\.qa_pairs\[0\]\.multiple_choices: expected boxes of the file, each once",
        ),
        (
            read_v7w,
            lambda c: c["images"][0]["qa_pairs"][0].update(multiple_choices=[11, 99]),
            r"images\[0\]\.qa_pairs\[0\]\.multiple_choices: expected boxes of the file",
        ),
        *(
            (
                read_v7w,
                lambda c, choice=choice: c["images"][0]["qa_pairs"][0].update(multiple_choices=[11, choice]),
                r"images\[0\]\.qa_pairs\[0\]\.multiple_choices: expected boxes of the file, each once",
            )
            for choice in ([12], {}, 14.0, "12", None, True)
        ),
        (
            read_v7w,
            lambda c: c["images"][0]["qa_pairs"][0].update(multiple_choices=[11, {}]),
            r"images\[0\]\.qa_pairs\[0\]\.multiple_choices: expected boxes of the file",
        ),
        (
            read_v7w,
            lambda c: c["images"][0]["qa_pairs"][0].update(multiple_choices=[11, 12.0]),
            r"images\[0\]\.qa_pairs\[0\]\.multiple_choices: expected boxes of the file",
        ),
        (
            read_v7w,
            lambda c: c["images"][0].update(split="dev"),
            r"images\[0\]\.split: expected one of train, val, test",
        ),
        (read_games, lambda c: c[1].update(dialogue_id=2400), r"line\[2\]\.dialogue_id: expected an id of its own"),
        (read_games, lambda c: c[0].update(object_id=5), r"line\[1\]\.object_id: expected one of the game's objects"),
        (read_games, lambda c: c[0].update(status="won"), r"line\[1\]\.status: expected one of success, failure"),
        (
            read_games,
            lambda c: c[0]["qas"][1].update(a="Perhaps"),
            r"line\[1\]\.qas\[1\]\.a: expected one of Yes, No, N",
        ),
        (
            read_games,
            lambda c: c[0]["objects"]["30"].update(bbox=[99, 1, 1, 1]),
            r"line\[1\]\.objects\[1\]\.bbox: expected a box",
        ),
        (
            read_nlvr2,
            lambda c: c[1].update(identifier="dev-850-2-0"),
            r"line\[2\]\.identifier: expected one of its own",
        ),
        (read_nlvr2, lambda c: c[0].update(identifier="850-2-0"), r"line\[1\]\.identifier: expected split-set-pair"),
        (read_nlvr2, lambda c: c[0].update(label="maybe"), r"line\[1\]\.label: expected True or False, found 'maybe'"),
        (read_snli, lambda c: c[1].update(pairID=PAIR["pairID"]), r"line\[2\]\.pairID: expected an id of its own"),
        (read_snli, lambda c: c[0].update(gold_label="yes"), r"line\[1\]\.gold_label: expected one of contradiction"),
        (read_snli, lambda c: c[0].pop("Flickr30K_ID"), r"line\[1\]\.Flickr30K_ID: expected text, found nothing"),
    ],
)
def test_a_wrong_record_is_named(
    tmp_path: Path, read: Callable[[Path, Change], object], change: Change, message: str
) -> None:
    with pytest.raises(DataError, match=rf"f.json: {message}"):
        read(tmp_path, change)


def test_samples_of_the_real_files_load_in_full(shared_data: Path) -> None:
    folder = shared_data / "twelve_in_one"
    for name in ("questions.json", "questions0.json"):
        (question,) = gqa.read(files={"questions": folder / "gqa" / name})
        assert question.image_id == "gqa:n578564" and question.answer == "picture" and question.num_steps == 2
    genome = folder / "visual_genome"
    files = {"questions": genome / "question_answers.json", "images": genome / "image_data.json"}
    found = visual_genome_qa.read(files=files)
    assert len(found) == 2112 and found[0].answers == ("Green.",)
    refs = {"refs": folder / "refcoco" / "refs(unc).p", "instances": folder / "refcoco" / "instances.json"}
    expressions = referring.read(files=refs, split="train")
    assert [record.text for record in expressions][2] == "blue shirt" and len(expressions) == 3
    for name, count in (("dev", 131), ("test1", 64)):
        assert len(nlvr2.read(files={"statements": folder / "nlvr2" / f"{name}.json"})) == count
    assert len(snli_ve.read(files={"pairs": folder / "snli_ve" / "snli_ve_sample.jsonl"})) == 15
    captions = folder / "conceptual_captions" / "Validation_GCC-1.1.0-Validation.tsv"
    assert len(conceptual_captions.read(files={"captions": captions})) == 1400
