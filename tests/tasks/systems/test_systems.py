"""Systems: energies, forces, conserved quantities, and trajectories that follow from them."""

import sys
import types

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from tasks.sources.trajectories.reference import trajectories
from tasks.systems import HamiltonianField, PendulumChain, Planets, Springs

SYSTEMS = [
    Springs(points=120),
    Springs(particles=1, points=120),
    Planets(points=120),
    Planets(particles=1, points=120),
    PendulumChain(points=120),
    PendulumChain(particles=1, points=120),
    PendulumChain(gravity=0.0, points=120),
]


def drawn(system, count=3, seed=0):
    return system.sample(count, np.random.default_rng(seed))


@pytest.fixture(params=SYSTEMS, ids=repr)
def system(request):
    return request.param


# ---- energies --------------------------------------------------------------------------------


def test_energy_of_springs_by_loops():
    system = Springs()
    state, parameters = drawn(system)
    for z, c, energy in zip(state, parameters, system.energy(state, parameters), strict=True):
        (q, p), (m, k) = z.numpy(), c.numpy().T
        expected = sum(p[i] @ p[i] / (2 * m[i]) for i in range(6))
        for i in range(6):
            for j in range(6):
                expected += k[i] * k[j] * ((q[i] - q[j]) ** 2).sum() / 2
        assert float(energy) == pytest.approx(expected, rel=1e-12)


def test_energy_of_planets_by_loops():
    system = Planets()
    state, parameters = drawn(system)
    for z, c, energy in zip(state, parameters, system.energy(state, parameters), strict=True):
        (q, p), m = z.numpy(), c.numpy()[:, 0]
        expected = sum(p[i] @ p[i] / (2 * m[i]) for i in range(6))
        for i in range(6):
            for j in range(i):
                expected -= 0.06 * m[i] * m[j] / np.hypot(np.linalg.norm(q[i] - q[j]), 0.15)
        assert float(energy) == pytest.approx(expected, rel=1e-12)


def test_energy_of_the_pendulum_from_velocities_of_its_masses():
    # Kinetic energy is Σ m|v|²/2 of the masses, whatever the coordinates.
    system = PendulumChain(particles=4)
    state, parameters = drawn(system)
    angles, momenta = state[:, 0, :, 0], state[:, 1, :, 0]
    mass, length = parameters.unbind(-1)

    def places(angles):
        rods = torch.stack((angles.sin(), -angles.cos()), -1)
        return (length[..., None] * rods).cumsum(1)

    rates = torch.linalg.solve(system.mass_matrix(angles, parameters), momenta)
    _, velocities = torch.func.jvp(places, (angles,), (rates,))
    kinetic = (mass * velocities.square().sum(-1)).sum(-1) / 2
    potential = system.gravity * (mass * places(angles)[..., 1]).sum(-1)
    torch.testing.assert_close(system.energy(state, parameters), kinetic + potential)


def test_small_swings_of_one_pendulum_have_the_period_of_a_harmonic_oscillator():
    system = PendulumChain(particles=1, gravity=9.81)
    parameters = torch.tensor([[[0.7, 0.9]]], dtype=torch.float64)
    state = torch.tensor([1e-4, 0.0], dtype=torch.float64).view(1, 2, 1, 1)
    angle = system.trajectory(state, parameters, 200)[0, :, 0, 0, 0]
    times = 0.01 * np.arange(200)
    np.testing.assert_allclose(angle, 1e-4 * np.cos(np.sqrt(9.81 / 0.9) * times), atol=1e-11)


def test_kepler_orbit_closes():
    # Two bodies without softening to speak of, on a circle about their center of mass.
    system = Planets(particles=2, softening=1e-6, substeps=4)
    masses, distance = torch.tensor([3.0, 1.0], dtype=torch.float64), 1.5
    rate = float((0.06 * masses.sum() / distance**3).sqrt())
    arms = torch.tensor([[-0.25 * distance, 0], [0.75 * distance, 0]], dtype=torch.float64)
    speeds = rate * torch.stack((-arms[:, 1], arms[:, 0]), -1)
    state = torch.stack((arms, masses[:, None] * speeds))[None]
    states = system.trajectory(state, masses.view(1, 2, 1), 200)
    angle = torch.tensor(rate * 0.01 * 199, dtype=torch.float64)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    torch.testing.assert_close(states[0, -1, 0], arms @ turn.T.double(), rtol=0, atol=1e-10)


# ---- motion ----------------------------------------------------------------------------------


