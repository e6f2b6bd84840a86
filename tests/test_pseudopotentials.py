"""Laws of the GTH table, of the UPF text and of the identity of a pseudopotential."""

import hashlib
import re

import numpy as np
import pytest
from scipy.integrate import simpson

from rhoscale.engines.gth import gth, gth_elements, gth_valences
from rhoscale.engines.pseudopotentials import (
    folder_pseudopotentials,
    gth_pseudopotential,
    read_pseudopotential,
    upf_hash,
)
from rhoscale.engines.upf import StartingOrbital, upf_text
from rhoscale.errors import FormatError, InputError

ALL = [(element, valence) for element in gth_elements() for valence in gth_valences(element)]


def block(text: str, tag: str) -> np.ndarray:
    """Numbers of one section of a UPF file."""
    found = re.search(rf"<{re.escape(tag)}\b[^>]*>(.*?)</{re.escape(tag)}>", text, re.DOTALL)
    assert found is not None
    return np.array([float(word) for word in found[1].split()])


def test_the_table_holds_every_element_to_lawrencium_but_francium_and_radium():
    assert len(gth_elements()) == 101
    assert len(ALL) == 137


def test_valence_electrons_are_those_of_the_reference_configuration():
    for element, valence in ALL:
        potential = gth(element, valence)
        assert sum(potential.occupations) == valence
        assert potential.r_loc > 0


def test_the_default_valence_is_the_smallest():
    assert [gth(e).valence for e in ("Al", "Si", "Ge", "Mg")] == [3, 4, 4, 2]
    assert gth_valences("Mg") == (2, 10)


def test_projectors_are_normalised():
    r = np.linspace(0, 30, 30001)
    checked = 0
    for element, valence in ALL:
        for channel in gth(element, valence).channels:
            for i in range(1, len(channel.h) + 1):
                assert simpson(channel.projector(i, r) ** 2 * r**2, x=r) == pytest.approx(1, abs=1e-9)
                checked += 1
    assert checked > 400


def test_local_potential_joins_its_limits():
    for element, valence in ALL:
        potential = gth(element, valence)
        near = potential.local(np.array([0.0, 1e-5]))
        assert near[1] == pytest.approx(near[0], rel=1e-6)
        far = potential.local(np.array([12.0]))
        assert far[0] == pytest.approx(-valence / 12.0, rel=1e-12)


@pytest.mark.parametrize(("element", "valence"), [("Al", 3), ("Ge", 4), ("Mg", 10), ("H", 1), ("Cs", 9), ("U", 32)])
def test_the_upf_text_holds_the_functions_in_its_units(element, valence):
    potential = gth(element, valence)
    text = gth_pseudopotential(element, valence).text
    r = block(text, "PP_R")
    np.testing.assert_allclose(block(text, "PP_LOCAL"), 2 * potential.local(r), rtol=1e-11)
    n, start = sum(len(c.h) for c in potential.channels), 0
    coupling = block(text, "PP_DIJ").reshape(n, n) if n else np.zeros((0, 0))
    expected = np.zeros((n, n))
    for channel in potential.channels:
        for i in range(1, len(channel.h) + 1):
            beta = block(text, f"PP_BETA.{start + i}")
            np.testing.assert_allclose(beta, r * channel.projector(i, r), rtol=1e-10, atol=1e-29)
        size = len(channel.h)
        expected[start : start + size, start : start + size] = 2 * channel.coupling
        start += size
    np.testing.assert_allclose(coupling, expected, rtol=1e-13)


def test_the_starting_density_holds_the_valence_electrons():
    text = gth_pseudopotential("Si").text
    assert simpson(block(text, "PP_RHOATOM"), x=block(text, "PP_R")) == pytest.approx(4, rel=2e-3)


@pytest.mark.parametrize(
    ("element", "valence", "digest"),
    [
        ("Al", 3, "7af23d36d2533c979471fb0f0ea2a8ffb94df1df8aa0a8da08e926f893288a06"),
        ("Si", 4, "7c31dd665f18f732e0fc83ac99fb3f467699a14ff3502e5490b569d371bf93d5"),
        ("Ge", 4, "e8886cf14ec5a289c4405be3bad5fb4c65496a05b15feda516506aa822fc1af6"),
        ("Mg", 10, "933c7511cd85655347ddc68bed13fc0189130df603e67a7935e6d3dcdb52595e"),
    ],
)
def test_the_hash_is_the_same_on_every_machine(element, valence, digest):
    """Pinned: data sets and models carry these hashes; a change here makes all of them strangers."""
    assert gth_pseudopotential(element, valence).identity.sha256 == digest


