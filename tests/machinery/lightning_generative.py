"""Modules that make data: environments, and models that generate."""

import copy
import itertools
import random
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from lightning_code import Classifier
from lightning_data import FEATURES
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, lr_scheduler
from torch.utils.data import DataLoader, IterableDataset

# --- reinforcement learning ---------------------------------------------------------------------


Transition = namedtuple("Transition", ["state", "action", "reward", "done", "new_state"])


class Walk:
    """An environment: a walk on a line."""

    def reset(self) -> np.ndarray:
        self.place, self.time = 0, 0
        return np.zeros(2, np.float32)

    def step(self, action: int) -> tuple[np.ndarray, float, bool]:
        self.place, self.time = self.place + 2 * action - 1, self.time + 1
        return np.array([self.place, self.time], np.float32), float(self.place), self.time >= 5


class Replay(IterableDataset[Any]):
    """Draws from what was seen."""

    def __init__(self, buffer: deque[Transition], size: int) -> None:
        self.buffer, self.size = buffer, size

    def __iter__(self) -> Iterator[Any]:
        for i in np.random.choice(len(self.buffer), self.size, replace=False):
            yield tuple(self.buffer[i])


class QLearning(L.LightningModule):
    """Acts in an environment within `training_step`; two copies of a net; an OrderedDict out."""

    def __init__(self, gamma: float = 0.9) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
        self.target_net = copy.deepcopy(self.net)
        self.environment, self.buffer = Walk(), deque(maxlen=50)
        self.state, self.total = self.environment.reset(), 0.0
        for _ in range(30):
            self.act(epsilon=1.0)

    @torch.no_grad()
    def act(self, epsilon: float) -> float:
        action = int(np.random.randint(2))
        if np.random.random() > epsilon:
            action = int(self.net(torch.tensor(self.state)[None]).argmax())
        new_state, reward, done = self.environment.step(action)
        seen = Transition(self.state, action, np.float32(reward), done, new_state)
        self.buffer.append(seen)
        self.state = self.environment.reset() if done else new_state
        return reward

    def training_step(self, batch: Any, batch_idx: int) -> OrderedDict[str, Tensor]:
        self.total += self.act(epsilon=max(0.1, 1 - self.global_step / 20))
        states, actions, rewards, done, new_states = batch
        values = self.net(states).gather(1, actions.long()[:, None]).squeeze(-1)
        with torch.no_grad():
            future = self.target_net(new_states).max(1)[0]
            future[done] = 0.0
        loss = F.mse_loss(values, rewards + self.hparams.gamma * future)
        if self.global_step % 2 == 0:
            self.target_net.load_state_dict(self.net.state_dict())
        self.log("total", self.total, prog_bar=True)
        self.log("steps", float(self.global_step), logger=False, prog_bar=True)
        return OrderedDict(loss=loss, rewards=rewards)

    def configure_optimizers(self) -> list[Optimizer]:
        return [Adam(self.net.parameters(), lr=0.01)]

    def train_dataloader(self) -> Any:
        return DataLoader(Replay(self.buffer, 24), batch_size=8)


class Generated(IterableDataset[Any]):
    """What a function yields."""

    def __init__(self, function: Callable[[], Iterator[Any]]) -> None:
        self.function = function

    def __iter__(self) -> Iterator[Any]:
        return self.function()


