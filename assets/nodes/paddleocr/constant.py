"""Texts that are in the picture nearly all the time: a channel's name, a clock's label, a sign. They are no subtitles."""

import difflib

# Part of the pictures a text is in that is nearly always there.
NEARLY_ALWAYS = 0.7
# Fewer pictures show nothing.
LEAST_PICTURES = 5
# The similarity from which readings at one position are of one text.
SAME = 0.6
# Pixels of the grid in which texts at one position are searched.
NET = 64


def left_out(pictures, beside_others=False):
    """The pictures without such texts, and the texts. Each picture is a list of items that begin with a quadrilateral and
    a text. Nothing is left out where nothing else would remain, or, with `beside_others`, what never stands beside another
    text: a subtitle that stays for long is alone."""
    if len(pictures) < LEAST_PICTURES:
        return pictures, []
    places = _places(pictures)
    always = [place for place in places if len(place.pictures) >= NEARLY_ALWAYS * len(pictures)]
    if beside_others:
        others = [place for place in places if place not in always]
        always = [place for place in always if any(len(place.pictures & other.pictures) for other in others)]
    members = {member for place in always for member in place.members}
    rest = [
        [item for at, item in enumerate(items) if (number, at) not in members] for number, items in enumerate(pictures)
    ]
    if not any(rest):
        return pictures, []
    return rest, [place.text for place in always]


class _Place:
    """The position at which a text was read, and in which pictures."""

    def __init__(self, middle, height, text):
        self.middle, self.height, self.text = middle, height, text
        self.pictures, self.members = set(), set()

    def has(self, middle, text):
        near = self.height / 2
        if abs(middle[0] - self.middle[0]) > max(near, 4) or abs(middle[1] - self.middle[1]) > max(near, 4):
            return False
        return text == self.text or difflib.SequenceMatcher(None, self.text, text).ratio() >= SAME


def _places(pictures):
    """All positions at which texts were read. They are found by a grid, since a film has thousands of texts."""
    places, net = [], {}
    for number, items in enumerate(pictures):
        for at, item in enumerate(items):
            quad, text = item[0], item[1]
            xs, ys = [x for x, _ in quad], [y for _, y in quad]
            middle, height = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2), max(ys) - min(ys)
            knot = (int(middle[0] // NET), int(middle[1] // NET))
            around = ((knot[0] + x, knot[1] + y) for x in (0, -1, 1) for y in (0, -1, 1))
            place = next((place for near in around for place in net.get(near, ()) if place.has(middle, text)), None)
            if place is None:
                place = _Place(middle, height, text)
                places.append(place)
                net.setdefault(knot, []).append(place)
            place.pictures.add(number)
            place.members.add((number, at))
    return places
