"""How a net is trained, apart from the regularizer: the same for every method of a campaign."""

from typing import Literal, Self, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuner.training.schedule import Schedule


@final
class Training(BaseModel):
    """Stochastic gradient descent with momentum, its schedule, its loss and its precision."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    epochs: int = Field(ge=1, description="passes over the training images")
    batch_size: int = Field(ge=1, description="images a step")
    lr: float = Field(gt=0, description="learning rate; the schedule moves it between 0 and this")
    weight_decay: float = Field(ge=0, description="L2 penalty, on every parameter as in the papers' codes")
    schedule: Schedule = Field(description="how the learning rate moves")
    evaluate_every: int = Field(1, ge=1, description="epochs from one look at the validation images to the next")
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last update that is kept")
    nesterov: bool = Field(True, description="look ahead by the momentum")
    loss: Literal["ce", "bce"] = Field("ce", description="cross-entropy, or binary cross-entropy on the softmax")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the forward pass; weights and loss are float32")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov looks ahead by the momentum, got momentum 0; raise it or set nesterov to false")
        return self

    def evaluates(self, epoch: int) -> bool:
        """Whether epoch 1..n ends with a look at the validation images; the last one always does."""
        return epoch % self.evaluate_every == 0 or epoch == self.epochs