class PolicyGradient(L.LightningModule):
    """The module generates its data; several steps of two optimizers for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.policy, self.value, self.environment = nn.Linear(2, 2), nn.Linear(2, 1), Walk()

    def actions(self, states: Tensor) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(logits=self.policy(states))

    def episodes(self) -> Iterator[Any]:
        for _ in range(3):
            state, done = self.environment.reset(), False
            while not done:
                with torch.no_grad():
                    action = self.actions(torch.tensor(state)).sample()
                new_state, reward, done = self.environment.step(int(action))
                yield state, action, np.float32(reward)
                state = new_state

    def training_step(self, batch: Any, batch_idx: int) -> None:
        states, actions, rewards = batch
        actor, critic = self.optimizers()
        for _ in range(2):
            value = self.value(states).squeeze(1)
            advantage = rewards - value.detach()
            gain = self.actions(states).log_prob(actions) * advantage
            for optimizer, loss in ((actor, -gain.mean()), (critic, F.mse_loss(value, rewards))):
                optimizer.zero_grad()
                self.manual_backward(loss)
                self.clip_gradients(optimizer, 0.5, "norm")
                optimizer.step()
        self.log("reward", rewards.mean(), prog_bar=True, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        return Adam(self.policy.parameters(), 0.01), Adam(self.value.parameters(), 0.01)

    def train_dataloader(self) -> Any:
        return DataLoader(Generated(self.episodes), batch_size=5)


# --- generative ---------------------------------------------------------------------------------


class Variational(Classifier):
    """Samples in `forward`, returns a list, and writes files where the logger writes."""

    def __init__(self, latent: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder, self.decoder = nn.Linear(FEATURES, 2 * latent), nn.Linear(latent, FEATURES)

    def forward(self, x: Tensor, **_: Any) -> list[Tensor]:  # type: ignore[override]
        mean, log_variance = self.encoder(x).chunk(2, 1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return [self.decoder(latent), mean, log_variance]

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        found, mean, log_variance = self(x, labels=y)
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        return F.mse_loss(found, x) + 0.1 * divergence

    def on_test_start(self) -> None:
        torch.manual_seed(0)

    def on_validation_end(self) -> None:
        batch = next(iter(self.trainer.datamodule.val_dataloader()))
        folder = Path(self.logger.log_dir, "samples")
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.logger.name}_{self.current_epoch}.npy"
        np.save(folder / name, self(batch[0])[0].detach().numpy())


class WeightAverage(Callback):
    """An average of the weights that is validated, and saved in place of the weights."""

    def __init__(self) -> None:
        self.average: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if not self.average:
            self.average = copy.deepcopy(pl_module.state_dict())

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        for name, value in pl_module.state_dict().items():
            self.average[name] = 0.9 * self.average[name] + 0.1 * value

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.weights = copy.deepcopy(pl_module.state_dict())
        pl_module.load_state_dict(self.average)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.load_state_dict(self.weights)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        checkpoint["weights"] = checkpoint["state_dict"]
        checkpoint["state_dict"] = self.average

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        self.average = checkpoint["state_dict"]
        if trainer.state.fn == "fit":
            checkpoint["state_dict"] = checkpoint["weights"]


class Denoiser(Classifier):
    """Noise of random strength, its schedule in a buffer that is not saved."""

    def __init__(self, steps: int = 10) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FEATURES + 1, 8), nn.SiLU(), nn.Linear(8, FEATURES))
        signal = torch.cumprod(1 - torch.linspace(1e-3, 0.2, steps), 0)
        self.register_buffer("signal", signal, persistent=False)

    def loss(self, batch: Any) -> Tensor:
        x = batch[0]
        time = torch.randint(len(self.signal), (len(x),), device=self.device)
        signal, noise = self.signal[time][:, None], torch.randn_like(x)
        noisy = signal.sqrt() * x + (1 - signal).sqrt() * noise
        return F.mse_loss(self.net(torch.cat([noisy, time[:, None] / 10], 1)), noise)

    def on_test_start(self) -> None:
        torch.manual_seed(0)

    def configure_callbacks(self) -> Any:
        return [WeightAverage()]


class Translators(Classifier):
    """Two generators in one optimizer, a pool of earlier outputs, a penalty on gradients."""

    def __init__(self, every: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.there, self.back = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
        first = nn.utils.spectral_norm(nn.Linear(FEATURES, 8))
        self.critic = nn.Sequential(first, nn.LeakyReLU(), nn.Linear(8, 1))
        self.pool: list[Tensor] = []

    def from_pool(self, items: Tensor) -> Tensor:
        for item in items:
            if len(self.pool) < 4:
                self.pool.append(item)
            elif random.random() > 0.5:
                self.pool[random.randrange(4)] = item
        return torch.stack(self.pool)

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        mixed = (0.5 * real[: len(fake)] + 0.5 * fake[: len(real)]).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(mixed).sum(), mixed, create_graph=True)
        return (slope.norm(dim=1) - 1).pow(2).mean()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        generators, critic = self.optimizers()
        x = batch[0]
        if batch_idx % self.hparams.every == 0:
            self.toggle_optimizer(generators)
            fake = self.there(x)
            loss = F.l1_loss(self.back(fake), x) - self.critic(fake).mean()
            generators.zero_grad()
            self.manual_backward(loss)
            generators.step()
            self.untoggle_optimizer(generators)
        self.toggle_optimizer(critic)
        fake = self.from_pool(self.there(x).detach())
        loss = self.critic(fake).mean() - self.critic(x).mean() + self.penalty(x, fake)
        critic.zero_grad()
        self.manual_backward(loss)
        critic.step()
        self.untoggle_optimizer(critic)

    def on_train_epoch_end(self) -> None:
        for scheduler in self.lr_schedulers():
            scheduler.step()

    def loss(self, batch: Any) -> Tensor:
        return F.l1_loss(self.back(self.there(batch[0])), batch[0])

    def decay(self, epoch: int) -> float:
        return 1 - epoch / 5

    def configure_optimizers(self) -> Any:
        both = itertools.chain(self.there.parameters(), self.back.parameters())
        optimizers = [Adam(both, betas=(0.5, 0.999)), Adam(self.critic.parameters())]
        return optimizers, [lr_scheduler.LambdaLR(o, self.decay) for o in optimizers]
