"""The forms a caption can take: each fills the writer with a true sentence, or says that the picture has none such."""

from collections.abc import Callable

from vltool.world.caption_writer import CaptionWriter
from vltool.world.phrases import ANYTHING, OPPOSITES, next_to, relation


def _relation(writer: CaptionWriter) -> bool:
    """A large red star is left of the blue circle, on the sand."""
    rows = writer.rows(4) or writer.rows(2)
    if rows is None:
        return False
    first, *others = rows
    objects = writer.scene.objects
    placed = [(row, side) for row in others if (side := relation(objects[first], objects[row]))]
    if not placed:
        return False
    row, side = placed[0]
    writer.name(first)
    writer.say(writer.one_of("is", "lies", "is", ""))
    writer.say(
        {"below": writer.one_of("below", "under"), "above": "above"}.get(side, writer.one_of(side, f"to the {side}"))
    )
    writer.name(row)
    if writer.chance(0.4):
        writer.background()
    return True


def _chain(writer: CaptionWriter) -> bool:
    """The red star is above the blue circle and right of the small heart."""
    rows = writer.rows(len(writer.names)) or []
    objects = writer.scene.objects
    for first in rows:
        placed = [(row, side) for row in rows if row != first and (side := relation(objects[first], objects[row]))]
        sides = dict(reversed([(side, row) for row, side in placed]))
        if len(sides) < 2:
            continue
        (one, row), (two, other) = list(sides.items())[:2]
        if one == OPPOSITES[two]:
            continue
        writer.name(first)
        writer.say(f"is {one}")
        writer.name(row)
        writer.say(f"and {two}")
        writer.name(other)
        return True
    return False


def _beside(writer: CaptionWriter) -> bool:
    """A red star next to the blue circle on the sand."""
    rows = writer.rows(len(writer.names)) or []
    objects = writer.scene.objects
    close = [(a, b) for a in rows for b in rows if a != b and next_to(objects[a], objects[b])]
    if not close:
        return False
    writer.name(close[0][0])
    writer.say(writer.one_of("next to", "beside", "is next to", "near"))
    writer.name(close[0][1])
    if writer.chance(0.6):
        writer.background()
    return True


def _two_objects(writer: CaptionWriter) -> bool:
    """There is a red star and a blue circle on the sand."""
    rows = writer.rows(2)
    if rows is None:
        return False
    opening = writer.one_of("there is", "there is", "", "here we see")
    writer.say(opening)
    writer.name(rows[0], definite=False if opening else None)
    writer.say("and")
    writer.name(rows[1], definite=False if opening else None)
    writer.background()
    return True


def _three_objects(writer: CaptionWriter) -> bool:
    """The picture shows a red star, a blue circle and a small heart."""
    rows = writer.rows(3)
    if rows is None:
        return False
    writer.phrase([writer.one_of("the", "this"), writer.one_of("picture", "image", "photo")], "notvisual")
    writer.say(writer.one_of("shows", "has", "contains"))
    for row, after in zip(rows, (",", "and", ""), strict=True):
        writer.name(row, definite=False)
        writer.say(after)
    return True


def _group_and_object(writer: CaptionWriter) -> bool:
    """Two red circles and a small star on the sand."""
    rows = writer.rows(1)
    kinds = writer.groups(but=rows) if rows else []
    if not rows or not kinds:
        return False
    if writer.chance(0.5):
        writer.name_group(writer.pick(kinds))
        writer.say(writer.one_of("and", "with", "and"))
        writer.name(rows[0], definite=False)
    else:
        writer.name(rows[0])
        writer.say(writer.one_of("and", "with", "among"))
        writer.name_group(writer.pick(kinds))
    if writer.chance(0.6):
        writer.background()
    return True


def _one_group(writer: CaptionWriter) -> bool:
    """There are two red circles on the sand."""
    kinds = [kind for kind, rows in writer.index.items() if len(rows) > 1]
    if not kinds:
        return False
    writer.say(writer.one_of("there are", "we can see"))
    writer.name_group(writer.pick(kinds))
    writer.background()
    return True


