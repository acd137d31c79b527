"""The extension as it is installed: CMake's own run, against as much of Slicer's macros as it calls."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CMAKE = shutil.which("cmake")
RESOURCES = REPOSITORY / "Resources"
MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")

SLICER_CONFIG = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR ${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
"""

# Like Slicer's: files keep their path relative to the folder, and one that does not exist is an error.
USE_SLICER = """
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT MY_NAME OR NOT MY_SCRIPTS)
    message(FATAL_ERROR "wrong arguments: ${ARGN}")
  endif()
  set(destination ${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
  if(MY_WITH_SUBDIR)
    get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    string(APPEND destination /${folder})
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(IS_ABSOLUTE ${file} OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "no such file in this folder: ${file}")
    endif()
    configure_file(${file} ${CMAKE_BINARY_DIR}/${destination}/${file} COPYONLY)
  endforeach()
  install(DIRECTORY ${CMAKE_BINARY_DIR}/${destination}/ DESTINATION ${destination})
endmacro()

macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT" "" ${ARGN})
  if(NOT EXISTS ${MY_SCRIPT})
    message(FATAL_ERROR "no such test: ${MY_SCRIPT}")
  endif()
endmacro()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of scripted modules of the installed extension."""
    if CMAKE is None:
        pytest.skip("cmake is not installed")
    folder = tmp_path_factory.mktemp("packaging")
    slicer = folder / "slicer"
    slicer.mkdir()
    (slicer / "SlicerConfig.cmake").write_text(SLICER_CONFIG)
    (slicer / "use.cmake").write_text(USE_SLICER)
    (slicer / "nothing.cmake").touch()
    options = [f"-DSlicer_DIR={slicer}", f"-DCMAKE_INSTALL_PREFIX={folder / 'install'}", "-DBUILD_TESTING=ON"]
    # Nothing is compiled: any program does for a compiler.
    for language in ("C", "CXX"):
        options += [f"-DCMAKE_{language}_COMPILER={CMAKE}", f"-DCMAKE_{language}_COMPILER_FORCED=ON"]
    run(CMAKE, "-S", REPOSITORY, "-B", folder / "build", *options)
    run(CMAKE, "--build", folder / "build")
    run(CMAKE, "--install", folder / "build")
    return folder / "install" / MODULES


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def files_in_git(folder):
    """What git tracks, or would if asked to add everything, relative to a folder of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY / folder, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("this is no git checkout")
    return {Path(name) for name in done.stdout.splitlines() if (REPOSITORY / folder / name).is_file()}


def files_below(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def without_build_files(files):
    return {path for path in files if path.name != "CMakeLists.txt"}


def test_every_file_of_the_module_is_installed_and_no_other_lies_beside_it(installed):
    expected = without_build_files(files_in_git("SLSFGR"))
    assert Path("SLSFGRModule/widget.py") in expected
    assert {path for path in files_below(installed) if path.parts[0] != "SLSFGRLib"} == expected


def test_every_file_of_the_library_is_installed_in_a_folder_of_its_own(installed):
    expected = without_build_files(files_in_git("SLSFGRLib"))
    assert Path("spatial/grid.py") in expected
    library = installed / "SLSFGRLib"
    assert {path for path in files_below(library) if path.parts[0] != "Resources"} == expected


def test_every_resource_that_the_library_reads_is_installed_inside_it(installed):
    expected = {path for path in files_in_git("Resources") if path.parts[0] not in ("Artwork", "Screenshots")}
    resources = installed / "SLSFGRLib/Resources"
    assert files_below(resources) == expected
    for path in expected:
        assert (resources / path).read_bytes() == (REPOSITORY / "Resources" / path).read_bytes()


def test_every_resource_that_the_library_reads_is_in_the_python_package():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = settings["package-data"]["SLSFGRLib.Resources"]
    resources = {path for path in files_in_git("Resources") if path.parts[0] not in ("Artwork", "Screenshots")}
    assert Path("report/report.html") in resources
    packaged = {path.relative_to(RESOURCES) for name in patterns for path in RESOURCES.glob(name)}
    assert resources <= packaged


def test_metadata_is_what_the_extensions_index_looks_for():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    metadata = dict(re.findall(r'^set\(EXTENSION_(\w+) "(.*)"\)$', text, flags=re.MULTILINE))
    assert "project(SLSFGR)" in text
    assert metadata["HOMEPAGE"] == "https://github.com/slsfgr/SlicerSLSFGR"
    assert (metadata["CATEGORY"], metadata["DEPENDS"]) == ("Registration", "PyTorch")
    raw = metadata["HOMEPAGE"].replace("github.com", "raw.githubusercontent.com") + "/main/"
    icon = metadata["ICONURL"]
    assert icon.startswith(raw)
    assert (REPOSITORY / icon.removeprefix(raw)).read_bytes()[:4] == b"\x89PNG"
    assert all(url.startswith(raw) for url in metadata["SCREENSHOTURLS"].split())


def test_catalog_entry_agrees_with_the_metadata_and_the_schema():
    content = (REPOSITORY / "SLSFGR.json").read_bytes()
    assert b"\r" not in content
    entry = json.loads(content)
    # The schema allows no other keys, and needs the first three.
    assert {"$schema", "category", "scm_url"} <= entry.keys()
    assert entry.keys() <= {
        *("$schema", "category", "scm_url", "scm_revision", "scm_type"),
        *("build_dependencies", "build_subdirectory", "enabled", "tier"),
    }
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f'set(EXTENSION_HOMEPAGE "{entry["scm_url"]}")' in text
    assert f'set(EXTENSION_CATEGORY "{entry["category"]}")' in text
    assert f'set(EXTENSION_DEPENDS "{" ".join(entry["build_dependencies"])}")' in text


def test_pictures_of_the_store_and_the_docs_are_there_and_small():
    pages = (REPOSITORY / "CMakeLists.txt", REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    names = set(re.findall(r"Resources/Screenshots/([\w.-]+\.png)", text))
    assert "SLSFGR.png" in names
    for name in names:
        assert (REPOSITORY / "Resources/Screenshots" / name).stat().st_size < 400_000