def test_the_starting_orbitals_are_normalised_and_give_the_starting_density():
    text = gth_pseudopotential("Si").text
    r = block(text, "PP_R")
    orbitals = [block(text, f"PP_CHI.{n}") for n in (1, 2)]
    for u in orbitals:
        assert simpson(u**2, x=r) == pytest.approx(1, rel=1e-3)
    density = 2 * orbitals[0] ** 2 + 2 * orbitals[1] ** 2
    np.testing.assert_allclose(density, block(text, "PP_RHOATOM"), atol=2e-5)
    assert re.findall(r'l="(\d)" occupation="(\d)"', text) == [("0", "2"), ("1", "2")]


def test_the_hash_sees_the_potential_and_not_where_a_run_starts():
    potential = gth("Al")
    one = upf_text(potential, lambda r: np.exp(-r))
    other = upf_text(potential, lambda r: np.exp(-2 * r), [StartingOrbital(0, 2.0, lambda r: r * np.exp(-r))])
    assert "PP_CHI.1" in other
    assert one != other
    assert upf_hash(one) == upf_hash(other)
    nudged = one.replace(re.search(r"<PP_LOCAL[^>]*>\n(\S+)", one)[1], "-1.0", 1)
    assert upf_hash(nudged) != upf_hash(one)
    assert upf_hash(one) != hashlib.sha256(one.encode()).hexdigest()


def test_write_then_read_is_the_identity(tmp_path):
    written = {e: gth_pseudopotential(e) for e in ("Al", "Ge")}
    for file in written.values():
        assert file.write(tmp_path / "new").name == file.filename
    assert folder_pseudopotentials(tmp_path / "new") == written


def test_version_1_files_are_read(tmp_path):
    header = "<PP_HEADER>\n  0  Version Number\n AL   Element\n NC  Norm\n   0.300000D+01  Z valence\n</PP_HEADER>"
    (tmp_path / "Al.old.UPF").write_text(header + "\n<PP_RHOATOM>\n1.0\n</PP_RHOATOM>\n")
    identity = folder_pseudopotentials(tmp_path)["Al"].identity
    assert (identity.element, identity.name, identity.valence) == ("Al", "old", 3.0)


def test_unknown_choices_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"no GTH-PBE pseudopotential of 'Xx'; there are ones of H, He"):
        gth("Xx")
    with pytest.raises(InputError, match=r"of Mg with 3 valence electrons; there are ones with 2, 10; choose"):
        gth_pseudopotential("Mg", 3)


def test_a_bad_folder_is_refused(tmp_path):
    with pytest.raises(FormatError, match="no pseudopotential folder"):
        folder_pseudopotentials(tmp_path / "missing")
    with pytest.raises(FormatError, match=r"holds no file that ends in \.upf"):
        folder_pseudopotentials(tmp_path)
    file = gth_pseudopotential("Al")
    file.write(tmp_path)
    (tmp_path / "other.UPF").write_text(file.text)
    with pytest.raises(FormatError, match=r"two pseudopotentials of Al in .*Al\.GTH-PBE-q3\.upf and other\.UPF"):
        folder_pseudopotentials(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    text = gth_pseudopotential("Al").text
    path = tmp_path / "Al.upf"
    for content, message in (
        ("", "lacks <PP_HEADER>"),
        (text[: len(text) // 2], "lacks its end"),
        (text.replace('element="Al"', 'element="Qq"'), "gives element 'Qq'"),
        (text.replace('z_valence="3.0"', 'z_valence="many"'), "valence 'many'"),
    ):
        path.write_text(content)
        with pytest.raises(FormatError, match=message):
            read_pseudopotential(path)
    with pytest.raises(FormatError, match="cannot read the pseudopotential"):
        read_pseudopotential(tmp_path / "none.upf")
