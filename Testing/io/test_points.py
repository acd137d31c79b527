import json

import numpy as np
import pytest

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.points import is_point_list, paired_points, read_points

FCSV_COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"


def file_with(folder, name, text):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def fcsv_text(system="LPS"):
    return (
        f"# Markups fiducial file version = 5.12\n# CoordinateSystem = {system}\n{FCSV_COLUMNS}"
        'v_1,10,-20,30.5,0,0,0,1,1,0,0,"AC, front",a note,vtkMRMLScalarVolumeNode1,2,0\n'
        "v_2,1,2,3,0,0,0,1,1,1,0,PC,,,2,0\n"
        "v_3,0,0,0,0,0,0,1,1,1,0,not placed,,,0,0\n"
    )


def markups():
    """Two markups in different coordinate systems, with points that have no position among the others."""
    return {
        "@schema": "some schema",
        "markups": [
            {
                "type": "Fiducial",
                "coordinateSystem": "RAS",
                "controlPoints": [
                    {
                        "id": "1",
                        "label": "AC",
                        "position": [10, -20, 30],
                        "orientation": [1, 0, 0],
                        "extra": "é",
                    },
                    {"id": "2", "label": "skipped", "position": [5, 5, 5], "positionStatus": "missing"},
                    {"id": "3", "label": "later", "position": "", "positionStatus": "undefined"},
                    {"id": "4", "label": "never"},
                ],
                "display": {"color": [0.4, 1.0, 1.0]},
            },
            {
                "type": "Curve",
                "coordinateSystem": "LPS",
                "controlPoints": [{"label": "PC", "position": [1, 2, 3], "positionStatus": "defined"}],
            },
        ],
    }


def test_csv_of_ants_keeps_its_other_columns(tmp_path):
    path = file_with(tmp_path, "in.csv", "x,y,z,t,label,comment\n1,2,3,0,7,left\n-4.25,5,6e1,0,8,\n")
    points = read_points(path)
    np.testing.assert_array_equal(points.positions, [[1, 2, 3], [-4.25, 5, 60]])
    assert points.labels == ("7", "8")
    points.with_positions(points.positions + np.array([0.1, 0, 0])).write(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == (
        b"x,y,z,t,label,comment\n1.1,2.0,3.0,0,7,left\n-4.15,5.0,60.0,0,8,\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3,name\n", [[1, 2, 3]]),
        ("label, Z ,Y,X\na,3,2,1\n", [[1, 2, 3]]),
        ("# made by hand\n\nx,y,z\r\n1,2,3\r\n\r\n", [[1, 2, 3]]),
        ("\ufeffx,y,z\n1,2,3\n", [[1, 2, 3]]),
        ("label,l,p,s,defined\na,1,2,3,1\nb,0,0,0,0\n", [[1, 2, 3]]),
        ("label,r,a,s\na,1,2,3\n", [[-1, -2, 3]]),
    ],
)
def test_csv_in_its_forms(tmp_path, text, expected):
    points = read_points(file_with(tmp_path, "points.csv", text))
    np.testing.assert_array_equal(points.positions, expected)
    points.write(tmp_path / "again.csv")
    np.testing.assert_array_equal(read_points(tmp_path / "again.csv").positions, expected)