def _two_groups(writer: CaptionWriter) -> bool:
    """There are two red circles and three stars on the sand."""
    kinds = writer.groups()
    if not kinds:
        return False
    first = writer.pick(kinds)
    others = writer.groups(but=writer.index[first])
    if not others:
        return False
    writer.say(writer.one_of("there are", "", "we can see"))
    writer.name_group(first)
    writer.say("and")
    writer.name_group(writer.pick(others))
    if writer.chance(0.6):
        writer.background()
    return True


def _everything(writer: CaptionWriter) -> bool:
    """Five shapes lie on the sand, and one of them is a red star."""
    rows = writer.rows(1)
    if rows is None:
        return False
    writer.name_group(ANYTHING)
    writer.say(writer.one_of("lie", "are", "can be seen"))
    writer.background()
    writer.say(writer.one_of(", and one of them is", ", one is"))
    writer.name(rows[0], definite=False)
    return True


def _view(writer: CaptionWriter) -> bool:
    """A view of the sand with a red star and two circles."""
    rows = writer.rows(2)
    if rows is None:
        return False
    writer.phrase(["a", writer.one_of("view", "picture", "glimpse")], "other")
    writer.say("of")
    writer.background_name()
    writer.say("with")
    writer.name(rows[0], definite=False)
    writer.say("and")
    kinds = writer.groups(but=rows[:1], least=2)
    if kinds and writer.chance(0.5):
        writer.name_group(writer.pick(kinds))
    else:
        writer.name(rows[1], definite=False)
    return True


def _someone(writer: CaptionWriter) -> bool:
    """Someone has put a red star and a blue circle on the sand."""
    rows = writer.rows(2)
    if rows is None:
        return False
    writer.phrase([writer.one_of("someone", "somebody")], "notvisual")
    writer.say(writer.one_of("has put", "placed", "left", "painted"))
    writer.name(rows[0], definite=False)
    writer.say(writer.one_of("and", "together with", "and also"))
    writer.name(rows[1], definite=False)
    writer.background()
    return True


def _bigger(writer: CaptionWriter) -> bool:
    """The red star is bigger than the striped circle."""
    named = [row for row, kinds in writer.names.items() if any(kind.size is None for kind in kinds)]
    rows = [row for row in writer.rows(len(writer.names)) or [] if row in named]
    large = [row for row in rows if writer.scene.objects[row].size == "large"]
    small = [row for row in rows if writer.scene.objects[row].size == "small"]
    if not large or not small:
        return False
    bigger_first = writer.chance(0.5)
    writer.name(large[0] if bigger_first else small[0], without="size")
    writer.say("is bigger than" if bigger_first else "is smaller than")
    writer.name(small[0] if bigger_first else large[0], without="size")
    return True


def _alike(writer: CaptionWriter) -> bool:
    """The star and the large circle are both red."""
    named = [row for row, kinds in writer.names.items() if any(kind.colour is None for kind in kinds)]
    rows = [row for row in writer.rows(len(writer.names)) or [] if row in named]
    objects = writer.scene.objects
    pairs = [(a, b) for a in rows for b in rows if a != b and objects[a].colour == objects[b].colour]
    if not pairs:
        return False
    writer.name(pairs[0][0], definite=True, without="colour")
    writer.say("and")
    writer.name(pairs[0][1], definite=True, without="colour")
    writer.say(f"are both {objects[pairs[0][0]].colour}")
    return True


def _all_of_a_kind(writer: CaptionWriter) -> bool:
    """Both circles are red, and there is a small striped star."""
    rows = writer.rows(1)
    objects = writer.scene.objects
    found = []
    for kind in writer.groups(but=rows or ()):
        same = {objects[row].colour for row in writer.index[kind]}
        if kind.shape and not kind.colour and len(same) == 1:
            found.append((kind, same.pop()))
    if not rows or not found:
        return False
    kind, colour = found[int(writer.rng.integers(len(found)))]
    number = len(writer.index[kind])
    writer.name_group(kind, lead="both" if number == 2 else "all")
    writer.say(f"are {colour} , and there is")
    writer.name(rows[0], definite=False)
    return True


FORMS: tuple[Callable[[CaptionWriter], bool], ...] = (
    _relation,
    _chain,
    _beside,
    _two_objects,
    _three_objects,
    _group_and_object,
    _one_group,
    _two_groups,
    _everything,
    _view,
    _someone,
    _bigger,
    _alike,
    _all_of_a_kind,
)