def test_hamiltons_equations_have_their_signs(system):
    """Against differences of the energy: dq/dt = ∂H/∂p and dp/dt = -∂H/∂q."""
    state, parameters = drawn(system)
    found = HamiltonianField(system, parameters)(state)
    step = 1e-5
    slope = torch.zeros_like(state)
    for place in np.ndindex(*state.shape[1:]):
        shift = torch.zeros_like(state)
        shift[(slice(None), *place)] = step
        up, down = (system.energy(state + sign * shift, parameters) for sign in (1, -1))
        slope[(slice(None), *place)] = (up - down) / (2 * step)
    expected = torch.stack((slope[:, 1], -slope[:, 0]), 1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_trajectories_agree_with_scipy(system):
    state, parameters = drawn(system)
    states = system.trajectory(state, parameters, 100)
    assert torch.equal(states[:, 0], state)
    for number in range(len(state)):
        field = HamiltonianField(system, parameters[number : number + 1])

        def slope(t, z, field=field):
            with torch.no_grad():
                return field(torch.from_numpy(z).view(1, *state.shape[1:])).flatten().numpy()

        end = solve_ivp(
            slope, (0, 0.99), state[number].flatten().numpy(), "DOP853", rtol=1e-11, atol=1e-12
        ).y[:, -1]
        np.testing.assert_allclose(states[number, -1].flatten(), end, rtol=1e-6, atol=1e-6)


def test_springs_are_solved_by_the_exponential_of_their_matrix():
    system = Springs(particles=4)
    state, parameters = drawn(system, 1)
    m, k = parameters[0].numpy().T
    stiffness = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            stiffness[i, j] += 2 * k[i] * k[j]
            stiffness[i, i] -= 2 * k[i] * k[j]
    matrix = np.block([[np.zeros((4, 4)), np.diag(1 / m)], [stiffness, np.zeros((4, 4))]])
    expected = expm(4.99 * matrix) @ state[0].reshape(8, 2).numpy()
    found = system.trajectory(state, parameters, 500)[0, -1].reshape(8, 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_what_is_named_as_conserved_is_conserved(system):
    state, parameters = drawn(system, 20)
    states = system.trajectory(state, parameters, 100)
    start = system.conserved(states[:, 0], parameters)
    for each in states.unbind(1):
        for name, quantity in system.conserved(each, parameters).items():
            assert float(quantity.drift(start[name]).max()) < 1e-6, name


def test_total_momentum_is_zero_in_every_system():
    for system in (Springs(), Planets()):
        state, _ = drawn(system, 50)
        assert float(state[:, 1].sum(1).abs().max()) < 1e-13


def test_gravity_breaks_the_conservation_of_angular_momentum():
    system = PendulumChain(points=120)
    assert set(system.conserved(*drawn(system))) == {"energy"}
    state, parameters = drawn(system, 5)
    total = system.trajectory(state, parameters, 100)[:, :, 1, :, 0].sum(-1)
    assert float((total[:, -1] - total[:, 0]).abs().min()) > 1e-3


# ---- the law of the springs ------------------------------------------------------------------


def test_still_states_score_what_they_score_on_the_published_data():
    # Measured on the data of the LieTransformer's public code: 0.32 over 5 points, 4.1 over 100.
    system = Springs()
    state, parameters = drawn(system, 2000)
    states = system.trajectory(state, parameters, 100)
    error = (states - states[:, :1]).square().mean((0, 2, 3, 4))
    assert float(error[:5].mean()) == pytest.approx(0.32, abs=0.02)
    assert float(error.mean()) == pytest.approx(4.1, abs=0.2)


# ---- the cache -------------------------------------------------------------------------------


def test_trajectories_are_reproducible_and_grow_from_their_start(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.sources.trajectories.reference.BLOCK", 8)
    system = Springs(points=30)
    made = trajectories(system, 20, 5, folder=tmp_path / "a", progress=False)
    again = trajectories(system, 20, 5, folder=tmp_path / "b", progress=False)
    few = trajectories(system, 3, 5, folder=tmp_path / "a", progress=False)
    assert made.states.shape == (20, 5, 2, 6, 2)
    assert torch.equal(made.states, again.states)
    assert torch.equal(few.states, made.states[:3])
    assert float(made.energy_drift.max()) < 1e-12
    assert made.starts.unique().numel() > 5
    other = trajectories(system, 20, 5, seed=1, folder=tmp_path / "a", progress=False)
    for part in ("val", "test"):
        parted = trajectories(system, 20, 5, part=part, folder=tmp_path / "a", progress=False)
        assert not (parted.parameters == made.parameters).any()
    assert not (other.parameters == made.parameters).any()


def test_a_stretch_is_part_of_the_trajectory(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.sources.trajectories.reference.BLOCK", 8)
    system = Springs(points=30)
    made = trajectories(system, 8, 5, folder=tmp_path, progress=False)
    # From any point of the stretch, the equations of motion lead on to the next.
    onward = system.trajectory(made.states[:, 0], made.parameters, 5)
    torch.testing.assert_close(made.states, onward, rtol=0, atol=1e-12)
    first = trajectories(system, 8, 5, folder=tmp_path, random_start=False, progress=False)
    assert (first.starts == 0).all()


def test_a_damaged_block_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.sources.trajectories.reference.BLOCK", 8)
    system = Springs(points=30)
    made = trajectories(system, 16, 5, folder=tmp_path, progress=False)
    path = sorted(tmp_path.rglob("*.npz"))[1]
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    again = trajectories(system, 16, 5, folder=tmp_path, progress=False)
    assert torch.equal(made.states, again.states)
    assert path.read_bytes() == good


STIFFER = """
from dataclasses import dataclass
from tasks.systems import Springs as Usual

@dataclass(frozen=True)
class Springs(Usual):
    def potential(self, positions, parameters):
        return {factor} * super().potential(positions, parameters)

    def trajectory(self, state, parameters, points):
        return super(Usual, self).trajectory(state, parameters, points)
"""


def test_a_changed_law_gets_trajectories_of_its_own(tmp_path, monkeypatch):
    """Not those of the law before, nor those of another class of the same name and settings."""
    monkeypatch.setattr("tasks.sources.trajectories.reference.BLOCK", 4)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = [trajectories(Springs(points=30), 4, 5, folder=tmp_path / "cache", progress=False)]
    for factor in (1.0, 2.0, 3.0):
        (tmp_path / "stiffer.py").write_text(STIFFER.format(factor=factor))
        monkeypatch.delitem(sys.modules, "stiffer", raising=False)
        system = __import__("stiffer").Springs(points=30)
        assert repr(system) == repr(Springs(points=30))
        made.append(trajectories(system, 4, 5, folder=tmp_path / "cache", progress=False))
        expected = system.trajectory(made[-1].states[:, 0], made[-1].parameters, 5)
        torch.testing.assert_close(made[-1].states, expected, rtol=0, atol=1e-6)
    assert len([*tmp_path.rglob("*.npz")]) == 4
    assert not torch.allclose(made[2].states, made[3].states, atol=1e-3)


def test_a_law_that_changes_without_its_source_is_noticed(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tasks.sources.trajectories.reference.BLOCK", 4)
    before = trajectories(Planets(points=30), 4, 5, folder=tmp_path, progress=False)
    law = Planets.potential
    monkeypatch.setattr(Planets, "potential", lambda *given: 1.5 * law(*given))
    after = trajectories(Planets(points=30), 4, 5, folder=tmp_path, progress=False)
    assert "is not of this Planets" in caplog.text
    assert not torch.equal(before.states, after.states)


def test_trajectories_of_a_class_that_was_typed_in_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.sources.trajectories.reference.BLOCK", 4)
    typed = {"__name__": "__typed__"}
    monkeypatch.setitem(sys.modules, "__typed__", types.ModuleType("__typed__"))
    exec(STIFFER.format(factor=2.0), typed)
    made = trajectories(typed["Springs"](points=30), 4, 5, folder=tmp_path, progress=False)
    assert len(made) == 4
    assert not [*tmp_path.rglob("*.npz")]


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tasks.sources.trajectories.reference.BLOCK", 4)
    (tmp_path / "file").touch()
    made = trajectories(Springs(points=30), 4, 5, folder=tmp_path / "file", progress=False)
    assert len(made) == 4
    assert str(tmp_path / "file") in caplog.text and "data.folder" in caplog.text


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("system", [Springs(), Planets(), PendulumChain()], ids=repr)
def test_a_mass_of_zero_is_refused(system):
    state, parameters = drawn(system)
    parameters[1, 2, 0] = 0
    with pytest.raises(ValueError, match=r"mass .* above 0; particle 2 of system 1 has 0"):
        system.check(state, parameters)


def test_trajectories_of_a_system_that_draws_a_mass_of_zero_are_refused(tmp_path):
    class Massless(Springs):
        def sample(self, count, rng):
            state, parameters = super().sample(count, rng)
            parameters[7, 3, 0] = 0
            return state, parameters

    with pytest.raises(ValueError, match=r"mass .* above 0; particle 3 of system 7 has 0"):
        trajectories(Massless(), 10, 5, folder=tmp_path, progress=False)
    assert not [*tmp_path.rglob("*.npz")]


def test_states_of_another_shape_and_values_that_are_not_finite_are_refused():
    system = Springs()
    state, parameters = drawn(system)
    with pytest.raises(ValueError, match=r"\(batch, 2, 6, 2\); got \(3, 2, 5, 2\)"):
        system.check(state[:, :, 1:], parameters)
    with pytest.raises(ValueError, match="mass, k; got"):
        system.check(state, parameters[..., :1])
    state[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        system.check(state, parameters)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Springs(particles=0), "particles: 0"),
        (lambda: Springs(spacing=0.0), "spacing: 0.0"),
        (lambda: Planets(softening=0.0), "softening: 0.0"),
        (lambda: Planets(substeps=0), "substeps: 0"),
        (lambda: PendulumChain(gravity=-1.0), "gravity: -1.0"),
        (lambda: trajectories(Springs(), 0, 5), "systems: 0"),
        (lambda: trajectories(Springs(), 5, 501), "501 points; accepted: 2 to 500"),
        (lambda: trajectories(Springs(), 5, 5, seed=-1), "seed: -1"),
    ],
)
def test_a_setting_out_of_range_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("system", [Springs(), Planets()], ids=repr)
def test_coincident_particles_have_finite_motion(system):
    state, parameters = drawn(system)
    state[:, 0, 1:] = state[:, 0, :1]
    states = system.trajectory(state, parameters, 50)
    assert states.isfinite().all()
    # All in one place: no force on anybody.
    slope = HamiltonianField(system, parameters)(state)
    assert float(slope[:, 1].abs().max()) < 1e-12
