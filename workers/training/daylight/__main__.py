"""Trains, measures and shows the model: data, autoencoder, unet, ship, eval, sheet, covers."""

from __future__ import annotations

import argparse
from pathlib import Path

BUILD = Path("build/daylight")
WEIGHTS = Path("workers/weights/daylight")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.training.daylight", description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--device", help="where training and evaluation run (a GPU if there is one)")
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="draw the training pictures")
    data.add_argument("--folder", type=Path, default=BUILD / "data")
    data.add_argument("--square", type=int, default=16_000, help="pictures of 192 x 192")
    data.add_argument("--wide", type=int, default=1_500, help="pictures of 256 x 192")
    data.add_argument("--tall", type=int, default=1_500, help="pictures of 192 x 256")
    data.add_argument("--processes", type=int, default=2)
    autoencoder = commands.add_parser("autoencoder", help="train the autoencoder")
    autoencoder.add_argument("--data", type=Path, default=BUILD / "data")
    autoencoder.add_argument("--target", type=Path, default=BUILD / "vae")
    autoencoder.add_argument(
        "--steps", type=int, default=10_000, help="about 9 a second on two cores, 190 of 128 crops on an H200"
    )
    autoencoder.add_argument("--batch", type=int, default=12, help="crops in a step")
    autoencoder.add_argument("--rate", type=float, default=1.5e-3, help="learning rate to begin with")
    autoencoder.add_argument("--parts", type=int, help="at most this many parts of 500 pictures")
    autoencoder.add_argument(
        "--decoder-only", action="store_true", help="polish it; latents stay as they are"
    )
    unet = commands.add_parser("unet", help="train the denoiser and the text encoder")
    unet.add_argument("--data", type=Path, default=BUILD / "data")
    unet.add_argument("--vae", type=Path, default=BUILD / "vae")
    unet.add_argument("--checkpoints", type=Path, default=BUILD / "checkpoints")
    unet.add_argument(
        "--samples",
        type=int,
        default=180_000,
        help="pictures seen, about 80 a second on two cores, 10,500 on an H200",
    )
    unet.add_argument("--small-share", type=float, default=0.75, help="the first of them, at 128 x 128")
    unet.add_argument("--batch", type=int, default=32)
    unet.add_argument("--rate", type=float, default=8e-4, help="learning rate to begin with")
    unet.add_argument(
        "--formats", nargs="+", default=["square", "wide", "tall", "small"], help="formats of the rest"
    )
    unet.add_argument("--parts", type=int, help="at most this many parts of 500 pictures of each of them")
    unet.add_argument("--pause", type=int, help="stop when this many are seen; the next call goes on")
    unet.add_argument("--checkpoint-samples", type=int, default=20_000)
    ship = commands.add_parser("ship", help="copy a checkpoint into the weights folder")
    ship.add_argument("--checkpoint", type=Path, default=BUILD / "checkpoints/final")
    ship.add_argument(
        "--vae", type=Path, default=BUILD / "vae", help="same encoder; the decoder may be newer"
    )
    ship.add_argument("--weights", type=Path, default=WEIGHTS)
    evaluation = commands.add_parser("eval", help="accuracy on held-out combinations")
    evaluation.add_argument("--count", type=int, default=96, help="ceramics, and as many landscapes")
    evaluation.add_argument("--cache", type=Path, default=BUILD)
    evaluation.add_argument("--json", action="store_true", help="print the figures as JSON")
    sheet = commands.add_parser("sheet", help="draw seeds 0 to 15")
    sheet.add_argument("target", type=Path, help="the picture to write, .webp or .png")
    covers = commands.add_parser("covers", help="draw the pictures of its listing")
    covers.add_argument("folder", type=Path, nargs="?", default=Path("static/covers"))
    for command in (evaluation, sheet, covers):
        command.add_argument("--weights", type=Path, default=WEIGHTS)
        command.add_argument("--steps", type=int, default=16)
        command.add_argument("--guidance", type=float, default=3.0)
    return parser


def _train(options: argparse.Namespace) -> None:
    from workers.training.daylight.precision import pick_device

    device = pick_device(options.device)
    if options.command == "autoencoder":
        from workers.training.daylight.autoencoder import AutoencoderPlan, train_autoencoder

        crops = AutoencoderPlan(
            steps=options.steps,
            batch=options.batch,
            rate=options.rate,
            parts=options.parts,
            decoder_only=options.decoder_only,
        )
        train_autoencoder(data=options.data, target=options.target, plan=crops, device=device)
        return
    from workers.training.daylight.denoiser import Plan, train_denoiser

    plan = Plan(
        samples=options.samples,
        small_share=options.small_share,
        batch=options.batch,
        rate=options.rate,
        checkpoint_samples=options.checkpoint_samples,
        formats=tuple(options.formats),
        parts=options.parts,
        pause=options.pause,
    )
    train_denoiser(
        data=options.data, vae=options.vae, checkpoints=options.checkpoints, plan=plan, device=device
    )


def _show(options: argparse.Namespace) -> None:
    if options.command == "eval":
        from workers.training.daylight.evaluation import evaluate
        from workers.training.daylight.precision import pick_device

        report = evaluate(
            weights=options.weights,
            cache=options.cache,
            count=options.count,
            steps=options.steps,
            guidance=options.guidance,
            device=pick_device(options.device),
        )
        print(report.to_json() if options.json else report.table())
        return
    from workers.training.daylight.sheet import write_covers, write_sheet

    if options.command == "covers":
        made = write_covers(
            weights=options.weights,
            folder=options.folder,
            name=options.weights.name,
            steps=options.steps,
            guidance=options.guidance,
        )
        print(*made, sep="\n")
        return
    captions = write_sheet(
        weights=options.weights, target=options.target, steps=options.steps, guidance=options.guidance
    )
    for seed, words in enumerate(captions):
        print(seed, words)


def main() -> None:
    options = _parser().parse_args()
    if options.command == "data":
        from workers.training.daylight.dataset import write_dataset

        counts = {"square": options.square, "wide": options.wide, "tall": options.tall}
        write_dataset(options.folder, counts=counts, processes=options.processes)
        return
    from workers.engine.machine import set_environment

    set_environment()
    import torch

    torch.set_num_threads(options.threads)
    if options.command == "ship":
        from workers.training.daylight.pipeline import ship

        print(
            f"{ship(options.checkpoint, options.weights, vae=options.vae) / 1e6:.1f} MB in {options.weights}"
        )
    elif options.command in ("autoencoder", "unet"):
        _train(options)
    else:
        _show(options)


if __name__ == "__main__":
    main()
