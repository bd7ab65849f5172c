import pytest
import yaml

from tuner.campaign import yaml_file


def loaded(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return yaml_file.load(path)


def test_numbers_are_those_of_yaml_1_2(tmp_path):
    text = "[5e-4, 1e-3, 2E+3, 12, 0.1, 1., .5, -3, 010]"
    assert loaded(tmp_path, text) == [0.0005, 0.001, 2000.0, 12, 0.1, 1.0, 0.5, -3, 10]
    assert [type(value) for value in loaded(tmp_path, "[12, 1e3]")] == [int, float]


def test_words_stay_words(tmp_path):
    assert loaded(tmp_path, "[off, yes, 1:30, 2020-01-01, 1_000, '0.1']") == [
        "off",
        "yes",
        "1:30",
        "2020-01-01",
        "1_000",
        "0.1",
    ]


@pytest.mark.parametrize("text", ["a: 1\na: 2", "{1: 2}", "{a: {b: 1, b: 1}}", "!!python/object/apply:os.getcwd []"])
def test_twice_the_same_key_other_keys_and_objects_are_refused(tmp_path, text):
    with pytest.raises(yaml.YAMLError):
        loaded(tmp_path, text)


def test_what_is_dumped_loads_back(tmp_path):
    content = {"a": 1e-5, "b": "1e-3", "c": "off", "d": None, "e": ["null", "", "12", True, "true"], "f": {"ü": 1e20}}
    assert loaded(tmp_path, yaml_file.dump(content)) == content
