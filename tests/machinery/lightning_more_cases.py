"""Further pairs, in the manner of whole projects: how they learn, their tasks, their customs."""

from lightning_case import MONITOR, PARTIAL_ADAM, Case, case
from lightning_data import FEATURES

LINEAR = {
    "class_path": "torch.nn.Linear",
    "init_args": {"in_features": FEATURES, "out_features": 4},
}
STEP_LR = {
    "_target_": "torch.optim.lr_scheduler.StepLR",
    "_partial_": True,
    "step_size": 1,
}
CONFIG = {
    "_target_": "lightning_kept.Config",
    "betas": [0.9, 0.99],
    "widths": {"_target_": "lightning_kept.Widths", "hidden": [4]},
    "dtype": {"_target_": "hydra.utils.get_object", "path": "torch.float32"},
}
OWN_TRAINER = ("trainer._target_=lightning_customs.OwnTrainer", "+trainer.label=one")

MORE_CASES: dict[str, Case] = {
    # ways to learn
    "a momentum encoder": case(
        "lightning_methods.MomentumEncoder", "lightning_methods.TwoViews", *MONITOR
    ),
    "a teacher outside of the module": case("lightning_methods.HiddenTeacher"),
    "an environment": case("lightning_generative.QLearning", None, has_test=False),
    "data that the module generates": case(
        "lightning_generative.PolicyGradient", None, has_test=False
    ),
    "random numbers in forward": case("lightning_generative.Variational", "PlainData", *MONITOR),
    "an average that is saved": case("lightning_generative.Denoiser", "PlainData", *MONITOR),
    "a pool of earlier outputs": case("lightning_generative.Translators"),
    "embeddings of a validation": case(
        "lightning_methods.Embeds", "lightning_methods.TripletData", "monitor=val_recall"
    ),
    "steps within the loss": case("lightning_methods.InnerSteps", "PlainData", *MONITOR),
    "a teacher that is not saved": case("lightning_methods.Distilled", "PlainData", *MONITOR),
    "modules inside that log": case("lightning_methods.Ensemble"),
    # tasks
    "detection": case("lightning_images.Detector", "lightning_images.DetectionData"),
    "segmentation by class": case(
        "lightning_images.MaskSegmenter", "lightning_images.MaskData", "monitor=val/acc"
    ),
    "tokens": case("lightning_tasks.TextClassifier", "lightning_tasks.TokenData"),
    "speech": case("lightning_tasks.Recognizer", "lightning_tasks.SpeechData"),
    "a series": case(
        "lightning_tasks.Forecaster",
        "lightning_tasks.SeriesData",
        "monitor=val_error",
        "mode=min",
        model_keys={"num_inputs": "???"},
    ),
    "ratings": case("lightning_tasks.TwoTowers", "lightning_tasks.Ratings", "monitor=val/gain"),
    "a batch of its own kind": case("Classifier", "lightning_more_data.OwnBatchData"),
    "a dataset that is told the epoch": case(
        "lightning_more_data.Curriculum", "lightning_more_data.CurriculumData"
    ),
    "loaders in sequence": case(
        "lightning_more_data.OfSequential", "lightning_more_data.SequentialData"
    ),
    "folds": case("Classifier", "lightning_more_data.FoldData", data_keys={"fold": 1}),
    # customs
    "an optimizer around another": case("lightning_customs.Sharp"),
    "plateau by hand": case("lightning_customs.PlateauByHand", "PlainData", *MONITOR),
    "a loss per sample": case("lightning_customs.LossPerSample"),
    "loops": case("lightning_customs.Loops"),
    "a trainer of its own": case("lightning_customs.OfOwnTrainer", "PlainData", *OWN_TRAINER),
    "a trainer inside": case("lightning_customs.TrainsAnother"),
    "callbacks of Lightning": case("lightning_customs.LightningsCallbacks"),
    "a checkpoint of each step": case("lightning_customs.ChecksEachStep"),
    "a logger of its own": case("lightning_customs.AddsLogger"),
    "attributes of the net": case("lightning_customs.Delegates"),
    "metrics of metrics": case("lightning_state.MetricsOfMetrics", "PlainData", "monitor=val/max"),
    "random states": case("lightning_state.RandomStates"),
    "renamed weights": case("lightning_state.RenamesWeights"),
    "copies of itself": case("lightning_state.Copies"),
    "a namespace": case(
        "lightning_state.OfNamespace",
        model_keys={"hparams": {"_target_": "argparse.Namespace", "lr": 0.01}},
    ),
    "attributes of a mapping": case(
        "lightning_state.OfAttributes",
        model_keys={"_convert_": "none", "cfg": {"net": {"width": 4}, "optim": {"lr": 0.1}}},
    ),
    "class_path": case(
        "lightning_state.OfClassPath",
        model_keys={
            "encoder": LINEAR,
            "optimizer": PARTIAL_ADAM,
            "scheduler": STEP_LR,
            "activation": {"_target_": "hydra.utils.get_class", "path": "torch.nn.GELU"},
        },
    ),
    # what a checkpoint keeps
    "versions of layers": case("lightning_kept.Versioned"),
    "packed weights": case("lightning_kept.QuantizedTeacher"),
    "tuples as keys": case("lightning_kept.Table"),
    "containers": case("lightning_kept.Containers"),
    "a config of its own": case("lightning_kept.OfConfig", model_keys={"config": CONFIG}),
    "the best of its own": case("lightning_kept.OwnBest"),
}
