"""Mistakes that a user can make, each as the code or the command that makes it.

The page of errors runs them when it is built and shows what they say, and the tests hold that every
``raise`` of the packages is reached from here, or is named in ``ELSEWHERE`` with what tests it.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch
from jsonargparse import Namespace

import attention
import attention.neighborhoods
import attention.steerable
import attention.testing
import liegroups
import liegroups.testing
import tasks
from tasks import cache, networks, objectives, sources, studies, systems, training
from tasks.commands import main as cli
from tasks.data.clouds import Arrays, check_arrays
from tasks.objectives.base import Facts
from tasks.sources import files, md17, qm9, shapes, trajectories
from tasks.training import trainer

ROOT = Path(tasks.__file__).resolve().parents[1]
FACTS = Facts(2, 1, point_dim=3)
PACKAGES = ("liegroups", "attention", "tasks")

MISTAKES: dict[str, str] = {
    "Groups and their elements": """
        lg.SE3().log(torch.zeros(3, 3))
        lg.SE3().exp(torch.zeros(3))
        lg.GeneralLinear(2).inverse(torch.ones(2, 2))
        lg.SL2().default_space()
        lg.T3().default_space().group.exp(torch.tensor(1.0))
        lg.Translation(0)
        lg.SO(0)
        lg.SE(0)
        lg.O(0)
        lg.E(0)
        lg.SpecialOrthogonal(3)
        lg.SpecialEuclidean(3)
        lg.PositiveScaling(0)
        lg.RotationScaling(1)
        lg.Sim(1)
        lg.GeneralLinear(0)
        lg.CyclicGroup(0)
        lg.DihedralGroup(0)
        lg.FiniteSubgroup((((1.0, 0.0),),))
        lg.finite_subgroup([torch.zeros(2, 2)])
        lg.finite_subgroup([torch.tensor([[1.0, 1.0], [0.0, 1.0]])])
        lg.SemidirectProduct(lg.T2(), lg.SO2(), lambda g: g)
        lg.SemidirectProduct(lg.T2(), lg.SO2(), lambda g: 2 * torch.eye(3).to(g).expand(*g.shape[:-2], 3, 3))
        corner = torch.diag(torch.tensor([1.0, 0.0, 0.0]))
        ... lg.SemidirectProduct(lg.T2(), lg.SO2(), lambda g: torch.nn.functional.pad(g, (1, 0, 1, 0)) + corner.to(g))
        from liegroups.interop.e3nn import from_quaternion
        ... from_quaternion(torch.zeros(3))
    """,
    "Spaces and points": """
        lg.SE3().default_space().act(torch.eye(4), torch.zeros(2))
        lg.Sphere(lg.SE3())
        lg.GroupItself(lg.SE3()).embed_linear(torch.eye(3))
        lg.GroupItself(lg.SE3()).vectors(torch.zeros(1, 16))
        lg.lift(lg.SE3().default_space(), torch.zeros(3))
        lg.lift(lg.SE3().default_space(), torch.zeros(5, 3, dtype=torch.int64))
        lg.lift(lg.SE3().default_space(), torch.zeros(5, 3), mask=torch.ones(5))
        lg.lift(lg.SE3().default_space(), torch.tensor([[0.0, 0.0, float("nan")]]))
    """,
    "Lifts": """
        lg.Haar(count=0)
        lg.Haar(count=10**6)
        lg.Haar(seed=-1)
        lg.Proposal(count=0)
        lg.Proposal(scale=0.0)
        lg.Grid(count=0)
        lg.GivenElements([])
        lg.Frames(radius=0.0)
        lg.lift(lg.Sim(2).default_space(), torch.zeros(4, 2), lg.Haar(1))
        LieTransformer(lg.Aff2(), 1, 1, invariant=lg.RelativeMatrix(), lift=lg.Frames())
        LieTransformer(lg.Sim(2), 1, 1, lift=lg.Frames(radius=1.0))
        LieTransformer(lg.Sim(2), 1, 1, lift=lg.Grid(4))
        LieTransformer(lg.SE2(), 1, 1, lift=lg.GivenElements([[[2.0, 0.0], [0.0, 2.0]]]))
        LieTransformer(lg.SE2(), 1, 1, lift=lg.FullOrbit(lg.TetrahedralGroup()))
    """,
    "Invariants": """
        lg.Concat([])
        LieTransformer(lg.T3(), 1, 1, invariant=[lg.Distance(), lg.InverseDistance(), lg.RelativePose()])
        lg.InverseDistance(softening=0.0)
        lg.InverseDistance(softening=1e300)
        LieTransformer(lg.SE3(), 1, 1, invariant=lg.OrbitLabels())
        LieTransformer(lg.Sim(2), 1, 1, invariant=lg.Distance())
        LieTransformer(lg.Trivial(3), 1, 1, invariant=lg.AlgebraNorm())
        lg.PoseDistance(rotation=2.0)
        lg.PoseDistance().dim(lg.SO3().default_space())
        LieTransformer(lg.Aff2(), 1, 1, invariant=lg.RelativePose(), lift=lg.Proposal(2))
        LieTransformer(lg.SE3(), 1, 1, invariant=lg.RelativePositionOrientation())
        LieTransformer(lg.Sim(3), 1, 1, invariant=lg.LiftedPositionOrientation(), lift=lg.Frames())
        lg.Gaussian(count=1)
        lg.Bessel(count=0)
        lg.PolynomialEnvelope(power=2)
        lg.RadialBasis(radius=-1.0)
        LieTransformer(lg.Sim(3), 1, 1, invariant=lg.FrameBasis(5.0), lift=lg.Frames())
    """,
    "Networks": """
        LieTransformer(lg.SE3(), in_features=0, out_features=1)
        LieTransformer(lg.SE3(), 1, 1, width=10**9)
        LieTransformer(lg.SE3(), 1, 1, layers=10**6)
        LieTransformer(lg.SE3(), 1, 1, space=lg.SE2().default_space())
        LieTransformer(lg.SE3(), 1, 1, width=32, heads=5)
        LieTransformer(lg.SE3(), 1, 1, backend="fast")
        LieTransformer(lg.T3(), 4, 1, width=8, layers=1, heads=2, backend="fused", normalizer=Count())(torch.randn(2, 5, 4), torch.randn(2, 5, 3))
        LieTransformer(lg.SE3(), 1, 1, head=partial(InvariantHead, pooling="max"))
        LieTransformer(lg.SO3(), 1, 1, space=lg.GroupItself(lg.SO3()), head=RelativeVectorHead)
        RelativeVectorHead(32, 1, Geometry(lg.SE3().default_space(), lg.Distance()), heads=5)
        Kernel.bias(LieTransformer(lg.T3(), 1, 1, kernel=LocationOnly).blocks[0].attention.kernel, None)
        LieTransformer(lg.T3(), 1, 1, kernel=partial(Joint, hidden=0))
        LieTransformer(lg.T3(), 1, 1, kernel=partial(Sum, content=partial(ConcatenatedLinear, hidden=0)))
        LieTransformer(lg.T3(), 1, 1, kernel=partial(Sum, location=partial(LocationMLP, hidden=0)))
        LieTransformer(lg.T3(), 1, 1, kernel=partial(ContentOnly, content=partial(Rotary, length=0.0)))
        LieTransformer(lg.SO3(), 1, 1, kernel=partial(ContentOnly, content=partial(Rotary, length=2.0)))
        LieTransformer(lg.SE3(), 1, 1, width=16, heads=8, kernel=partial(ContentOnly, content=Rotary))
        LieTransformer(lg.SE3(), 1, 1, kernel=partial(ContentOnly, content=FrameRotary), lift=lg.Frames())
        LieTransformer(lg.SO3(), 1, 1, kernel=partial(ContentOnly, content=FrameRotary))
        LieTransformer(lg.SE3(), 1, 1, width=8, heads=8, kernel=partial(ContentOnly, content=FrameRotary))
        LieTransformer(lg.SE3(), 1, 1, invariant=[lg.Distance(), lg.InverseDistance()], basis=BasisPerceptron)
        LieTransformer(lg.SO3(), 1, 1, lift=lg.Haar(4), block=SeparableBlock)
        LieTransformer(lg.SE3(), 1, 1, lift=lg.Haar(4), block=SeparableBlock, head=RelativeVectorHead)
        LieTransformer(lg.SE3(), 1, 1, lift=lg.Haar(4), block=GroupConvolutionBlock)
        LieTransformer(lg.SE3(), 1, 1, lift=lg.Grid(5), block=GroupConvolutionBlock)
        GroupConvolutionBlock(32, 4, Geometry(lg.SE3().default_space(), lg.Distance()))
        LieTransformer(lg.SE3(), 1, 1, lift=lg.Grid(4), block=ConvNextBlock)
        LieTransformer(lg.SE3(), 1, 1, lift=lg.Grid(4), kernel=Convolution, block=ConvNextBlock, backend="reference")
        LieTransformer(lg.SE3(), 1, 1, head=partial(RelativeVectorHead, kernel=Convolution))
        LieTransformer(lg.SE3(), 1, 1, block=InteractionBlock)
        LieTransformer(lg.SE3(), 1, 1, kernel=partial(Convolution, filter=partial(FilterMLP, activation="relu")))
        LieTransformer(lg.SE3(), 1, 1, kernel=Convolution, block=InteractionBlock, backend="reference")
        LieTransformer(lg.SE3(), 1, 1, heads=4, block=MessageBlock)
        HarmonicTransformer(4, 1, channels=32, heads=5)
        ChannelwiseTransformer(4, 1, parities="odd")
        PaiNN(4, 1, output="tensors")
        PaiNN(4, 1, output="vectors", pooling="softmax")
        HarmonicTransformer(4, 1, kernel=Sum)
        HarmonicTransformer(4, 1, output="tensors")
        HarmonicTransformer(4, 1, output="vectors", max_degree=0)
        Exponential(limit=20.0)
    """,
    "Neighborhoods": """
        LieTransformer(lg.T3(), 1, 1, neighborhood=Nearest(8, metric=lg.RelativePose()))
        Radius(0.0)
        Nearest(0)
        RandomNearest(8, of=4)
        Nearest(8, layout="ragged")
        Nearest(8, scatter="torch_spread")
        network = LieTransformer(lg.T3(), 1, 1, width=8, layers=1, heads=2)
        ... network(torch.ones(2, 4, 1), torch.randn(2, 4, 3), edges=torch.zeros(3, 5))
        network = LieTransformer(lg.T3(), 1, 1, width=8, layers=1, heads=2)
        ... network(torch.ones(2, 4, 1), torch.randn(2, 4, 3), edges=torch.tensor([[0, 1], [1, 9]]))
        network = LieTransformer(lg.T3(), 1, 1, width=8, layers=1, heads=2)
        ... network(torch.ones(2, 4, 1), torch.randn(2, 4, 3), edges=torch.tensor([[0, 1], [1, 5]]))
        network = LieTransformer(lg.T3(), 1, 1, width=8, layers=1, heads=2)
        ... mask = torch.tensor([[True, True, True, False]])
        ... network(torch.ones(1, 4, 1), torch.randn(1, 4, 3), mask, edges=torch.tensor([[0, 1], [1, 3]]))
    """,
    "Clouds that a network is given": """
        LieTransformer(lg.T3(), 4, 1)(torch.randn(2, 5, 3), torch.randn(2, 5, 3))
        LieTransformer(lg.T3(), 4, 1)(torch.randn(2, 5, 4), torch.randn(2, 6, 3))
        LieTransformer(lg.T3(), 4, 1)(torch.randn(2, 5, 4), torch.randn(2, 5, 3), torch.ones(2, 5))
        LieTransformer(lg.T3(), 4, 1)(torch.randn(2, 0, 4), torch.randn(2, 0, 3))
        LieTransformer(lg.T3(), 4, 1)(torch.randn(1, 5, 4), torch.randn(1, 5, 3), torch.zeros(1, 5, dtype=torch.bool))
    """,
    "Features that turn": """
        SteerableTransformer("4x0e", "1x0e", group=lg.T3())
        SteerableTransformer("4x0e", "1x0e", pooling="max")
        SteerableTransformer("4x0e", "1x0e", layers=0)
        SteerableTransformer("4x0e", "1x0e", types=[])
        SteerableTransformer("4x0e", "1x0e", types=[0, 12])
        SteerableTransformer("4x0e", "1x0e", heads=0)
        SteerableTransformer("4x0e", "1x3e", types=[0, 1])
        SteerableTransformer("4x0e", "1x0e", channels=6, heads=4)
        SteerableTransformer("4x0e", "1x0e", hidden=0)
        SteerableTransformer("4x0e", "1x0e", product="fast")
        SteerableTransformer("4x0e", "1x0e", invariant=[lg.Distance(), lg.InverseDistance()], stacks=3)
        ChannelwiseTransformer(4, 1, lg.Distance(), layers=1)
        ChannelwiseTransformer(4, 1, lg.Distance(), channels=6, heads=4)
        ChannelwiseTransformer(4, 1, lg.Distance(), hidden=0)
        ChannelwiseTransformer(4, 1, lg.Distance(), pooling="max")
    """,
    "The testing kit": """
        lg.testing.lie_group_suite(lg.SE3(), skip={"log_is_nice": "because"})
        lg.testing.lie_group_suite(lg.SE3(), skip={"log_inverts_exp": " "})
        attention.testing.network_suite(lambda: None, skip={"it_is_nice": "because"})
        attention.testing.network_suite(lambda: None, skip={"copies_are_equal": ""})
        attention.testing.check_network(lambda: torch.nn.Linear(3, 1))
        class Mine(attention.Network):
        ...     equivariance = lg.Equivariance.EXACT
        ...     def forward(self, features, points, mask=None, *, edges=None, generator=None):
        ...         return features.sum(1)
        ... attention.testing.check_network(Mine)
        lg.testing.commutation_error(lambda x: x, lambda x: x, lambda y: y.mT, torch.zeros(5, 3))
        lg.testing.commutation_error(lambda x: x / 0, lambda x: x, lambda y: y, torch.zeros(5, 3))
        lg.testing.equivariance_error(lambda x: x, lg.SE3(), torch.zeros(5, 3), elements=torch.zeros(0, 4, 4))
    """,
    "The command line": """
        $ lie-attention fit --task md99
        $ lie-attention fit --config nothing.yaml
        Path("broken.yaml").write_text("model: [")
        ... $ lie-attention fit --config broken.yaml
        Path("empty.yaml").write_text("nothing")
        ... $ lie-attention fit --config empty.yaml
        $ lie-attention fit --config qm9/quick.yaml --model.network.group SE9
        $ lie-attention fit --config qm9/quick.yaml --model.network.invariant Distant
        $ lie-attention fit --config qm9/quick.yaml --model.network.widht 3
        $ lie-attention fit --config qm9/quick.yaml --model.network.width wide
        $ lie-attention test --config qm9/quick.yaml
        $ lie-attention test --run runs/none
        $ lie-attention fit --resume runs/none
        $ lie-attention test --config qm9/quick.yaml --ckpt_path none.ckpt
        Path("foreign.ckpt").write_bytes(b"hello")
        ... $ lie-attention test --config qm9/quick.yaml --ckpt_path foreign.ckpt
        torch.save({"weight": torch.ones(3)}, "weights.ckpt")
        ... $ lie-attention test --config qm9/quick.yaml --ckpt_path weights.ckpt
        $ lie-attention check-group SE3
        $ lie-attention check-group nowhere:SE3
        $ lie-attention check-group liegroups:SE9
        $ lie-attention check-group liegroups:Translation
        $ lie-attention check-group liegroups:Distance
        $ lie-attention plot qm9
        $ lie-attention plot shapes rainbow
        $ lie-attention plot shapes clouds --count none
    """,
    "Training": """
        $ lie-attention fit --config qm9/quick.yaml --model.invariant Distance
        training.Model(NETWORK, learning_rate=0.0)
        training.Model(NETWORK, weight_decay=-1.0)
        training.Model(NETWORK, warmup=1.0)
        training.Model(networks.SetTransformer)
        training.Model(partial(NETWORK, head=attention.PointHead))
        training.WeightAverage(decay=1.0)
        trainer.check_trainer(Namespace(devices="gpu"))
        trainer.check_trainer(Namespace(accumulate_grad_batches=0))
        trainer.check_trainer(Namespace(gradient_clip_val=float("nan")))
    """,
    "QM9": """
        $ lie-attention fit --config qm9/quick.yaml --model.network.group SE2
        $ lie-attention fit --config qm9/quick.yaml --data.augment SE2
        $ lie-attention fit --config qm9/quick.yaml --data.target gapp
        $ lie-attention fit --config qm9/quick.yaml --data.split random
        $ lie-attention fit --config qm9/quick.yaml --data.train_molecules 200000
        $ lie-attention fit --config qm9/quick.yaml --data.batch_size 0
        $ lie-attention fit --config qm9/quick.yaml --data.seed -1
        qm9.QM9().train_dataloader()
        sources.atoms.check_elements("methane", np.array([6, 14]), {"H": 1, "C": 6})
        qm9.targets.reference("homo", np.zeros(3))
    """,
    "Energies and forces": """
        $ lie-attention fit --config md17/quick.yaml --data.split 6
        $ lie-attention fit --config md17/quick.yaml --data.train_frames 1
        $ lie-attention fit --config md17/quick.yaml --data.source RMD17 --data.source.labels new
        $ lie-attention fit --config md17/quick.yaml --model.network LieTransformer --model.network.group SE2
        objectives.EnergiesAndForces(FACTS, energy_weight=0.0, force_weight=0.0)
        objectives.EnergiesAndForces(FACTS, force_weight=float("nan"))
        objectives.EnergiesAndForces(FACTS).join(NETWORK(in_features=2, out_features=1))
        md17.MD17("../x")
        md17.MD17(source=md17.Springs()).train_dataloader()
        md17.Springs(frames=0)
        md17.Springs().load("aspirin")
        md17.MD17(source=md17.Springs(frames=10)).setup()
        md17.RMD17(folder="nowhere").load("ethanol")
        md17.RMD17(folder=".").load("ethanol")
        Path("rmd17_ethanol.npz").write_bytes(b"not an archive")
        ... md17.RMD17(folder=".").load("ethanol")
        np.savez("rmd17_ethanol.npz", energies=np.zeros(3))
        ... md17.RMD17(folder=".").load("ethanol")
        md17.XTB(frames=0)
        md17.XTB(timestep=0.0)
        md17.XTB(geometry="nothing.xyz").load("it")
        md17.XTB().load("ethanool")
        md17.XTB().load("H")
        Path("odd.xyz").write_text("not a geometry")
        ... md17.XTB(geometry="odd.xyz").load("it")
        Path("near.xyz").write_text("2\\n\\nH 0 0 0\\nH 0 0 0.01\\n")
        ... md17.XTB(geometry="near.xyz").load("it")
        Path("heavy.xyz").write_text("2\\n\\nU 0 0 0\\nH 0 0 2\\n")
        ... md17.XTB(geometry="heavy.xyz").load("it")
        zeros = np.zeros((2, 1, 3))
        ... md17.Frames("a molecule", "none", np.array([1, 1]), zeros, np.zeros(2), zeros)
        zeros = np.zeros((0, 1, 3))
        ... md17.Frames("a molecule", "none", np.array([1]), zeros, np.zeros(0), zeros)
        zeros = np.zeros((1, 1, 3))
        ... md17.Frames("a molecule", "none", np.array([1]), zeros, np.array([np.nan]), zeros)
        $ lie-attention md --run runs/none
        $ lie-attention md --run runs/none --steps 0
        $ lie-attention md --run runs/none --timestep 0
        $ lie-attention md --run runs/none --steps 10 --interval 10
    """,
    "Counting shapes": """
        shapes.Patterns(shapes=[])
        shapes.Patterns(shapes=["hexagon"])
        shapes.Patterns(shapes=["L", "L"])
        shapes.Patterns(repetitions=0)
        shapes.Patterns(presence=0.0)
        shapes.Patterns(rotation=200.0)
        shapes.Patterns(noise=-1.0)
        shapes.Patterns().sample(-1, 0)
        shapes.Shapes(train_clouds=1_000_000_000)
        shapes.Shapes(train_clouds=0)
        shapes.Shapes(seed=-1)
        shapes.Shapes(motion="SE3")
        shapes.Shapes(shift=-1.0)
        shapes.Shapes(features="colors")
        shapes.Shapes(fresh=True, folder="clouds")
        Path("file").touch()
        ... shapes.Shapes(train_clouds=4, folder="file/clouds").moved("train", "D")
        shapes.Shapes(train_clouds=4, folder="clouds").moved("train", "D")
        ... shapes.Shapes(train_clouds=5, folder="clouds").moved("train", "D")
        shapes.Shapes(train_clouds=4, folder="clouds").moved("train", "D")
        ... next(Path("clouds").iterdir()).write_bytes(b"broken")
        ... shapes.Shapes(train_clouds=4, folder="clouds").moved("train", "D")
        clouds = shapes.Patterns().sample(1, 0)
        ... shapes.move(clouds, "T2", -1.0, np.random.default_rng(0))
        $ lie-attention fit --config shapes/quick.yaml --model.network.group SE3
        NETWORK(in_features=1, out_features=4, unit=0.0)
        NETWORK(in_features=1, out_features=4, head=attention.PointHead, pooling="sum")
        NETWORK(in_features=1, out_features=4, space=lg.Sphere(lg.SO3()))
        LieTransformer(lg.SE3(), 1, 1, space=lg.GroupItself(lg.SE3()), unit=2.0)
        attention.Fibers
        networks.Perceptron(1, 4, 2, max_points=6)(torch.ones(2, 5, 1), torch.ones(2, 5, 2))
        NETWORK(in_features=1, out_features=4, head=partial(attention.SumHead, typical=0.0))
        networks.SetTransformer(1, 4, 2, width=0)
        networks.SetTransformer(1, 4, 2, width=30, heads=4)
        $ lie-attention plot shapes clouds --count 0
        $ lie-attention plot shapes table --results nothing.json
        Path("words.json").write_text("words")
        ... $ lie-attention plot shapes table --results words.json
        Path("other.json").write_text('{"rows": [{"a": 1}]}')
        ... $ lie-attention plot shapes table --results other.json
    """,
    "Hamiltonian dynamics": """
        trajectories.DynamicsData(train_systems=0)
        trajectories.DynamicsData(system=systems.Springs(points=50))
        trajectories.DynamicsData().part("train")
        systems.Springs(particles=0)
        systems.Springs(spacing=0.0)
        systems.Springs(spacing=float("inf"))
        systems.PendulumChain(gravity=-1.0)
        systems.Planets(softening=0.0)
        trajectories.trajectories(systems.Springs(), 0, 5)
        trajectories.trajectories(systems.Springs(), 1, 1000)
        trajectories.trajectories(systems.Springs(), 1, 5, seed=-1)
        systems.Springs().check(torch.zeros(1, 6, 2), torch.ones(1, 6, 2))
        systems.Springs().check(torch.zeros(1, 2, 6, 2), torch.ones(1, 6, 3))
        systems.Springs().check(torch.full((1, 2, 6, 2), float("nan")), torch.ones(1, 6, 2))
        systems.Springs().check(torch.zeros(1, 2, 6, 2), torch.zeros(1, 6, 2))
        objectives.HamiltonianDynamics(FACTS, feature_scale=0.0)
        objectives.HamiltonianDynamics(FACTS, learns="derivative", kinetic="learned")
        $ lie-attention fit --config dynamics/quick.yaml --data.system PendulumChain --model.objective.kinetic learned
        $ lie-attention fit --config dynamics/quick.yaml --model.network.group SE3
        $ lie-attention fit --config dynamics/quick.yaml --data.augment SE3
        networks.Perceptron(1, 4, 2, max_points=6, width=0)
        networks.GraphNetwork(1, 4, 2, width=0)
        systems.system_of("Rockets()")
        systems.system_of("Springs(particles=six)")
        systems.RK4(substeps=0)
        systems.Adaptive(rtol=0.0)
        systems.Leapfrog()(lambda z: z, torch.zeros(1, 2, 1, 1), torch.arange(3.0))
        systems.RK4()(lambda z: z, torch.ones(1, 2, 1, 1), torch.tensor([0.0, 0.0]))
        systems.RK4()(lambda z: 1e6 * z, torch.ones(1, 2, 1, 1), torch.arange(3.0))
        systems.Slope()(systems.Springs(), None, torch.zeros(1, 3, 2, 6, 2))
        $ lie-attention plot dynamics animation --run runs/none
        $ lie-attention plot dynamics animation --run runs/none --fps 0
        $ lie-attention plot dynamics conservation --steps 0
    """,
    "Your own clouds": """
        $ lie-attention fit --task clouds
        $ lie-attention fit --task clouds --data.source Mine
        check_arrays("mine", Arrays(np.zeros((2, 3)), np.array([1]), np.ones((2, 1)), np.zeros((1, 1)), np.zeros(1, int)), 3, 1)
        $ lie-attention predict nothing.xyz --run runs/none
        Path("one.xyz").touch()
        ... $ lie-attention predict one.xyz
        Path("one.xyz").touch()
        ... $ lie-attention predict one.xyz --run runs/none --rotations 1
        Path("one.xyz").touch()
        ... Path("two.npz").touch()
        ... $ lie-attention predict one.xyz two.npz --run runs/none
        Path("one.npz").write_bytes(b"hello")
        ... files.read_arrays(Path("one.npz"))
        Path("one.xyz").write_text("hello")
        ... list(files.read_molecules(Path("one.xyz")))
        REGRESSION.stored(NETWORK(in_features=2, out_features=1), {"points": np.zeros((4, 3))}, False)
        REGRESSION.stored(NETWORK(in_features=2, out_features=1), {"points": np.zeros((4, 2)), "sizes": np.array([4]), "features": np.ones((4, 2))}, False)
        REGRESSION.atom_features()
    """,
    "Ablations": """
        $ lie-attention ablate
        $ lie-attention ablate --config qm9/quick.yaml --grid.seed_everything '[0, 1]' --workers 0
        $ lie-attention ablate --config qm9/quick.yaml --grid.seed_everything '[0, 1]' --spread width
        $ lie-attention ablate --config qm9/quick.yaml --grid.seed_everything '[0'
        $ lie-attention ablate --config qm9/quick.yaml --grid.seed_everything '[]'
        $ lie-attention ablate --config qm9/quick.yaml --grid.run '[a, b]'
        $ lie-attention ablate --config qm9/quick.yaml --grid.seed_everything 3
        $ lie-attention ablate --config qm9/quick.yaml --grid.model.network.width '[8, 16]' --model.network.width 8
        $ lie-attention ablate --config qm9/quick.yaml --grid.model.network.width '[8, 16]' --run here
        $ lie-attention ablate --config qm9/quick.yaml --grid.model.network.width '[8, 16]' --columns '[mae]'
        $ lie-attention ablate --config qm9/quick.yaml --grid.model.network.width '[8, 16]' --columns '{date: test/mae}'
        $ lie-attention ablate --config qm9/quick.yaml --grid.model.network.width '[8, 16]' --gpus 1
        $ lie-attention ablate --config qm9/quick.yaml --grid.model.network.width '[8, 8]'
        $ lie-attention ablate --config qm9/quick.yaml --grid.model.network.width '[8, 16]' --model.network.heads 3 --dry_run
        $ lie-attention ablate --config qm9/quick.yaml stray --grid.model.network.width '[8, 16]'
        $ lie-attention ablate --study nothing.yaml
        studies.Axis.parse("size", {"choices": [1]})
        studies.Axis.parse("size", {"choices": {"small": 8}})
        studies.Axis.parse("size", {"choices": {"small": {"model.network.width": 8}, "deep": {"model.network.layers": 8}}})
        studies.Axis.parse("size", {"keys": 3, "values": [8]})
        studies.Axis.parse("size", {"keys": "model.network.width", "values": 8})
        studies.combine([studies.Axis.parse("a.x", [1]), studies.Axis.parse("b.x", [1])])
        studies.combine([studies.Axis.parse("x", ["a" * 300, "b"])])
        studies.combine([studies.Axis.parse("x", ["a b", "a-b"])])
        Path("study.yaml").write_text("[")
        ... studies.Study.read(Path("study.yaml"))
        Path("study.yaml").write_text("words")
        ... studies.Study.read(Path("study.yaml"))
        Path("study.yaml").write_text("grids: {}")
        ... studies.Study.read(Path("study.yaml"))
        Path("study.yaml").write_text("grid: [1]")
        ... studies.Study.read(Path("study.yaml"))
        Path("study.yaml").write_text("grid: {seed_everything: [0]}")
        ... studies.Study.read(Path("study.yaml"))
        Path("base.yaml").write_text("task: qm9")
        ... Path("study.yaml").write_text("{config: base.yaml, grid: {}}")
        ... studies.Study.read(Path("study.yaml"))
        Path("base.yaml").write_text("task: qm9")
        ... Path("study.yaml").write_text("{config: base.yaml, grid: {seed_everything: [0, 1]}, columns: {seed: test/mae}}")
        ... studies.Study.read(Path("study.yaml"))
        Path("base.yaml").write_text("task: qm9")
        ... Path("study.yaml").write_text("{config: base.yaml, grid: {seed: {keys: [seed_everything, data.seed], values: [0, 1]}}}")
        ... studies.Study.read(Path("study.yaml")).narrowed("seed", [7])
    """,
    "Files in the cache": """
        cache.load_arrays(Path("."), version=1)
        Path("file").touch()
        ... cache.load_arrays(Path("file/arrays.npz"), version=1)
        with cache.writing_only_below("runs"): cache.write_atomic(Path("elsewhere.txt"), b"")
        Path("file.npz").write_bytes(b"no archive")
        ... cache.load_arrays(Path("file.npz"), version=1)
        cache.save_arrays(Path("file.npz"), {"a": np.zeros(3)}, version=1)
        ... cache.load_arrays(Path("file.npz"), version=2)
    """,
}
"""Sections of the page. A line that begins with ``...`` goes on with the one before, and what follows
a ``$`` is a command."""

_DATA = "it takes files of data, or damaged ones: "
_RUN = "it takes a trained model: "
ELSEWHERE: dict[str, str] = {
    "liegroups.interop.geomstats": "it takes the extra `geomstats`: `tests/liegroups/test_interop.py`",
    "liegroups.testing.strategies": "it is for authors of laws: `tests/liegroups/test_testing_kit.py`",
    "attention.neighborhoods.scatter": "an extra that is missing: "
    "`tests/attention/test_neighborhoods.py`",
    "attention.steerable.products": "an extra that is missing: "
    "`tests/attention/steerable/test_product.py`",
    "tasks.studies": "a folder in use, or two processes at once: `tests/tasks/studies`",
    "tasks.commands": "it takes a finished run: `tests/tasks/commands`",
    "tasks.systems": "steps that cannot be small enough: `tests/tasks/systems`",
    "tasks.objectives": _RUN + "`tests/tasks/objectives`",
    "tasks.plots": _RUN + "`tests/tasks/objectives`",
    "tasks.data": "it takes an interrupted run, or several processes: `tests/tasks/data`",
    "tasks.sources": _DATA + "`tests/tasks/sources`",
    "tasks.simulate": _RUN + "`tests/tasks/simulate`",
    "tasks.training": _RUN + "`tests/tasks/training`",
    "tasks.pretrained": "the names change: `tests/tasks/pretrained`",
    "tasks.runs": "it takes the folder of a run: `tests/tasks/runs`",
}
"""Modules that raise something that is not provoked here, with the reason and the tests that do."""


@dataclass(frozen=True)
class Mistake:
    """What a user gives, line by line."""

    section: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """What a mistake gets for an answer.

    Attributes:
        kind: The class of the exception; ``lie-attention: error`` of a command.
        message: What it says, with the temporary folder taken out.
        places: Files and lines of the packages where it, and what it was raised from, was raised.
    """

    kind: str
    message: str
    places: frozenset[tuple[str, int]]


def mistakes() -> list[Mistake]:
    """All mistakes, in the order of the page."""
    found: list[Mistake] = []
    for section, text in MISTAKES.items():
        blocks: list[list[str]] = []
        for line in textwrap.dedent(text).strip().splitlines():
            if line.startswith("... "):
                blocks[-1].append(line.removeprefix("... "))
            else:
                blocks.append([line])
        found += [Mistake(section, tuple(block)) for block in blocks]
    return found


def provoke(mistake: Mistake) -> Said:
    """Make a mistake, in an empty folder with an empty cache.

    Raises:
        AssertionError: If nothing was raised.
    """
    with tempfile.TemporaryDirectory() as folder, _inside(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
                _do(mistake)
        except BaseException as error:
            chain = list(_chain(error))
            if isinstance(error, SystemExit):
                kind, _, message = (
                    printed.getvalue().strip().splitlines()[-1].partition(": error: ")
                )
                assert kind == "lie-attention" and error.code == 1, printed.getvalue()
                kind += ": error"
            else:
                kind, message = type(error).__name__, str(error)
            message = message.replace(os.path.realpath(folder), "…").replace(folder, "…")
            return Said(kind, message, frozenset(filter(None, map(_place, chain))))
    raise AssertionError(f"no mistake: {mistake.lines}")


def _do(mistake: Mistake) -> None:
    *prepared, last = mistake.lines
    names: dict[str, Any] = {
        **vars(attention.neighborhoods),
        **vars(attention.steerable),
        **vars(attention),
        "Namespace": Namespace,
        "Path": Path,
        "attention": attention,
        "Arrays": Arrays,
        "FACTS": FACTS,
        "NETWORK": partial(attention.LieTransformer, liegroups.SE3()),
        "REGRESSION": objectives.Regression(FACTS),
        "cache": cache,
        "check_arrays": check_arrays,
        "files": files,
        "networks": networks,
        "objectives": objectives,
        "sources": sources,
        "studies": studies,
        "systems": systems,
        "training": training,
        "trajectories": trajectories,
        "lg": liegroups,
        "md17": md17,
        "np": np,
        "partial": partial,
        "qm9": qm9,
        "shapes": shapes,
        "torch": torch,
        "trainer": trainer,
    }
    if not last.startswith("$ "):
        exec("\n".join(mistake.lines), names)  # Our own lines, above.
        return
    exec("\n".join(prepared), names)
    cli.main(shlex.split(last)[2:])


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Work in a folder, with its own cache, and leave all as it was."""
    before, arguments = os.getcwd(), sys.argv
    variable = os.environ.get(cache.CACHE_VARIABLE)
    os.chdir(folder)
    os.environ[cache.CACHE_VARIABLE] = os.path.join(folder, "cache")
    sys.argv = ["lie-attention"]
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = arguments
        if variable is None:
            del os.environ[cache.CACHE_VARIABLE]
        else:
            os.environ[cache.CACHE_VARIABLE] = variable


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that it was raised from or in place of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _place(error: BaseException) -> tuple[str, int] | None:
    """Where an exception was raised, if in one of our packages."""
    last: TracebackType | None = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return None
    frame: FrameType = last.tb_frame
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT) or path.relative_to(ROOT).parts[0] not in PACKAGES:
        return None
    return str(path.relative_to(ROOT)), last.tb_lineno