def test_csv_keeps_comments_empty_lines_and_line_ends(tmp_path):
    text = '# by "hand", twice\r\n\r\nx,y,z,label\r\n1.0,2.0,3.0,"a, b"\r\n'
    read_points(file_with(tmp_path, "in.csv", text)).write(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == text.encode()


@pytest.mark.parametrize(("system", "sign"), [("LPS", 1), ("1", 1), ("RAS", -1), ("0", -1)])
def test_fcsv_changes_positions_only(tmp_path, system, sign):
    path = file_with(tmp_path, "in.fcsv", fcsv_text(system))
    points = read_points(path)
    np.testing.assert_array_equal(points.positions, [[10 * sign, -20 * sign, 30.5], [sign, 2 * sign, 3]])
    assert points.labels == ("AC, front", "PC")
    points.with_positions(points.positions + np.array([0, 0, 1])).write(tmp_path / "out.fcsv")
    expected = fcsv_text(system).replace("10,-20,30.5", "10.0,-20.0,31.5").replace("v_2,1,2,3", "v_2,1.0,2.0,4.0")
    assert (tmp_path / "out.fcsv").read_text() == expected


def test_markups_change_positions_only(tmp_path):
    path = file_with(tmp_path, "in.mrk.json", json.dumps(markups()))
    points = read_points(path)
    np.testing.assert_array_equal(points.positions, [[-10, 20, 30], [1, 2, 3]])
    assert points.labels == ("AC", "PC")
    points.with_positions([[-11, 22, 33], [4, 5, 6]]).write(tmp_path / "out.mrk.json")
    expected = markups()
    expected["markups"][0]["controlPoints"][0]["position"] = [11, -22, 33]
    expected["markups"][1]["controlPoints"][0]["position"] = [4, 5, 6]
    assert json.loads((tmp_path / "out.mrk.json").read_text(encoding="utf-8")) == expected
    assert b"\r" not in (tmp_path / "out.mrk.json").read_bytes()
    assert points.positions[0, 0] == -10


@pytest.mark.parametrize("ending", [".csv", ".mrk.json"])
def test_another_format_gets_positions_and_labels(tmp_path, ending):
    points = read_points(file_with(tmp_path, "in.fcsv", fcsv_text("RAS")))
    points.write(tmp_path / f"out{ending}")
    again = read_points(tmp_path / f"out{ending}")
    np.testing.assert_array_equal(again.positions, [[-10, 20, 30.5], [-1, -2, 3]])
    assert again.labels == ("AC, front", "PC")


def test_numbers_survive_exactly(tmp_path):
    positions = np.random.default_rng(1).normal(0, 100, (5, 3))
    points = read_points(file_with(tmp_path, "in.csv", "x,y,z\n" + "0,0,0\n" * 5)).with_positions(positions)
    for name in ("out.csv", "out.mrk.json"):
        points.write(tmp_path / name)
        np.testing.assert_array_equal(read_points(tmp_path / name).positions, positions)


def test_number_of_points_cannot_change(tmp_path):
    points = read_points(file_with(tmp_path, "in.csv", "1,2,3\n"))
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        points.with_positions(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("names", "others", "expected", "first"),
    [
        ("AC PC", "PC AC", ["AC", "PC"], 1.0),
        ("F-1 F-2", "M-1 M-2", ["F-1", "F-2"], 0.0),
        ("p p", "p p", ["1 p", "2 p"], 0.0),
    ],
)
def test_landmarks_belong_together_by_their_names_or_their_order(tmp_path, names, others, expected, first):
    paths = [
        file_with(
            tmp_path, name, "x,y,z,label\n" + "".join(f"{x},0,0,{label}\n" for x, label in enumerate(labels.split()))
        )
        for name, labels in (("a.csv", names), ("b.csv", others))
    ]
    found, one, other = paired_points(*paths)
    assert found == expected
    np.testing.assert_array_equal(one[:, 0], [0.0, 1.0])
    assert other[0, 0] == first


def test_lists_of_different_length_are_refused(tmp_path):
    one, other = (file_with(tmp_path, f"{n}.csv", "x,y,z\n" + "1,2,3\n" * n) for n in (2, 3))
    with pytest.raises(InputError, match=r"holds 3 points and .* 2; give the same landmarks"):
        paired_points(one, other)


def test_is_point_list():
    assert is_point_list("a.csv")
    assert is_point_list("A.FCSV")
    assert is_point_list("some.thing.mrk.json")
    assert not is_point_list("report.json")
    assert not is_point_list("brain.nii.gz")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "1,2,3\n", "name ending in .csv, .fcsv, .mrk.json"),
        ("a.csv", "", "holds no point"),
        ("a.csv", "x,y,z\n", "holds no point"),
        ("a.csv", "x,y\n1,2\n", "no columns x,y,z"),
        ("a.csv", "x;y;z\n1;2;3\n", "no columns x,y,z separated by commas"),
        ("a.csv", "x,y,z\n1,2,3\n1,2\n", "line 3 does not hold three coordinates"),
        ("a.csv", "# note\nx,y,z\n1,2,nan\n", "line 3 does not hold three coordinates"),
        ("a.csv", "x,y,z\n1,2," + "9" * 200000 + "\n", "not a table"),
        ("a.fcsv", "1,1,2,3\n", "RAS or LPS"),
        ("a.fcsv", "# CoordinateSystem = IJK\n1,1,2,3\n", "RAS or LPS"),
        ("a.fcsv", "# CoordinateSystem = LPS\n# columns = id,label\n1,a\n", "no columns x,y,z"),
        ("a.fcsv", "# CoordinateSystem = LPS\n1,1,2,\n", "line 2"),
        ("a.mrk.json", "{", "not a markups file"),
        ("a.mrk.json", "[]", "not a markups file"),
        ("a.mrk.json", '{"markups": 3}', "not a markups file"),
        ("a.mrk.json", '{"markups": [{"controlPoints": [3]}]}', "not a markups file"),
        ("a.mrk.json", '{"markups": [{"controlPoints": ["position"]}]}', "not a markups file"),
        ("a.mrk.json", '{"markups": [{"coordinateSystem": "IJK"}]}', "neither RAS nor LPS"),
        ("a.mrk.json", '{"markups": [{"type": "ROI"}]}', "holds a ROI"),
        (
            "a.mrk.json",
            '{"markups": [{"controlPoints": [{"label": "AC", "position": [1, 2]}]}]}',
            "point 'AC'",
        ),
        ("a.mrk.json", '{"markups": [{"controlPoints": [{"label": "AC"}]}]}', "holds no point"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, name, text, message):
    path = file_with(tmp_path, name, text)
    with pytest.raises(InputError) as caught:
        read_points(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        read_points(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(InputError, match="not a text file"):
        read_points(tmp_path / "binary.csv")


def test_a_new_fcsv_is_refused(tmp_path):
    points = read_points(file_with(tmp_path, "in.csv", "1,2,3\n"))
    with pytest.raises(InputError, match=r"write \.mrk\.json or \.csv"):
        points.write(tmp_path / "out.fcsv")
    assert not (tmp_path / "out.fcsv").exists()


@pytest.fixture(scope="module")
def slicer():
    return pytest.importorskip("slicer_core", reason="needs the wheel slicer-core")


def storage_in_scene(slicer, path):
    """A scene with an empty point list and what Slicer stores it with."""
    kinds = {
        ".fcsv": slicer.vtkMRMLMarkupsFiducialStorageNode,
        ".json": slicer.vtkMRMLMarkupsJsonStorageNode,
    }
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLMarkupsFiducialNode(), kinds[path.suffix]()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    return scene, node, storage


def points_that_slicer_reads(slicer, path):
    """RAS positions and labels of the points that Slicer takes for placed."""
    _scene, node, storage = storage_in_scene(slicer, path)
    assert storage.ReadData(node)
    placed = [
        number
        for number in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(number) == node.PositionDefined
    ]
    positions = [list(node.GetNthControlPointPosition(number)) for number in placed]
    return np.array(positions), tuple(node.GetNthControlPointLabel(number) for number in placed)


def list_of_slicer(slicer, path, system):
    """Let Slicer write a list of three points, the last of them not placed."""
    _scene, node, storage = storage_in_scene(slicer, path)
    node.AddControlPoint([10, -20, 30], 'AC, "front" é')
    node.AddControlPoint([1.5, 2, -3], "PC")
    node.AddControlPoint([0, 0, 0], "not placed")
    node.UnsetNthControlPointPosition(2)
    node.CreateDefaultDisplayNodes()
    storage.SetCoordinateSystem({"RAS": 0, "LPS": 1}[system])
    assert storage.WriteData(node)


@pytest.mark.parametrize("name", ["a.fcsv", "a.mrk.json"])
@pytest.mark.parametrize("system", ["RAS", "LPS"])
def test_lists_go_from_slicer_to_us_and_back(slicer, tmp_path, name, system):
    list_of_slicer(slicer, tmp_path / name, system)
    assert system in (tmp_path / name).read_text(encoding="utf-8")
    points = read_points(tmp_path / name)
    np.testing.assert_allclose(points.positions, [[-10, 20, 30], [-1.5, -2, -3]])
    assert points.labels == ('AC, "front" é', "PC")

    points.with_positions(points.positions + np.array([1, 2, 3])).write(tmp_path / f"moved_{name}")
    positions, labels = points_that_slicer_reads(slicer, tmp_path / f"moved_{name}")
    np.testing.assert_allclose(positions, [[9, -22, 33], [0.5, 0, 0]])
    assert labels == points.labels


def test_slicer_reads_markups_made_from_a_table(slicer, tmp_path):
    points = read_points(file_with(tmp_path, "in.csv", "x,y,z,t,label\n1,2,3,0,AC\n4,5,6,0,PC\n"))
    points.write(tmp_path / "out.mrk.json")
    positions, labels = points_that_slicer_reads(slicer, tmp_path / "out.mrk.json")
    np.testing.assert_allclose(positions, [[-1, -2, 3], [-4, -5, 6]])
    assert labels == ("AC", "PC")


def test_table_exported_by_slicer_is_read_and_imported_again(slicer, tmp_path):
    logic, scene = slicer.vtkSlicerMarkupsLogic(), slicer.vtkMRMLScene()
    node, back = slicer.vtkMRMLMarkupsFiducialNode(), slicer.vtkMRMLMarkupsFiducialNode()
    scene.AddNode(node)
    scene.AddNode(back)
    logic.SetMRMLScene(scene)
    node.AddControlPoint([10, -20, 30], "AC")
    assert logic.ExportControlPointsToCSV(node, str(tmp_path / "a.csv"))
    points = read_points(tmp_path / "a.csv")
    np.testing.assert_allclose(points.positions, [[-10, 20, 30]])
    points.with_positions([[-11, 21, 31]]).write(tmp_path / "b.csv")
    assert logic.ImportControlPointsFromCSV(back, str(tmp_path / "b.csv"))
    np.testing.assert_allclose(back.GetNthControlPointPosition(0), [11, -21, 31])
