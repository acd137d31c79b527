"""The pairs of benchmarks.choice, and its counting."""

from benchmarks.choice import one_patient, summary, two_people


def person(name):
    folder, _, rest = name.partition("/")
    folder = {"t2": "oasis"}.get(folder, folder)
    words = {"patients": rest.split("_1_")[0].split("_2_")[0].split("_T")[0].split("_F")[0], "sri24": "one"}
    if folder == "heads":
        return rest.split("_")[0]
    return words.get(folder) or rest.split("-")[0].split("_t1")[0]


def test_there_are_at_least_60_different_pairs_of_each_kind():
    for pairs, are_same, count in ((one_patient(), True, 60), (two_people(), False, 64)):
        assert len(pairs) == len(set(pairs)) == count
        assert [pair for pair in pairs if (person(pair[0]) == person(pair[1])) != are_same] == []


def test_right_answers_are_counted_by_kind():
    row = {"fixed": "a", "moving": "b"}
    rows = [
        row | {"is_one_head": one, "is_said_to_be": said, "is_held_out": held}
        for one, said, held in (("1", "1", "1"), ("1", "0", "0"), ("0", "0", "1"))
    ]
    lines = summary(rows).splitlines()
    assert lines[2:] == [
        "| all | 1 of 2 right | 1 of 1 right |",
        "| that the first limit was not chosen on | 1 of 1 right | 1 of 1 right |",
    ]
